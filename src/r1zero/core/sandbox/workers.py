"""Calls of functions that may hang, crash or fill the memory, in processes that can be killed.

A process is the only thing that can be stopped whatever it does: threads can't be killed, and
`signal.alarm`, which math-verify uses for its own time limit, works in a main thread only and not
while C code runs.

Every process has a connection of its own, so that to kill one harms no other. It is started as a
program of its own, never forked: the trainer holds CUDA and threads. (`multiprocessing` would also
run the parent's main module in it, which imports torch.)

Time is CPU time: how long a call takes by the clock depends on what else the machine does, and
results must not. Only a call that sleeps or waits is ended by the clock.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from queue import LifoQueue
from typing import Any

from r1zero.core.errors import UserError
from r1zero.core.provenance import usable_cores

_SCRIPT = Path(__file__).with_name("worker.py")
# For its imports; torch from a cold disk takes a minute.
_START_SECONDS = 300.0
_MOST_WORKERS = 8
_LONGEST_PROBLEM = 200
# Seconds by the clock for each second of CPU time.
_PATIENCE = 20.0


@dataclass(frozen=True, slots=True)
class Result:
    """What a function gave for one item."""

    # What it returned; None if it didn't.
    value: Any
    # Why it returned nothing, as a short sentence; empty otherwise.
    problem: str
    # How long the call took by the clock, without the start of a process.
    seconds: float = field(default=0.0, compare=False)


class Workers:
    """A few processes that call one function.

    They start when there is work, stay for more, and end with the process they belong to. `map` may
    be called from any thread, from many at once, and after a fork: the child gets processes of its
    own.

    Args:
        function: Its dotted path. It takes one item; item and result are pickled.
        deadline: Seconds of CPU time that it has for an item, in all threads of its process
            together. Then the process is killed.
        patience: Seconds that it has by the clock, for a function that sleeps or waits; by default
            20 times the deadline, so that no load of the machine decides.
        count: How many processes at most; by default one a core, shared between the ranks on this
            machine, and eight at most.
        memory: Bytes of address space that a process may have; no limit by default.

    """

    def __init__(
        self,
        function: str,
        *,
        deadline: float,
        patience: float | None = None,
        count: int | None = None,
        memory: int | None = None,
    ) -> None:
        self._setup = (function, deadline, patience or _PATIENCE * deadline, memory)
        self._count = count or _default_count()
        self._workers: list[_Worker] = []
        self._make()
        _pools.add(self)
        weakref.finalize(self, _end_all, self._workers)

    def map(self, items: Sequence[Any]) -> list[Result]:
        """Call the function on each item; the results are in the order of the items.

        Raises:
            UserError: The function can't be imported.

        """
        return list(self._threads.map(self._call, items))

    def _make(self) -> None:
        self._workers[:] = [_Worker(*self._setup) for _ in range(self._count)]
        # Last in, first out: little work takes few processes.
        self._idle: LifoQueue[_Worker] = LifoQueue()
        for worker in self._workers:
            self._idle.put(worker)
        self._threads = ThreadPoolExecutor(self._count, thread_name_prefix="workers")

    def _call(self, item: Any) -> Result:
        worker = self._idle.get()
        try:
            return worker.call(item)
        finally:
            self._idle.put(worker)

    def _after_fork(self) -> None:
        """Leave the processes to the parent; its threads and locks are of no use here."""
        for worker in self._workers:
            worker.disconnect()
        self._make()


class _Worker:
    """One process at a time, replaced when it has been killed. Used by one thread at a time."""

    def __init__(self, function: str, deadline: float, patience: float, memory: int | None) -> None:
        self.function, self.memory = function, memory
        self.deadline, self.patience = deadline, patience
        self.process: subprocess.Popen[bytes] | None = None
        self.connection: Connection[Any, Any] | None = None

    def call(self, item: Any) -> Result:
        connection = self._connected()
        start = time.monotonic()
        result = self._ask(connection, item)
        return replace(result, seconds=time.monotonic() - start)

    def _ask(self, connection: "Connection[Any, Any]", item: Any) -> Result:
        try:
            connection.send(item)
            if not connection.poll(self.patience):
                self.end()
                return Result(None, f"took longer than {self.patience:g} s")
            value, problem, goes_on = connection.recv()
        except (EOFError, OSError):
            return Result(None, self._why_ended())
        except BaseException as error:
            # An answer that nobody has read must not become that of the next item.
            self.end()
            if isinstance(error, Exception):  # the item or its result can't be pickled
                return Result(None, f"{type(error).__name__}: {error}"[:_LONGEST_PROBLEM])
            raise
        if not goes_on:
            self.end()
        return Result(value, problem)

    def _connected(self) -> "Connection[Any, Any]":
        # A process that ended between two items did no harm: it is replaced unseen.
        if self.process is None or self.process.poll() is not None or self._closed():
            self.end()
            self._start()
        assert self.connection is not None
        return self.connection

    def _closed(self) -> bool:
        # A process says nothing unasked; what there is to read is the end of the connection.
        return self.connection is None or self.connection.poll()

    def _start(self) -> None:
        ours, theirs = Pipe()
        with theirs:
            self.process = subprocess.Popen(
                # -P keeps the script's folder off the path, whose `math` is not Python's.
                [sys.executable, "-P", str(_SCRIPT), str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=2,  # what it prints is no output of this program
                # The order of sets decides some verdicts of sympy; it must not change.
                env=os.environ | {"PYTHONHASHSEED": "0"},
            )
        self.connection = ours
        ours.send((sys.path, self.function, self.deadline, self.patience, self.memory))
        try:
            problem = ours.recv() if ours.poll(_START_SECONDS) else "its imports do not end"
        except (EOFError, OSError):
            problem = self._why_ended()
        if problem:
            self.end()
            raise UserError(problem, where=self.function)

    def _why_ended(self) -> str:
        """Why the process ended, after it has closed its connection."""
        process = self.process
        assert process is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=1)
        self.end()
        code = process.returncode
        if code == -signal.SIGPROF:
            return f"took more than {self.deadline:g} s of CPU time"
        status = f"signal {-code}" if code < 0 else f"exit status {code}"
        return f"the process ended early ({status})"

    def end(self) -> None:
        """End the process, if there is one. Ended processes hold no state that could be lost."""
        self.disconnect()
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def disconnect(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None


_pools: "weakref.WeakSet[Workers]" = weakref.WeakSet()


def _forget_all() -> None:
    for pool in list(_pools):
        pool._after_fork()


os.register_at_fork(after_in_child=_forget_all)


def _end_all(workers: list[_Worker]) -> None:
    for worker in workers:
        with contextlib.suppress(OSError):
            worker.end()


def _default_count() -> int:
    ranks = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # torchrun and accelerate say it
    return max(1, min(_MOST_WORKERS, usable_cores() // ranks))
