"""Start the processes of a run, watch them, and leave none behind.

A run is a list of processes: servers first, trainers last. Each gets a process group of its own.
The run ends well when all trainers have ended with status 0. It fails when any process ends
otherwise, and the error names the log of that process. The processes of an evaluation, which need
no server, are run in the same way. Nothing outlives the supervisor: it ends all processes with
their descendants, and should it be killed itself, a watchdog process does.
"""

import contextlib
import os
import queue
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from r1zero.core.errors import UserError
from r1zero.plan.backend import Process
from r1zero.train import process_tree
from r1zero.train.process_tree import ProcessTree

_GRACE_SECONDS = 20
_TERMINATED = 128 + signal.SIGTERM
# Processes that end by themselves; all others are servers.
_ENDING = ("trainer", "evaluator")
# Large models take minutes to load.
_SECONDS_UNTIL_HEALTHY = 1800.0
_SECONDS_BETWEEN_CHECKS = 5.0
_SECONDS_OF_SILENCE = 120.0


def supervise(
    processes: Sequence[Process],
    folder: Path,
    *,
    programs: Path | None = None,
    patience: float = _SECONDS_UNTIL_HEALTHY,
    on_sigterm: Callable[[], float] | None = None,
) -> None:
    """Run the processes to the end of the trainers, or of the evaluators.

    Args:
        processes: In the order of their start.
        folder: Folder for their logs, which are appended to: `console.log` of the trainer, whose
            output is also written to standard output, and `<role>.log` of each server.
        programs: Folder with the programs of the environment that they run in; by default that of
            this Python.
        patience: Seconds that a server may take until it is healthy.
        on_sigterm: Called after SIGTERM; returns for how many seconds to wait for the trainers to
            end themselves. By default they are ended at once.

    Raises:
        UserError: A process failed, or a server did not become healthy.
        SystemExit: SIGTERM came.

    """
    with Supervisor(folder, programs=programs, on_sigterm=on_sigterm) as supervisor:
        for process in processes:
            supervisor.start(process, patience)
        supervisor.watch()


class Supervisor:
    """Owner of running processes; as a context manager it stops them all at the end.

    It handles SIGTERM, so it has to be entered in the main thread.
    """

    def __init__(
        self,
        folder: Path,
        *,
        programs: Path | None = None,
        on_sigterm: Callable[[], float] | None = None,
    ) -> None:
        self.folder, self.programs = folder, programs
        self._on_sigterm = on_sigterm
        # When to leave after SIGTERM.
        self._leave_at: float | None = None
        self._running: list[_Running] = []
        self._ports: dict[str, int] = {}
        self._mark = secrets.token_hex(16)
        self._tree = ProcessTree(self._mark)
        self._ended: queue.SimpleQueue[_Running] = queue.SimpleQueue()

    def __enter__(self) -> Self:
        # A stopped workflow must stop everything that the run has started.
        self._previous = signal.signal(signal.SIGTERM, self._terminated)
        self._watchdog = subprocess.Popen(
            [sys.executable, "-P", process_tree.__file__, self._mark, str(_GRACE_SECONDS)],
            stdin=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # A second SIGTERM must not interrupt the stopping.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        try:
            self._tree.end(_GRACE_SECONDS)
            for running in self._running:
                running.finish_copying()
            self._tell_watchdog("done")
        finally:
            signal.signal(signal.SIGTERM, self._previous)

    def start(self, process: Process, patience: float = _SECONDS_UNTIL_HEALTHY) -> None:
        """Start a process, and wait until it is healthy if it is a server.

        Ports that no process had before are chosen now. A server is healthy when it answers, and
        when it is the one that was started: another program can have taken the port meanwhile.

        Raises:
            UserError: It did not become healthy in time, or some process ended meanwhile.

        """
        self._ports |= _free_ports(process.ports - self._ports.keys())
        process = process.at(self._ports)
        running = _Running(process, self._command(process), self._environment(process), self.folder)
        self._running.append(running)
        self._tree.add(running.popen.pid)
        self._tell_watchdog(str(running.popen.pid))
        threading.Thread(target=self._await_end, args=(running,), daemon=True).start()
        if process.health is None:
            return
        end = time.monotonic() + patience
        port = urlsplit(process.health).port or 80
        while not (_answers(process.health) and self._tree.listens(running.popen.pid, port)):
            if time.monotonic() > end:
                raise UserError(
                    f"the {process.role} did not answer at {process.health} in {patience:g} s",
                    where=str(running.log),
                )
            ended = self._next_end(min(1.0, patience / 20))
            if ended is not None:
                raise ended.failure()

    def watch(self) -> None:
        """Wait until all but the servers have ended, or a server ends or answers no more.

        The engine of a server can die while the process that answers for it waits for its clients,
        which wait for it.

        Raises:
            UserError: A process failed; names its log.

        """
        asked = time.monotonic()
        working = sum(running.process.role in _ENDING for running in self._running)
        while working:
            ended = self._next_end(1.0)
            if self._leave_at is not None and time.monotonic() > self._leave_at:
                sys.exit(_TERMINATED)
            if time.monotonic() - asked >= _SECONDS_BETWEEN_CHECKS:
                self._check_servers()
                asked = time.monotonic()
            if ended is None:
                continue
            if ended.process.role not in _ENDING or ended.popen.returncode:
                if self._leave_at is not None:
                    break
                raise ended.failure()
            working -= 1
        if self._leave_at is not None:
            sys.exit(_TERMINATED)

    def _terminated(self, *_: object) -> None:
        """Leave, at once or when the trainers have had their time; a second SIGTERM is enough."""
        seconds = 0.0
        if self._on_sigterm is not None and self._leave_at is None:
            seconds = self._on_sigterm()
        if not seconds:
            sys.exit(_TERMINATED)
        self._leave_at = time.monotonic() + seconds

    def _next_end(self, seconds: float) -> "_Running | None":
        """The next process that ends, or None if none does in some seconds.

        A longer wait could miss a signal: one that the system hands to another thread wakes no wait
        of the main thread, which alone handles signals.
        """
        self._tree.refresh()
        with contextlib.suppress(queue.Empty):
            return self._ended.get(timeout=seconds)
        return None

    def _check_servers(self) -> None:
        """Raise `UserError` if a server says that it is broken, or is silent for too long.

        One that is only slow to answer may be busy.
        """
        now = time.monotonic()
        for running in self._running:
            health = running.process.health
            if health is None:
                continue
            works = _answers(health)
            if works is None:
                works = now - running.answered < _SECONDS_OF_SILENCE
            else:
                running.answered = now
            if not works:
                raise UserError(
                    f"the {running.process.role} does not answer at {health} any more",
                    where=str(running.log),
                )

    def _tell_watchdog(self, line: str) -> None:
        assert self._watchdog.stdin is not None
        # Without it the run goes on: the supervisor itself ends the processes.
        with contextlib.suppress(BrokenPipeError):
            print(line, file=self._watchdog.stdin, flush=True)

    def _await_end(self, running: "_Running") -> None:
        running.popen.wait()
        self._ended.put(running)

    def _command(self, process: Process) -> list[str]:
        program, *arguments = process.argv
        if self.programs is None and program == "python":
            return [sys.executable, *arguments]
        beside = (self.programs or Path(sys.executable).parent) / program
        if self.programs is None and not beside.is_file():
            # Packages on the path of another Python have their programs elsewhere.
            return [shutil.which(program) or program, *arguments]
        return [str(beside), *arguments]

    def _environment(self, process: Process) -> dict[str, str]:
        # Programs of another environment find each other, such as ninja.
        path = [str(self.programs)] if self.programs else []
        # Servers are on this machine; a proxy would not find them.
        direct = ",".join(filter(None, (os.environ.get("NO_PROXY"), "127.0.0.1,localhost")))
        return {
            **os.environ,
            "PATH": os.pathsep.join([*path, os.environ.get("PATH", os.defpath)]),
            # All inputs are on disk; a hub client that looks for more would wait for time-outs.
            "HF_HUB_OFFLINE": "1",
            "TOKENIZERS_PARALLELISM": "false",
            "PYTHONUNBUFFERED": "1",
            "NO_PROXY": direct,
            "no_proxy": direct,
            "R1ZERO_SUPERVISOR": self._mark,
            "CUDA_VISIBLE_DEVICES": ",".join(process.gpus),
            **process.env,
        }


class _Running:
    """A started process with its log."""

    def __init__(
        self, process: Process, command: list[str], env: Mapping[str, str], folder: Path
    ) -> None:
        self.process = process
        # When it answered last, for a server.
        self.answered = time.monotonic()
        is_trainer = process.role == "trainer"
        self.log = folder / ("console.log" if is_trainer else f"{process.role}.log")
        with self.log.open("ab") as stream:
            self.popen = subprocess.Popen(
                command,
                env=env,
                stdout=subprocess.PIPE if is_trainer else stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # A trainer inherits, and so keeps, the lock on the folder of checkpoints: one that
                # outlives a killed workflow keeps the next trainer off.
                close_fds=not is_trainer,
            )
        self._copying = threading.Thread(target=self._copy, daemon=True)
        if is_trainer:
            self._copying.start()

    def _copy(self) -> None:
        """Write the output of a trainer to its log and to our standard output."""
        assert self.popen.stdout is not None
        with self.log.open("ab") as stream, self.popen.stdout as lines:
            for line in lines:
                # Whoever read it may have ended first; the trainer must not notice.
                with contextlib.suppress(BrokenPipeError):
                    sys.stdout.buffer.write(line)
                    sys.stdout.flush()
                stream.write(line)
                stream.flush()

    def failure(self) -> UserError:
        """The error of a process that ended too early."""
        status = self.popen.wait()
        return UserError(f"the {self.process.role} ended with status {status}", where=str(self.log))

    def finish_copying(self) -> None:
        """Wait until all output of a trainer that has ended is in its log."""
        if self._copying.is_alive():
            self._copying.join(timeout=_GRACE_SECONDS)


def _free_ports(names: set[str]) -> dict[str, int]:
    """A free port of this machine for each name."""
    sockets = {name: socket.socket() for name in names}
    try:
        for each in sockets.values():
            each.bind(("127.0.0.1", 0))
        return {name: each.getsockname()[1] for name, each in sockets.items()}
    finally:
        for each in sockets.values():
            each.close()


def _answers(address: str) -> bool | None:
    """Whether a server answers with status 200; None if it takes too long to answer."""
    # The address is on this machine, so no proxy is used.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(address, timeout=5) as response:
            return bool(response.status == 200)
    except OSError as error:
        # urllib wraps what goes wrong before the response.
        cause = getattr(error, "reason", error)
        return None if isinstance(cause, TimeoutError) else False
