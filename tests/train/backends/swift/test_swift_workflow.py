"""The whole workflow with `backends: [swift]`, from rows to the report."""

import json
import shutil
from pathlib import Path

import polars as pl
import pytest

from tiny import BASE, RECIPE, edited
from workflow_copy import copy_workflow, jobs_of, link_environments, snakemake

pytestmark = pytest.mark.swift

RUN = f"mini/{RECIPE}/swift/seed0"
STEPS = (0, 2, 4)
TARGET = ("train_countdown", "--cores", "1")


@pytest.fixture(scope="module")
def finished(
    environment: Path, tiny_config: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Folder of a workflow that has run to its end."""
    config = tmp_path_factory.mktemp("tiny") / "config"
    shutil.copytree(tiny_config, config)
    with edited(config / "config.yaml") as settings:
        settings["backends"] = ["swift"]
    with edited(config / "scales" / "mini.yaml") as scale:
        # A base that gets some rewards for the format, so that weights do change.
        scale["bases"][BASE] |= {"hidden_size": 32, "steps": 60, "adam_learning_rate": 0.01}
        scale["tasks"]["countdown"]["sizes"]["max_completion_length"] = 64
    folder = copy_workflow(tmp_path_factory.mktemp("swift") / "workflow", config)
    result = snakemake(link_environments(folder), *TARGET)
    assert result.returncode == 0, result.stdout
    assert jobs_of(result.stdout)["train"] == 1
    return folder


def test_the_report_has_the_trained_run(finished: Path) -> None:
    model = json.loads((finished / "results" / RUN / "model.json").read_text())
    hashes = {0: model["base_model"]["sha256"]}
    hashes |= {checkpoint["step"]: checkpoint["sha256"] for checkpoint in model["checkpoints"]}
    assert tuple(hashes) == STEPS
    assert len(set(hashes.values())) == len(STEPS)  # each step changed the weights
    folder = finished / "results" / RUN / "evaluations" / "countdown_3"
    for step in STEPS:
        assert json.loads((folder / f"step{step}.json").read_text())["model_sha256"] == hashes[step]
    table = pl.read_csv(finished / "results/mini/report/tables/main.csv")
    row = table.row(by_predicate=pl.col("metric") == "accuracy", named=True)
    assert "swift" in row.values()
    report = json.loads((finished / "results/mini/report/report.json").read_text())
    assert report["inputs"]
    for name in ("report.pdf", "index.html", f"cards/{RECIPE}-swift-seed0/README.md"):
        assert (finished / "results/mini/report" / name).is_file()


def test_a_second_time_nothing_is_done(finished: Path) -> None:
    assert "Nothing to be done" in snakemake(finished, *TARGET).stdout
