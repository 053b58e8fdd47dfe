"""The whole workflow on a tiny scale: it makes everything once, and again only what changed."""

import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tiny import BASE, DATASET, PROMPT, RECIPE, edited
from workflow_copy import copy_workflow, jobs_of, snakemake

pytestmark = pytest.mark.slow

RUN = f"mini/{RECIPE}/trl/seed0"
STEPS = (0, 2, 4)
TARGET = ("train_countdown", "--cores", "1")
NOTHING = "Nothing to be done"


@pytest.fixture(scope="module")
def finished(tiny_config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a workflow that has run to its end."""
    config = tmp_path_factory.mktemp("tiny") / "config"
    shutil.copytree(tiny_config, config)
    with edited(config / "scales" / "mini.yaml") as scale:
        # A base that gets some rewards for the format, so that weights do change.
        scale["bases"][BASE] |= {"hidden_size": 32, "steps": 60, "adam_learning_rate": 0.01}
        scale["tasks"]["countdown"]["sizes"]["max_completion_length"] = 64
        # More than the cores that Snakemake may use.
        scale["computation"] = {"pretrain": {"threads": 2}, "train": {"threads": 2}}
    folder = copy_workflow(tmp_path_factory.mktemp("end_to_end") / "workflow", config)
    result = snakemake(folder, *TARGET)
    assert result.returncode == 0, result.stdout
    return folder


@pytest.fixture
def workflow(finished: Path, tmp_path: Path) -> Path:
    """A copy of it to change."""
    # With its times, by which Snakemake decides, and its memory in .snakemake.
    return Path(shutil.copytree(finished, tmp_path / "workflow"))


def change_evaluation(workflow: Path, **changes: Any) -> None:
    with edited(workflow / "config" / "scales" / "mini.yaml") as scale:
        scale["tasks"]["countdown"]["evaluation"] |= changes


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def times_of_weights(workflow: Path) -> dict[Path, int]:
    checkpoints = (workflow / "checkpoints" / RUN).glob("checkpoint-*/model.safetensors")
    return {path.relative_to(workflow): path.stat().st_mtime_ns for path in checkpoints}


def test_everything_is_made(finished: Path) -> None:
    expected = [
        f"resources/datasets/{DATASET}/manifest.json",
        f"resources/rows/{DATASET}/manifest.json",
        f"resources/rows/{DATASET}/audit.json",
        f"resources/problems/{DATASET}/{PROMPT}/manifest.json",
        f"resources/bases/mini/{BASE}/manifest.json",
        f"results/{RUN}/run.json",
        *(f"results/{RUN}/plan/{name}" for name in ("plan.json", "plan.md", "config/trl.yaml")),
        f"results/{RUN}/model.json",
        f"results/{RUN}/metrics.jsonl",
        *(f"results/{RUN}/evaluations/countdown_3/step{step}.json" for step in STEPS),
        *(f"results/{RUN}/evaluations/countdown_3/step{step}.parquet" for step in STEPS),
        *(f"results/mini/report/{name}" for name in ("report.pdf", "index.html", "report.json")),
        *(f"results/mini/report/tables/main.{kind}" for kind in ("csv", "md", "tex")),
        *(
            f"results/mini/report/figures/learning_curve_countdown.{kind}"
            for kind in ("svg", "pdf", "png")
        ),
        f"results/mini/report/cards/{RECIPE}-trl-seed0/README.md",
    ]
    missing = [path for path in expected if not (finished / path).is_file()]
    assert not missing
    # Nothing half-written is left.
    assert not list(finished.rglob("*.part*"))


def test_the_numbers_lead_back_to_the_weights(finished: Path) -> None:
    model = read(finished / "results" / RUN / "model.json")
    hashes = {0: model["base_model"]["sha256"]}
    hashes |= {checkpoint["step"]: checkpoint["sha256"] for checkpoint in model["checkpoints"]}
    assert tuple(hashes) == STEPS
    assert len(set(hashes.values())) == len(STEPS)  # each step changed the weights
    folder = finished / "results" / RUN / "evaluations" / "countdown_3"
    for step in STEPS:
        assert read(folder / f"step{step}.json")["model_sha256"] == hashes[step]
    table = pl.read_csv(finished / "results/mini/report/tables/main.csv")
    accuracy = table.row(by_predicate=pl.col("metric") == "accuracy", named=True)
    for column, step in (("base", 0), ("trained", 4)):
        measured = read(folder / f"step{step}.json")["metrics"]["accuracy"]
        assert accuracy[column] == pytest.approx(measured)


def test_cores_change_no_weights(finished: Path, workflow: Path) -> None:
    # A target that wants several runs gives each as many threads as one that wants a single run.
    for made in ("resources/bases", f"results/{RUN}", f"checkpoints/{RUN}"):
        shutil.rmtree(workflow / made)
    result = snakemake(workflow, f"results/{RUN}/model.json", "--cores", "4")
    assert result.returncode == 0, result.stdout
    for made in (f"resources/bases/mini/{BASE}", f"checkpoints/{RUN}/checkpoint-4"):
        weights = [folder / made / "model.safetensors" for folder in (finished, workflow)]
        assert weights[0].read_bytes() == weights[1].read_bytes()


def test_a_second_time_nothing_is_done(workflow: Path) -> None:
    result = snakemake(workflow, *TARGET)
    assert result.returncode == 0
    assert NOTHING in result.stdout


def test_the_gpus_of_a_run_that_uses_none_change_nothing(workflow: Path) -> None:
    for gpus in (0, 1):
        result = snakemake(workflow, *TARGET, config={"hardware": {"gpus": gpus}})
        assert NOTHING in result.stdout, result.stdout


def test_what_a_run_does_not_use_changes_nothing(workflow: Path) -> None:
    for name in ("scales/mini.yaml", f"recipes/{RECIPE}.yaml", "sources.yaml", "config.yaml"):
        path = workflow / "config" / name
        path.write_text(path.read_text() + "\n# a comment\n")
    with edited(workflow / "config" / "scales" / "mini.yaml") as scale:
        scale["bases"]["another"] = scale["bases"][BASE]
    with edited(workflow / "config" / "sources.yaml") as sources:
        sources["datasets"]["another"] = sources["datasets"][DATASET]
    assert NOTHING in snakemake(workflow, *TARGET).stdout


def test_a_deleted_evaluation_is_made_again_and_the_report(workflow: Path) -> None:
    path = workflow / "results" / RUN / "evaluations" / "countdown_3" / "step2.json"
    before = read(path)
    path.unlink()
    result = snakemake(workflow, *TARGET)
    assert jobs_of(result.stdout) == {"evaluate": 1, "write_report": 1, "train_countdown": 1}
    assert result.returncode == 0, result.stdout
    after = read(path)
    for key in before.keys() - {"seconds", "tokens_per_second", "provenance"}:
        assert after[key] == before[key], key
    assert NOTHING in snakemake(workflow, *TARGET).stdout


def test_a_changed_result_changes_the_report_and_makes_nothing_else(workflow: Path) -> None:
    path = workflow / "results" / RUN / "evaluations" / "countdown_3" / "step4.json"
    cost = workflow / "results" / "mini" / "report" / "tables" / "cost.csv"
    before = pl.read_csv(cost)["evaluation_seconds"].item()
    path.write_text(json.dumps({**(content := read(path)), "seconds": content["seconds"] + 1000}))
    result = snakemake(workflow, *TARGET)
    assert jobs_of(result.stdout) == {"write_report": 1, "train_countdown": 1}
    assert result.returncode == 0, result.stdout
    assert pl.read_csv(cost)["evaluation_seconds"].item() == pytest.approx(before + 1000)


def test_another_evaluation_measures_anew_and_trains_nothing(workflow: Path) -> None:
    weights = times_of_weights(workflow)
    change_evaluation(workflow, n_samples=3)
    result = snakemake(workflow, *TARGET)
    assert result.returncode == 0, result.stdout
    jobs = jobs_of(result.stdout)
    assert jobs["evaluate"] == len(STEPS)
    assert not jobs.keys() & {"dataset", "rows", "problems", "base"}
    assert times_of_weights(workflow) == weights
    assert "step=1/" not in result.stdout
    scores = workflow / "results" / RUN / "evaluations" / "countdown_3" / "step4.json"
    assert read(scores)["n_samples"] == 3


def test_another_training_does_not_go_on_from_the_old_checkpoints(workflow: Path) -> None:
    weights = times_of_weights(workflow)
    with edited(workflow / "config" / "scales" / "mini.yaml") as scale:
        scale["tasks"]["countdown"]["sizes"]["learning_rate"] = 1e-5
    result = snakemake(workflow, *TARGET)
    assert result.returncode != 0
    assert (
        f"error: checkpoints/{RUN}: holds checkpoints of another run: their config_hash is"
        in result.stdout
    )
    assert times_of_weights(workflow) == weights


def test_a_changed_base_model_stops_the_training(workflow: Path) -> None:
    model = workflow / "results" / RUN / "model.json"
    model.unlink()
    (workflow / "results" / RUN / "evaluations" / "countdown_3" / "step4.json").unlink()
    path = workflow / "resources" / "bases" / "mini" / BASE / "model.safetensors"
    path.write_bytes(path.read_bytes() + b"\0")
    result = snakemake(workflow, *TARGET)
    assert result.returncode != 0
    assert f"{BASE}/model.safetensors: sha256 is" in result.stdout
    assert not model.exists()
