"""A real training with ms-swift: what it leaves, and that a killed run ends as an unbroken one."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import psutil
import pytest

import tiny
from r1zero.train import metrics
from r1zero.train.checkpoints import sealed
from tiny import ENVIRONMENT, Run, edited, make_base, make_run

pytestmark = pytest.mark.swift

STEPS = 6
# Metrics that depend on the clock.
TIMED = {"step_time", "time/rollout"}


@pytest.fixture(scope="module")
def runs(
    environment: Path, tiny_config: Path, tiny_task: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Run, Run]:
    """The same run twice: trained without a break, and killed when checkpoint 4 was complete."""
    folder = tmp_path_factory.mktemp("swift")
    config = folder / "config"
    shutil.copytree(tiny_config, config)
    with edited(config / "scales" / "mini.yaml") as scale:
        # A base that gets some rewards for the format, so that weights do change.
        scale["bases"][tiny.BASE] |= {
            "hidden_size": 32,
            "intermediate_size": 32,
            "steps": 60,
            "tokens_per_step": 2048,
            "adam_learning_rate": 0.01,
        }
        scale["tasks"]["countdown"]["sizes"] |= {
            "max_steps": STEPS,
            "save_steps": 2,
            "prompts_per_step": 8,
            "max_completion_length": 200,
        }
    base = make_base(folder / "base", config, tiny_task)
    unbroken, killed = (
        make_run(folder / name, config, tiny_task, base, backend="swift")
        for name in ("unbroken", "killed")
    )
    finish(unbroken)
    kill_after_step_4(killed)
    finish(killed)
    return unbroken, killed


def start(run: Run) -> "subprocess.Popen[bytes]":
    """`r1zero train`, its output in a file."""
    with (run.folder / "output.log").open("ab") as stream:
        return subprocess.Popen(
            [sys.executable, "-m", "r1zero", "train", *map(str, run.options)],
            stdout=stream,
            stderr=subprocess.STDOUT,
            env=ENVIRONMENT,
            start_new_session=True,
        )


def finish(run: Run) -> None:
    """Train to the end."""
    assert start(run).wait(timeout=600) == 0, (run.folder / "output.log").read_text()


def kill_after_step_4(run: Run) -> None:
    """Kill all processes of a training when its second checkpoint is complete."""
    process = start(run)
    end = time.monotonic() + 600
    while 4 not in sealed(run.checkpoints):
        assert process.poll() is None, (run.folder / "output.log").read_text()
        assert time.monotonic() < end, "checkpoint 4 did not come in ten minutes"
        time.sleep(0.005)
    supervisor = psutil.Process(process.pid)
    for each in [supervisor, *supervisor.children(recursive=True)]:
        each.kill()
    process.wait()
    assert not run.model.exists()


def test_it_leaves_the_files_of_every_backend(runs: tuple[Run, Run]) -> None:
    run, _ = runs
    model = json.loads(run.model.read_text())
    assert [checkpoint["step"] for checkpoint in model["checkpoints"]] == [2, 4, 6]
    hashes = {checkpoint["sha256"] for checkpoint in model["checkpoints"]}
    assert len(hashes) == 3  # the weights changed
    assert "ms-swift" in model["provenance"]["versions"]
    rows = metrics.read(run.folder / "metrics.jsonl")
    assert [row["step"] for row in rows] == list(range(1, STEPS + 1))
    assert {"loss", "reward", "grad_norm", "completions/mean_length"} <= rows[0].keys()
    rollouts = pl.read_parquet(run.folder / "rollouts.parquet")
    assert set(rollouts["step"].unique()) <= set(range(STEPS + 1))
    assert {"problem_id", "completion", "reward", "advantage"} <= set(rollouts.columns)


def test_a_killed_run_ends_with_the_same_weights(runs: tuple[Run, Run]) -> None:
    unbroken, killed = runs
    for step in (2, 4, 6):
        for name in ("model.safetensors", "optimizer.pt"):
            files = [run.checkpoints / f"checkpoint-{step}" / name for run in runs]
            assert files[0].read_bytes() == files[1].read_bytes(), (step, name)
    rows = [
        [
            {key: value for key, value in row.items() if key not in TIMED}
            for row in metrics.read(run.folder / "metrics.jsonl")
        ]
        for run in (unbroken, killed)
    ]
    assert rows[0] == rows[1]
