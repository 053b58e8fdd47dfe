"""Whatever is killed, and wherever: the same command again ends as an unbroken run does."""

import contextlib
import io
import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

import polars as pl
import pytest

from fetching import endpoint
from hub import Fault, Hub, serve
from r1zero.train import metrics
from r1zero.train.checkpoints import sealed
from tiny import edited
from workflow_copy import copy_workflow
from workflow_kills import RUN, Struck, Workflow, drawn

pytestmark = pytest.mark.kills

SEEDS = range(8)
DATASET = {
    "kind": "hub",
    "task": "countdown",
    "huggingface": {"repo": "own/countdown"},
    "licence": "MIT",
    "gigabytes": 0.01,
    "numbers": [3],
    "splits": {
        "train": {"files": ["data/train-*.parquet"], "rows": [0, 64]},
        "test": {"files": ["data/train-*.parquet"], "rows": [64, 76]},
    },
}


def rows() -> bytes:
    """Countdown problems as a hub has them."""
    rng, buffer = random.Random(0), io.BytesIO()
    numbers = [rng.sample(range(1, 50), 3) for _ in range(76)]
    frame = pl.DataFrame({"nums": numbers, "target": [a + b * c for a, b, c in numbers]})
    frame.write_parquet(buffer)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def hub() -> Iterator[str]:
    """Address of a slow hub."""
    made = Hub()
    made.put("datasets", DATASET["huggingface"]["repo"], {"data/train-0.parquet": rows()})
    made.faults = [Fault("GET /(content|datasets)", stall=0.5)]
    with serve(made) as url:
        yield url


@pytest.fixture(scope="session")
def kill_config(slow_config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The configuration of the runs: six steps, three checkpoints."""
    folder = tmp_path_factory.mktemp("kills") / "config"
    shutil.copytree(slow_config, folder)
    with edited(folder / "scales" / "mini.yaml") as scale:
        scale["tasks"]["countdown"]["evaluation"] |= {"max_problems": 4}
    return folder


@pytest.fixture(scope="session")
def fresh(kill_config: Path, hub: str, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Make a copy of the workflow in which nothing has run."""

    def make(name: str) -> Workflow:
        folder = copy_workflow(tmp_path_factory.mktemp(name) / "workflow", kill_config)
        config = {
            "datasets": {"countdown_3": DATASET},
            "endpoints": [endpoint("huggingface", hub, timeout=30, retries=3)],
        }
        return Workflow(folder, config)

    return make


@pytest.fixture(scope="session")
def unbroken(fresh: Any) -> Workflow:
    """A workflow that has run to its end without a break."""
    workflow: Workflow = fresh("unbroken")
    assert workflow.finish() == 0, workflow.log
    return workflow


@pytest.fixture(scope="session")
def seconds(unbroken: Workflow) -> dict[str, float]:
    """How long what is killed takes, about."""
    rows = metrics.read(unbroken.folder / "results" / RUN / "metrics.jsonl")
    rollout = fmean(row["time/rollout"] for row in rows)
    step = fmean(row["step_time"] for row in rows)
    return {
        "download": 3.0,
        "base": 8.0,
        "rollout": rollout,
        "optimizer step": step - rollout,
        "checkpoint": 0.03,
        "evaluation": 6.0,
        "report": 6.0,
    }


@pytest.fixture
def workflow(fresh: Any, request: pytest.FixtureRequest) -> Iterator[Workflow]:
    """A workflow to kill."""
    made = fresh("killed")
    yield made
    made.clean()


@pytest.fixture(scope="module")
def table() -> Iterator[list[str]]:
    """Lines of the table that is printed at the end."""
    lines: list[str] = []
    yield lines
    print("\n| seed | where | share | what | outcome | work lost |\n|---|---|---|---|---|---|")
    print("\n".join(lines))


def line(seed: int, struck: Struck, *, same: bool) -> str:
    stage, victim, share = struck.kill
    outcome = "same" if same else "differs"
    lost = f"{struck.steps_lost} steps, " if struck.steps_lost else ""
    where = stage if struck.reached else f"after {stage}"
    lost += f"{struck.seconds_lost:.1f} s"
    return f"| {seed} | {where} | {share:.0%} | {victim} | {outcome} | {lost} |"


@pytest.mark.parametrize("seed", SEEDS, ids="seed{}".format)
def test_workflow_killed_in_every_stage_ends_like_the_unbroken_run(
    workflow: Workflow,
    unbroken: Workflow,
    seconds: dict[str, float],
    table: list[str],
    seed: int,
) -> None:
    struck = [workflow.strike(kill, seconds) for kill in drawn(seed)]
    assert workflow.finish() == 0, workflow.log
    found, wanted = workflow.outcome(), unbroken.outcome()
    table += [line(seed, each, same=found == wanted) for each in struck]
    assert found == wanted
    # More than that would be work of before a checkpoint.
    assert max(each.steps_lost for each in struck) <= 2


def test_a_damaged_newest_checkpoint_costs_the_steps_since_the_one_before(
    workflow: Workflow, unbroken: Workflow
) -> None:
    driver = workflow.start()
    workflow.until(lambda: len(sealed(workflow.checkpoints)) > 1, driver)
    workflow.kill(driver)
    newest = list(sealed(workflow.checkpoints).values())[-1]
    weights = newest / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    assert workflow.finish() == 0, workflow.log
    assert f"{newest}: damaged, deleted".removeprefix(f"{workflow.folder}/") in workflow.log
    assert workflow.outcome() == unbroken.outcome()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if os.getuid() or subprocess.run(mount, check=False).returncode:
        pytest.skip("mounting a file system needs root")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_ends_a_training_with_a_message(
    workflow: Workflow, unbroken: Workflow, small_disk: Path
) -> None:
    (workflow.folder / "checkpoints").symlink_to(small_disk, target_is_directory=True)
    assert workflow.finish() != 0
    assert "MB of disk are free" in workflow.log
    assert "Traceback" not in workflow.log
    # It was noticed before the first checkpoint was begun.
    assert not list(workflow.checkpoints.glob("checkpoint-*"))
    subprocess.run(["mount", "-o", "remount,size=200m", str(small_disk)], check=True)
    assert workflow.finish() == 0, workflow.log
    assert workflow.outcome() == unbroken.outcome()


def test_a_full_folder_for_temporary_files_breaks_nothing_for_good(
    workflow: Workflow, unbroken: Workflow, small_disk: Path
) -> None:
    filler = bytes(4096)
    with contextlib.suppress(OSError), (small_disk / "filler").open("wb", buffering=0) as stream:
        while True:
            stream.write(filler)
    assert shutil.disk_usage(small_disk).free == 0
    workflow.finish(TMPDIR=str(small_disk))
    assert workflow.finish() == 0, workflow.log
    assert workflow.outcome() == unbroken.outcome()
