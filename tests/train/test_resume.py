"""A run that was cut off ends as an unbroken one does: the real trainer, killed and restarted."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from kills import start
from r1zero.core.errors import UserError
from r1zero.train import metrics
from r1zero.train.checkpoints import sealed
from tiny import Run, edited, make_run, stage

pytestmark = pytest.mark.slow

STEPS = 6
# Metrics that depend on the clock.
TIMED = {"step_time", "time/rollout", "total_flos", "train_runtime"}


@pytest.fixture
def run(slow_config: Path, tiny_task: Path, slow_base: Path, tmp_path: Path) -> Run:
    """The same run in another folder."""
    return make_run(tmp_path / "run", slow_config, tiny_task, slow_base)


@pytest.fixture(scope="module")
def pair_config(slow_config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same configuration with two processes for a training."""
    folder = tmp_path_factory.mktemp("pair") / "config"
    shutil.copytree(slow_config, folder)
    with edited(folder / "scales" / "mini.yaml") as scale:
        scale["computation"] = {"train": {"processes": 2}}
    return folder


@pytest.fixture(scope="module")
def unbroken_pair(pair_config: Path, tiny_task: Path, slow_base: Path) -> Run:
    """A run that was trained without a break by two processes."""
    run = make_run(pair_config.parent / "run", pair_config, tiny_task, slow_base)
    finish(run)
    return run


def finish(run: Run) -> str:
    """Train to the end and return what was said."""
    status = start(run).wait(timeout=300)
    output = (run.folder / "output.log").read_text()
    assert status == 0, output
    return output


def wait_for(condition: Callable[[], bool], process: "subprocess.Popen[bytes]") -> None:
    end = time.monotonic() + 300
    while not condition():
        assert process.poll() is None, "the run ended too early"
        assert time.monotonic() < end, "nothing happened for five minutes"
        time.sleep(0.005)


def processes_of(process: "subprocess.Popen[bytes]") -> list[psutil.Process]:
    """A process and all it started."""
    parent = psutil.Process(process.pid)
    return [parent, *parent.children(recursive=True)]


def kill(process: "subprocess.Popen[bytes]") -> None:
    """Kill at once, as a machine that goes down does: the process and every group it started."""
    groups = {os.getpgid(found.pid) for found in processes_of(process)}
    assert os.getpgid(0) not in groups
    for group in groups:
        os.killpg(group, signal.SIGKILL)
    process.wait()


def check_it_ended_like(run: Run, unbroken: Run) -> None:
    assert list(sealed(run.checkpoints)) == list(sealed(unbroken.checkpoints)) == [2, 4, 6]
    for step, path in sealed(unbroken.checkpoints).items():
        mine = run.checkpoints / path.name
        for name in ("model.safetensors", "optimizer.pt"):
            assert (mine / name).read_bytes() == (path / name).read_bytes(), (step, name)
    rows, wanted = (metrics.read(r.folder / "metrics.jsonl") for r in (run, unbroken))
    assert [row["step"] for row in rows] == list(range(1, STEPS + 1))
    for row, other in zip(rows, wanted, strict=True):
        assert {k: v for k, v in row.items() if k not in TIMED} == {
            k: v for k, v in other.items() if k not in TIMED
        }


def test_an_unbroken_run_learns_something_each_step(unbroken_run: Run) -> None:
    """Or the tests below would compare a model with itself."""
    weights = {
        path.joinpath("model.safetensors").read_bytes()
        for path in sealed(unbroken_run.checkpoints).values()
    }
    assert len(weights) == 3
    rows = metrics.read(unbroken_run.folder / "metrics.jsonl")
    assert all(row["grad_norm"] > 0 for row in rows)
    assert all(row["time/rollout"] > 0 for row in rows)


def test_a_run_that_was_killed_while_saving_ends_with_the_same_weights(
    run: Run, unbroken_run: Run
) -> None:
    process = start(run)
    wait_for(lambda: 2 in sealed(run.checkpoints), process)
    # While it runs, nobody else may train here.
    with pytest.raises(UserError) as raised:
        stage("train", *run.options)
    assert raised.value.where == str(run.checkpoints)
    wait_for(lambda: 4 in sealed(run.checkpoints), process)
    kill(process)
    assert STEPS not in sealed(run.checkpoints)
    assert not run.model.exists()
    # What a machine that goes down may leave: weights without an end, a line without one.
    half = run.checkpoints / "checkpoint-6"
    shutil.rmtree(half, ignore_errors=True)
    shutil.copytree(run.checkpoints / "checkpoint-4", half)
    (half / "checkpoint.json").unlink()
    with (half / "model.safetensors").open("r+b") as stream:
        stream.truncate(100)
    with (run.checkpoints / "metrics.jsonl").open("a") as stream:
        stream.write('{"step": 5, "rew')
    output = finish(run)
    assert f"{half}: incomplete, deleted" in output
    assert "checkpoint-4: goes on from step 4" in output
    check_it_ended_like(run, unbroken_run)


def test_a_run_saves_ahead_of_its_time_limit_and_on_sigterm_and_ends_with_the_same_weights(
    run: Run, unbroken_run: Run
) -> None:
    # The reserve for the end of a job is longer than this limit.
    assert start(run, "--minutes", "0.5").wait(timeout=300) == 2
    assert list(sealed(run.checkpoints)) == [1]
    process = start(run)
    log = run.checkpoints / "metrics.jsonl"
    wait_for(lambda: len(metrics.read(log)) >= 3, process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 143
    saved = max(sealed(run.checkpoints))
    assert saved == len(metrics.read(log)) < STEPS
    finish(run)
    check_it_ended_like(run, unbroken_run)
    attempts = json.loads(run.model.read_text())["attempts"]
    assert [(each["from"], each["saved"]) for each in attempts] == [
        (0, 1),
        (1, saved),
        (saved, STEPS),
    ]
    assert "time limit" in attempts[0]["cause"]
    assert [each["cause"] for each in attempts[1:]] == ["SIGTERM", "finished"]


def test_a_stopped_run_of_two_processes_leaves_none_and_ends_with_the_same_weights(
    unbroken_pair: Run, pair_config: Path, tiny_task: Path, slow_base: Path, tmp_path: Path
) -> None:
    run = make_run(tmp_path / "run", pair_config, tiny_task, slow_base)
    process = start(run)
    wait_for(lambda: 2 in sealed(run.checkpoints), process)
    # The seal covers the random states of both.
    sealed_files = json.loads((run.checkpoints / "checkpoint-2" / "checkpoint.json").read_text())
    assert {"rng_state_0.pth", "rng_state_1.pth"} <= {
        each["path"] for each in sealed_files["files"]
    }
    started = processes_of(process)
    assert len(started) > 4  # ours, its watchdog, torchrun and two trainers
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 143
    assert not psutil.wait_procs(started, timeout=10)[1]
    assert STEPS not in sealed(run.checkpoints)
    finish(run)
    check_it_ended_like(run, unbroken_pair)
