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

from r1zero.core.errors import UserError

# What file systems without locks answer, such as some mounts of NFS, Lustre and FUSE.
_UNSUPPORTED = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)


class LockedError(Exception):
    """Another process holds the lock."""


@contextmanager
def only_one(out: Path) -> Iterator[bool]:
    """Keep other processes from making an output while the block runs; they are waited for.

    A job that outlives the workflow that started it goes on, and a new one must not write into the
    same files.

    Args:
        out: The output. The lock file is hidden beside it.

    Yields:
        Whether another process was waited for, which may have made the output.

    """
    out.parent.mkdir(parents=True, exist_ok=True)
    waited = []

    def say() -> None:
        waited.append(True)
        print(f"{out}: another process makes it; waiting for its end", flush=True)

    with lock(out.parent / f".{out.name}.lock", on_wait=say):
        yield bool(waited)


@contextmanager
def lock(
    path: Path, *, on_wait: Callable[[], object] | None = None, inherited: bool = False
) -> Iterator[None]:
    """Hold the exclusive lock of a file while the block runs.

    Args:
        path: The lock file. It is created if it does not exist; its folder must exist.
        on_wait: Called if another process holds the lock, which is then waited for. Without it,
            the lock is not waited for.
        inherited: Let child processes that inherit open files hold the lock too. It then lasts
            until the last of them has ended, also if this process was killed before.

    Raises:
        LockedError: Another process holds the lock, and there is no `on_wait`.
        UserError: The file system has no locks.

    """
    with path.open("a") as stream:
        try:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if on_wait is None:
                    raise LockedError(str(path)) from None
                on_wait()
                fcntl.flock(stream, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
            raise UserError(
                f"the file system has no file locks: {error.strerror}",
                where=str(path),
                hint="use a folder on another file system, or mount this one with flock",
            ) from None
        os.set_inheritable(stream.fileno(), inherited)
        yield
