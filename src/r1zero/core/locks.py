"""One way to lock: `flock` on a file of its own.

The lock belongs to the open file. It ends with the last process that has the file open, however
that process ends, so no stale lock is left. The lock file itself stays, empty.
"""

import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from r1zero.core.errors import UserError

# What file systems without locks answer, such as some mounts of NFS, Lustre and FUSE.
_UNSUPPORTED = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)


class LockedError(Exception):
    """Another process holds the lock."""


@contextmanager
def lock(path: Path, *, inherited: bool = False) -> Iterator[None]:
    """Hold the lock of a file while the block runs; fail at once if another process holds it.

    Args:
        path: The lock file. It is created if it does not exist; its folder must exist.
        inherited: Let child processes that inherit open files hold the lock too. It then lasts
            until the last of them has ended, also if this process was killed before.

    Raises:
        LockedError: Another process holds the lock.
        UserError: The file system has no locks.

    """
    with path.open("a") as stream:
        if not _acquire(stream, path, fcntl.LOCK_NB):
            raise LockedError(str(path))
        os.set_inheritable(stream.fileno(), inherited)
        yield


@contextmanager
def wait_for_lock(path: Path, on_wait: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Hold the lock of a file while the block runs, waiting while another process holds it.

    Args:
        path: As for `lock`.
        on_wait: Called once, before a wait.

    Raises:
        UserError: The file system has no locks.

    """
    with path.open("a") as stream:
        if not _acquire(stream, path, fcntl.LOCK_NB):
            on_wait()
            _acquire(stream, path, 0)
        yield


def _acquire(stream: IO[str], path: Path, flags: int) -> bool:
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | flags)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        raise UserError(
            f"the file system has no file locks: {error.strerror}",
            where=str(path),
            hint="use a folder on another file system, or mount this one with flock",
        ) from None
    return True
