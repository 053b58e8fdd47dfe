"""Processes with everything that they start, to end all of it.

A launcher such as torchrun starts its workers in sessions of their own, so that a signal to its
process group does not reach them, and a launcher that was killed leaves them without a parent.
"""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator

import psutil

_POLL_SECONDS = 0.05
_SECONDS_FOR_ORPHANS = 2.0
_SECONDS_UNTIL_KILLED = 5.0


class ProcessTree:
    """Some processes and their descendants, with those whose parent has ended.

    Args:
        mark: Value of the environment variable `R1ZERO_SUPERVISOR`, by which descendants are found
            that have lost their parents.

    """

    def __init__(self, mark: str) -> None:
        self._mark = mark
        self._roots: list[psutil.Process] = []
        self._seen: set[psutil.Process] = set()

    def add(self, pid: int) -> None:
        """Add a process that leads a process group of its own."""
        with contextlib.suppress(psutil.NoSuchProcess):
            self._roots.append(psutil.Process(pid))

    def refresh(self) -> None:
        """Remember the present descendants, for when their parents are gone."""
        for root in self._roots:
            self._seen |= _with_descendants(root)

    def listens(self, pid: int, port: int) -> bool:
        """Whether one of the processes, or a descendant of it, listens on a TCP port."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return any(_listens(each, port) for each in _with_descendants(psutil.Process(pid)))
        return False

    def end(self, grace: float) -> None:
        """End all of it: with SIGTERM, and with SIGKILL what is left.

        Args:
            grace: Seconds that the processes which were added have to end themselves and what they
                started. Descendants that they leave have a moment.

        """
        self.refresh()
        self._seen |= set(_marked(self._mark))
        groups = {root.pid for root in self._roots}
        for group in groups:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGTERM)
        for process in self._seen:
            with contextlib.suppress(psutil.Error, ProcessLookupError):
                # A signal that comes twice looks like an impatient user to some launchers.
                if os.getpgid(process.pid) not in groups:
                    process.terminate()
        _wait(self._roots, grace)
        _wait(self._seen, _SECONDS_FOR_ORPHANS)
        self._seen |= set(_marked(self._mark))
        for process in self._seen:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        _wait(self._seen, _SECONDS_UNTIL_KILLED)


def _wait(processes: Iterable[psutil.Process], seconds: float) -> None:
    """Wait until all processes have ended, but no longer than some seconds."""
    deadline = time.monotonic() + seconds
    while any(map(_is_alive, processes)) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)


def _with_descendants(process: psutil.Process) -> set[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return {process, *process.children(recursive=True)}
    return set()


def _listens(process: psutil.Process, port: int) -> bool:
    with contextlib.suppress(psutil.Error):
        return any(
            each.status == psutil.CONN_LISTEN and each.laddr.port == port
            for each in process.net_connections(kind="tcp")
        )
    return False


def _marked(mark: str) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("R1ZERO_SUPERVISOR") == mark:
                yield process


def _is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def main() -> None:
    """End a tree when the supervisor dies; the main function of the watchdog process.

    The supervisor writes the id of each process that it starts, one a line, and `done` when it has
    ended them itself. The end of the input before that is the death of the supervisor.
    """
    # These signals are for the supervisor, which says `done` once it has handled them.
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    mark, grace = sys.argv[1], float(sys.argv[2])
    tree = ProcessTree(mark)
    for line in sys.stdin:
        if line.strip() == "done":
            return
        tree.add(int(line))
    tree.end(grace)


if __name__ == "__main__":
    main()
