"""Suites of recipes in the workflow: measured, and held out of the training rows."""

from pathlib import Path

import pytest

from r1zero.settings import resolve_run
from tiny import CONFIG
from workflow_copy import copy_workflow, jobs_of, snakemake

PAPER = {
    "scale": "paper",
    "recipes": ["oat_zero"],
    "hardware": {"gpus": 8, "gpu": "a100-80g"},
    "suites": {"mine": {"task": "math", "dataset": "math500"}},
}


@pytest.fixture
def workflow(tmp_path: Path) -> Path:
    return copy_workflow(tmp_path / "workflow")


def test_suites_of_a_recipe_are_measured_and_held_out(workflow: Path) -> None:
    options = ("evaluate_oat_zero", "--dry-run", "--printshellcmds")
    shown = snakemake(workflow, *options, config=PAPER).stdout
    run = resolve_run("oat_zero", scale="paper", backend="trl", seed=0, folder=CONFIG)
    # The training has all GPUs, each evaluation one of them.
    assert shown.count("--gpus 8 ") == 1
    listed = [suite.name for suite in run.evaluation.suites]
    suites = [run.dataset, *listed, "mine"]
    for suite in suites:
        for step in run.evaluated_steps:
            place = f"results/paper/oat_zero/trl/seed0/evaluations/{suite}/step{step}.json"
            assert f"--out {place}" in shown, shown
    assert jobs_of(shown)["evaluate"] == len(suites) * len(run.evaluated_steps)
    # Of the datasets, one has training rows: they are without the suites of both recipes that train
    # on it, and without that of the user.
    held_out = {name: name for name in (*listed, "gsm8k")} | {"mine": "math500"}
    for name, dataset in held_out.items():
        assert f"--held-out {name}=resources/datasets/{dataset}/manifest.json" in shown, shown
    assert shown.count("--held-out") == len(held_out)


def test_a_suite_has_sizes_of_its_own(workflow: Path) -> None:
    own = {
        name: {"task": "math", "dataset": name, "max_problems": 50} for name in ("minerva", "amc23")
    }
    config = PAPER | {"recipes": ["simplerl_zoo"], "suites": own}
    options = ("evaluate_simplerl_zoo", "--dry-run", "--printshellcmds")
    shown = snakemake(workflow, *options, config=config).stdout
    run = resolve_run("simplerl_zoo", scale="paper", backend="trl", seed=0, folder=CONFIG)
    steps = len(run.evaluated_steps)
    assert shown.count("--suite aime24 --n-samples 32 ") == steps, shown
    assert shown.count("--suite minerva --max-problems 50 ") == steps
    # Of the recipe's own sizes the user's replace what they say, and no more.
    assert shown.count("--suite amc23 --n-samples 16 --max-problems 50 ") == steps
    assert shown.count("--n-samples") == shown.count("--max-problems") == 2 * steps
