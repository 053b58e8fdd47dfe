"""A real training with ms-swift: what it leaves, and that a killed run ends as an unbroken one."""

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from kills import check_it_ended_like, finish, kill_at_checkpoint, kill_five_times
from r1zero.train import metrics
from r1zero.train.checkpoints import sealed
from tiny import Run, make_run

pytestmark = pytest.mark.swift

STEPS = 6


@pytest.fixture(scope="module")
def make(
    environment: Path, slow_config: Path, tiny_task: Path, slow_base: Path
) -> Callable[[Path], Run]:
    """Makes the same run in any folder."""
    return lambda folder: make_run(folder, slow_config, tiny_task, slow_base, backend="swift")


@pytest.fixture(scope="module")
def runs(make: Callable[[Path], Run], tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Run]:
    """The same run twice: trained without a break, and killed when checkpoint 4 was complete."""
    folder = tmp_path_factory.mktemp("swift")
    unbroken, killed = finish(make(folder / "unbroken")), make(folder / "killed")
    kill_at_checkpoint(killed, 4)
    return unbroken, finish(killed)


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
    assert list(sealed(unbroken.checkpoints)) == [2, 4, 6]
    check_it_ended_like(killed, unbroken)


@pytest.mark.kills
def test_a_run_that_is_killed_five_times_ends_like_one_that_is_not(
    runs: tuple[Run, Run], make: Callable[[Path], Run], tmp_path: Path
) -> None:
    unbroken, _ = runs
    run = make(tmp_path / "run")
    for point in kill_five_times(run, unbroken, seed=15):
        print(point)
    finish(run)
    check_it_ended_like(run, unbroken)
