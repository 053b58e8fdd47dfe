"""Processes that hang, crash, are killed or outlive their parent."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import worker_functions
from r1zero.core.errors import UserError
from r1zero.core.sandbox.workers import Result, Workers

HELPERS = str(Path(worker_functions.__file__).parent)


def children(of: int) -> set[int]:
    """Process ids of the running workers of a process."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            status = (folder / "stat").read_text().rpartition(")")[2].split()
            command = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if int(status[1]) == of and status[0] != "Z" and b"worker.py" in command:
            found.add(int(folder.name))
    return found


def is_gone(pid: int, within: float) -> bool:
    until = time.monotonic() + within
    while time.monotonic() < until:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.05)
    return False


def test_results_are_in_the_order_of_the_items() -> None:
    workers = Workers("worker_functions.nap", deadline=10, count=3)
    naps = [0.2, 0.0, 0.1, 0.0, 0.05] * 3
    assert workers.map(naps) == [Result(nap, "") for nap in naps]
    assert workers.map([]) == []


def test_there_are_as_many_processes_as_the_job_has_cores() -> None:
    """A scheduler gives a job some of the cores of a node, by its affinity."""
    code = (
        "import os, worker_functions\n"
        "from r1zero.core.sandbox.workers import Workers\n"
        "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "workers = Workers('worker_functions.nap', deadline=10)\n"
        "workers.map([0.0] * 4)\n"
        "import psutil\n"
        "print(len(psutil.Process().children()))\n"
    )
    environment = {**os.environ, "PYTHONPATH": HELPERS}
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert result.stdout == "1\n"


@pytest.mark.parametrize(
    ("how", "problem"),
    [
        ("raise", "ValueError: two lines of it"),
        ("hang in C", "took more than 0.5 s of CPU time"),
        ("ignore signals", "took longer than 1.5 s"),
        ("fill the memory", "out of memory"),
        ("grow", "out of memory"),
        ("crash", "the process ended early (signal 11)"),
        ("exit", "the process ended early (exit status 3)"),
        ("recur", "RecursionError: "),
        ("return a function", "pickle"),
        ("print", ""),
    ],
)
def test_what_goes_wrong_is_said_and_harms_no_other(
    how: str, problem: str, capfd: pytest.CaptureFixture[str]
) -> None:
    workers = Workers(
        "worker_functions.misbehave",
        deadline=0.5,
        patience=1.5 if how == "ignore signals" else None,
        count=1,
        memory=2**28,
    )
    before, bad, after = workers.map(["", how, ""])
    assert before == after == Result("well", "")
    assert (bad.value is None) == bool(problem)
    assert problem in bad.problem
    assert len(bad.problem) <= 200
    assert "\n" not in bad.problem
    assert capfd.readouterr().out == ""


def test_time_that_others_take_is_not_counted() -> None:
    # Each call waits for longer than its deadline, as on a machine with more work than cores.
    workers = Workers("worker_functions.wait_and_work", deadline=0.3, count=1)
    results = workers.map([(0.5, 0.0)] * 2)
    assert results == [Result("done", "")] * 2
    assert all(result.seconds >= 0.5 for result in results)
    (late,) = workers.map([(0.0, 10.0)])
    assert late == Result(None, "took more than 0.3 s of CPU time")


def test_an_item_that_cannot_be_sent_is_a_problem_of_its_own() -> None:
    results = Workers("worker_functions.double", deadline=5, count=1).map([1, lambda: 0, 2])
    assert [result.value for result in results] == [2, None, 4]
    assert "pickle" in results[1].problem


def test_large_items_and_lone_surrogates_pass() -> None:
    text = "\ud800\0" * 3_000_000
    assert Workers("worker_functions.double", deadline=30, count=1).map([text])[0].value == text * 2


@pytest.mark.parametrize("function", ["worker_functions.nothing", "no_such_module.function"])
def test_a_function_that_is_not_there_is_an_error(function: str) -> None:
    with pytest.raises(UserError, match=r"nothing|no_such_module") as raised:
        Workers(function, deadline=5).map([1])
    assert raised.value.where == function


def test_processes_are_reused_and_no_more_than_needed() -> None:
    workers = Workers("worker_functions.process_id", deadline=5, count=4)
    assert len({workers.map([None])[0].value for _ in range(5)}) == 1


def test_a_process_that_has_grown_is_replaced() -> None:
    workers = Workers("worker_functions.double", deadline=5, count=1, memory=2**28)
    small = "x" * 100
    assert workers.map([small, "x" * 30_000_000, small])[2].value == small * 2
    ids = Workers("worker_functions.process_id", deadline=5, count=1, memory=2**20 * 40)
    # Python alone has more than a quarter of that.
    assert len({result.value for result in ids.map([None] * 3)}) == 3


def test_idle_processes_that_were_killed_are_replaced_unseen() -> None:
    workers = Workers("worker_functions.process_id", deadline=5, count=1)
    (first,) = workers.map([None])
    os.kill(first.value, signal.SIGKILL)
    assert is_gone(first.value, within=5)
    (second,) = workers.map([None])
    assert second.problem == ""
    assert second.value != first.value


def test_killed_in_mid_flight() -> None:
    workers = Workers("worker_functions.nap", deadline=30, count=1)
    before = children(os.getpid())
    results: list[Result] = []
    thread = threading.Thread(target=lambda: results.extend(workers.map([20, 0.01])))
    thread.start()
    time.sleep(1)
    (worker,) = children(os.getpid()) - before
    os.kill(worker, signal.SIGKILL)
    thread.join(timeout=15)
    assert results == [
        Result(None, "the process ended early (signal 9)"),
        Result(0.01, ""),
    ]


def test_from_many_threads_at_once() -> None:
    workers = Workers("worker_functions.double", deadline=10, count=2)
    results: dict[int, list[Result]] = {}

    def use(thread: int) -> None:
        results[thread] = workers.map(range(thread * 100, thread * 100 + 50))

    threads = [threading.Thread(target=use, args=(thread,)) for thread in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, got in results.items():
        first = number * 100
        assert [result.value for result in got] == [2 * n for n in range(first, first + 50)]
    assert len(results) == 8


def test_a_fork_gets_processes_of_its_own() -> None:
    workers = Workers("worker_functions.process_id", deadline=5, count=1)
    (ours,) = workers.map([None])
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        answer = workers.map([None])[0].value
        os.write(writing, str(answer).encode())
        os._exit(0)
    os.waitpid(child, 0)
    theirs = int(os.read(reading, 100))
    assert theirs != ours.value
    assert workers.map([None]) == [ours]
    assert is_gone(theirs, within=5)


PARENT = """
import sys
from r1zero.core.sandbox.workers import Workers
workers = Workers("worker_functions.process_id", deadline=0.5, count=1)
busy = Workers("worker_functions.misbehave", deadline=0.5, patience=0.5, count=1)
busy.map([""])
print(workers.map([None])[0].value, flush=True)
{then}
"""


def parent(then: str) -> subprocess.Popen[str]:
    source = os.pathsep.join([HELPERS, *(path for path in sys.path if path)])
    return subprocess.Popen(
        [sys.executable, "-c", PARENT.format(then=then)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": source},
    )


def test_processes_end_with_their_parent() -> None:
    with parent("") as process:
        output, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")
    assert is_gone(int(output), within=5)


def test_processes_end_with_a_killed_parent_whatever_they_do() -> None:
    # The busy worker gets an item while nobody is left to kill it.
    then = """
busy._workers[0].patience = 1000
busy.map(["ignore signals"])
"""
    with parent(then) as process:
        assert process.stdout is not None
        idle = int(process.stdout.readline())
        time.sleep(0.5)
        workers = children(process.pid)
        assert len(workers) == 2
        process.kill()
        assert is_gone(idle, within=5)
        for worker in workers:
            assert is_gone(worker, within=15)


def test_a_process_imports_what_the_function_needs_and_no_more() -> None:
    (result,) = Workers("worker_functions.modules", deadline=5).map([None])
    assert not {"torch", "numpy", "pydantic", "r1zero.core.sandbox.workers"} & set(result.value)
