"""The backend `split` raises the accuracy on held-out problems, from a base to the evaluation."""

import json
import shutil

import pytest

from tiny import CONFIG, Run, edited, stage

RECIPE, BASE, DATASET, PROMPT = "trl_tldr", "mini_tldr", "posts", "post_plain"
STEPS, PROBLEMS = 24, 256


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A trained run of TRL's quickstart, at a fraction of scale mini."""
    folder = tmp_path_factory.mktemp("learns")
    config = folder / "config"
    shutil.copytree(CONFIG, config)
    with edited(config / "scales" / "mini.yaml") as scale:
        del scale["computation"]  # one process of one thread
        scale["bases"][BASE] |= {"hidden_size": 64, "intermediate_size": 128, "steps": 100}
        scale["tasks"]["tldr"]["sizes"] |= {
            "max_steps": STEPS,
            "save_steps": STEPS,
            "prompts_per_step": 16,
        }
        scale["tasks"]["tldr"]["evaluation"] |= {"max_problems": PROBLEMS}
    with edited(config / "sources.yaml") as sources:
        sources["datasets"][DATASET] |= {"train": 1000, "test": PROBLEMS}
    rows, problems, base = (folder / name for name in ("rows", "problems", "base"))
    table = ("--table", config / "sources.yaml")
    stage("sources", "dataset", DATASET, *table, "--out", folder / "dataset")
    stage("data", "rows", folder / "dataset" / "manifest.json", "--out", rows)
    prompt = ("--prompt", PROMPT)
    stage("data", "problems", rows / "manifest.json", *prompt, "--out", problems)
    options = ("--scale", "mini", "--config", config, "--rows", rows / "manifest.json")
    stage("pretrain", BASE, *options, "--out", base)
    run = Run(folder / "run")
    inputs = ("--problems", problems / "manifest.json", "--model", base / "manifest.json")
    options = ("--config", config, "--backend", "split", "--out", run.file)
    stage("resolve", RECIPE, *inputs, *options)
    places = ("--checkpoints", run.checkpoints, "--out", run.plan)
    stage("layout", run.file, "--hardware", json.dumps({"gpus": 0}), *places)
    stage("train", *run.options)
    for step in (0, STEPS):
        out = ("--out", run.folder / f"step{step}.json")
        suite = ("--suite", DATASET, "--problems", problems / "manifest.json")
        stage("evaluate", run.model, "--step", step, *suite, *out)
    return run


@pytest.mark.slow
def test_accuracy_on_held_out_problems_rises(run: Run) -> None:
    before, after = (
        json.loads((run.folder / f"step{step}.json").read_text()) for step in (0, STEPS)
    )
    right = [
        sum(sum(problem["correct"]) for problem in scores["problems"]) for scores in (before, after)
    ]
    print(f"right of {PROBLEMS}: {right[0]} before, {right[1]} after")
    # Four standard errors of a difference of shares, at most.
    assert right[1] - right[0] > 4 * (PROBLEMS / 2) ** 0.5
