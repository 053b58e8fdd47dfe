import errno
import fcntl
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from r1zero.core.errors import UserError
from r1zero.core.locks import LockedError, lock


def test_one_holder_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with lock(path), pytest.raises(LockedError), lock(path):
        pass
    with lock(path), lock(tmp_path / "another"):
        pass


def test_waiting_for_a_lock_ends_when_it_is_released(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    waits, got = threading.Event(), threading.Event()

    def wait() -> None:
        with lock(path, on_wait=waits.set):
            got.set()

    with lock(path):
        thread = threading.Thread(target=wait)
        thread.start()
        assert waits.wait(10)
        assert not got.is_set()
    thread.join(10)
    assert got.is_set()


@pytest.mark.parametrize("inherited", [True, False])
def test_a_child_holds_an_inherited_lock_until_it_ends(tmp_path: Path, inherited: bool) -> None:
    path = tmp_path / "lock"
    with lock(path, inherited=inherited):
        child = subprocess.Popen(
            [sys.executable, "-c", "print(flush=True); input()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            close_fds=False,
        )
        assert child.stdout is not None
        child.stdout.readline()
    held = False
    try:
        with lock(path):
            pass
    except LockedError:
        held = True
    child.communicate(b"\n")
    assert held == inherited
    with lock(path):
        pass


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def flock(*_: Any) -> None:
        raise OSError(number, "no locks")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(UserError) as raised, lock(tmp_path / "lock"):
        pass
    assert raised.value.where == str(tmp_path / "lock")
