"""The process that calls a function for `workers.Workers`.

It is run as a script and imports nothing of this package but what the function needs, so that it
starts in a fraction of a second and holds no torch.
"""

import contextlib
import importlib
import os
import pickle
import resource
import signal
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

_LONGEST_PROBLEM = 200
# What a process may keep between two items, as a share of its address space; above, it is replaced.
_KEPT = 0.25
# How much later than its parent it ends itself, in seconds.
_GRACE = 5.0


def main() -> None:
    """Read what to do from the inherited connection, then answer item by item until it closes."""
    connection = Connection(int(sys.argv[1]))
    path, function, deadline, patience, memory = connection.recv()
    # Ctrl-C goes to the whole group of processes; the parent decides what comes of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What ends this process must not have been set aside by the parent.
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    sys.path[:] = path
    if memory is not None:
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        limit = memory if hard == resource.RLIM_INFINITY else min(memory, hard)
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    call, problem = _attempt(_load, function)
    connection.send(problem)
    if call is not None:
        # The end of the parent closes the connection.
        with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
            _serve(connection, call, (deadline, patience), memory)


def _serve(
    connection: Connection,
    call: Callable[[Any], Any],
    limits: tuple[float, float],
    memory: int | None,
) -> None:
    """Answer each item with what came of it, why not, and whether this process goes on."""
    deadline, patience = limits
    goes_on = True
    while goes_on:
        item = connection.recv()
        # The kernel counts the CPU time of this process and ends it, whatever code runs here. By
        # the clock the parent kills a worker that is late; should the parent be gone by then, the
        # kernel does that too.
        signal.setitimer(signal.ITIMER_PROF, deadline)
        signal.setitimer(signal.ITIMER_REAL, patience + _GRACE)
        value, problem = _attempt(call, item)
        goes_on = memory is None or _resident() < _KEPT * memory
        # Pickled first: an error on the way out would leave half an answer in the connection.
        answer, problem_of_pickling = _attempt(pickle.dumps, (value, problem, goes_on))
        connection.send_bytes(answer or pickle.dumps((None, problem_of_pickling, goes_on)))
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)


def _load(function: str) -> Callable[[Any], Any]:
    module, _, name = function.rpartition(".")
    call: Callable[[Any], Any] = getattr(importlib.import_module(module), name)
    return call


def _attempt(call: Callable[[Any], Any], item: Any) -> tuple[Any, str]:
    """What `call` gives for the item, and why it gives nothing."""
    try:
        return call(item), ""
    except MemoryError:
        return None, "out of memory"
    except Exception as error:
        return None, _describe(error)


def _describe(error: Exception) -> str:
    line = " ".join(f"{type(error).__name__}: {error}".split())
    return line[:_LONGEST_PROBLEM]


def _resident() -> int:
    """Bytes of memory that this process has."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main()
