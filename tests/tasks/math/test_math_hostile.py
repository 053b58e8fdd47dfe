"""Hostile completions from many threads at once: nothing hangs, memory stays bounded."""

import os
import threading
import time
from pathlib import Path

import pytest

from graders import grade_math as grade
from hostile_math import GOLD, HOSTILE, boxed
from r1zero.tasks.base import Grade
from r1zero.tasks.math.grader import SECONDS
from r1zero.tasks.prompts import Style

pytestmark = pytest.mark.slow

BOXED = Style(thought="free", answer="boxed")
THREADS = 8
RIGHT = [boxed(r"\frac{14}{2}"), boxed("7.0"), "It is 7.\n" * 20_000 + boxed("x = 7")]


def test_hostile_completions_from_many_threads() -> None:
    seconds: dict[str, float] = {}
    verdicts: dict[str, list[Grade]] = {}
    done = threading.Event()
    peak = [0]

    def work(names: list[str]) -> None:
        for name in names:
            start = time.perf_counter()
            batch = [RIGHT[0], HOSTILE[name], *RIGHT[1:], boxed("8")]
            verdicts[name] = grade(batch, [GOLD] * len(batch), BOXED)
            seconds[name] = time.perf_counter() - start

    def watch() -> None:
        while not done.wait(0.05):
            peak[0] = max(peak[0], *memory_of_workers(), 0)

    names = list(HOSTILE)
    watcher = threading.Thread(target=watch)
    threads = [threading.Thread(target=work, args=(names[i::THREADS],)) for i in range(THREADS)]
    start = time.perf_counter()
    for thread in [watcher, *threads]:
        thread.start()
    for thread in threads:
        thread.join()
    total = time.perf_counter() - start
    done.set()
    watcher.join()

    print(f"\n{'completion':32} {'correct':7} {'lenient':7} {'s':>5}  reason")
    for name in names:
        verdict = verdicts[name][1]
        print(
            f"{name:32} {verdict.correct:7} {verdict.lenient:7} {seconds[name]:5.1f}"
            f"  {verdict.reason}"
        )
    graded = sum(map(len, verdicts.values()))
    print(
        f"{graded} completions in {total:.0f} s: {graded / total:.1f} a second, {THREADS} threads"
    )
    print(f"largest worker: {peak[0] / 2**20:.0f} MiB")
    assert set(verdicts) == set(HOSTILE)
    for name, (first, hostile, *others, wrong) in verdicts.items():
        assert (hostile.correct, hostile.lenient) == (0, 0), name
        assert [verdict.correct for verdict in (first, *others)] == [1, 1, 1], name
        assert wrong.correct == 0
        assert len(hostile.extracted or "") <= 2000
    assert peak[0] < 2**30
    # Even were every completion to take its deadline, one after the other.
    assert total < 2 * SECONDS * len(HOSTILE)


def memory_of_workers() -> list[int]:
    """Resident bytes of each process that grades for this one."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
            if int(parent) == os.getpid() and b"worker.py" in (folder / "cmdline").read_bytes():
                pages = int((folder / "statm").read_text().split()[1])
                found.append(pages * os.sysconf("SC_PAGE_SIZE"))
        except (OSError, IndexError):
            continue
    return found
