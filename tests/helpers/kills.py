"""A training that is killed at random points, and what it has to end as."""

import os
import random
import signal
import subprocess
import sys
import time

import psutil

from r1zero.train import metrics
from r1zero.train.checkpoints import sealed
from tiny import ENVIRONMENT, Run

# Metrics that depend on the clock.
TIMED = {"step_time", "time/rollout"}


def start(run: Run, *options: str) -> "subprocess.Popen[bytes]":
    """`r1zero train` in a session of its own, its output in a file."""
    with (run.folder / "output.log").open("ab") as stream:
        return subprocess.Popen(
            [sys.executable, "-m", "r1zero", "train", *map(str, run.options), *options],
            stdout=stream,
            stderr=subprocess.STDOUT,
            env=ENVIRONMENT,
            start_new_session=True,
        )


def finish(run: Run) -> Run:
    """Train to the end."""
    assert start(run).wait(timeout=600) == 0, (run.folder / "output.log").read_text()
    return run


def kill(process: "subprocess.Popen[bytes]") -> None:
    """Kill at once, as a machine that goes down does: the process and every group it started."""
    parent = psutil.Process(process.pid)
    groups = {os.getpgid(each.pid) for each in [parent, *parent.children(recursive=True)]}
    assert os.getpgid(0) not in groups
    for group in groups:
        os.killpg(group, signal.SIGKILL)
    process.wait()


def kill_at_checkpoint(run: Run, step: int) -> None:
    """Start a training, and kill all of it when a checkpoint is complete."""
    process = start(run)
    end = time.monotonic() + 600
    while step not in sealed(run.checkpoints):
        assert process.poll() is None, (run.folder / "output.log").read_text()
        assert time.monotonic() < end, f"checkpoint {step} did not come in ten minutes"
        time.sleep(0.005)
    kill(process)
    assert not run.model.exists()


def kill_five_times(run: Run, whole: Run, seed: int) -> list[str]:
    """Kill a training at five random points, each time after it has gone on from its files.

    Args:
        run: The run to kill.
        whole: The same run, trained without a break, whose steps say how long a step takes.
        seed: Of the points.

    Returns:
        Each point in words: logged steps when it was killed, and its checkpoints.

    """
    rows = metrics.read(whole.folder / "metrics.jsonl")
    seconds = sum(row["step_time"] for row in rows) / len(rows)
    rng = random.Random(seed)
    points = sorted(rng.uniform(0, len(rows) - 1) for _ in range(5))
    killed = []
    for point in points:
        process = start(run)
        end = time.monotonic() + 600
        while len(metrics.read(run.checkpoints / "metrics.jsonl")) < int(point):
            assert process.poll() is None, (run.folder / "output.log").read_text()
            assert time.monotonic() < end, f"step {int(point)} did not come in ten minutes"
            time.sleep(0.005)
        time.sleep(point % 1 * seconds)
        assert process.poll() is None, "it ended before it could be killed"
        kill(process)
        assert not run.model.exists()
        steps = [row["step"] for row in metrics.read(run.checkpoints / "metrics.jsonl")]
        killed.append(f"{point:.2f}: logged {steps}, checkpoints {list(sealed(run.checkpoints))}")
    return killed


def check_it_ended_like(run: Run, other: Run) -> None:
    """Weights, optimizer states and metrics are the same, bit for bit."""
    assert list(sealed(run.checkpoints)) == list(sealed(other.checkpoints))
    for path in sealed(other.checkpoints).values():
        for name in ("model.safetensors", "optimizer.pt"):
            mine = run.checkpoints / path.name / name
            assert mine.read_bytes() == (path / name).read_bytes(), mine
    rows, wanted = (
        [
            {key: row[key] for key in row if key not in TIMED}
            for row in metrics.read(each.folder / "metrics.jsonl")
        ]
        for each in (run, other)
    )
    assert rows == wanted
