"""`evaluate:`: released models, fetched, scored as step 0 is, and set beside what was published."""

import csv
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fetching import endpoint
from hub import Hub, serve
from r1zero.core.errors import UserError
from r1zero.workflow import Workflow
from tiny import CONFIG, DATASET, PROMPT, RECIPE, edited, make_run, stage
from workflow_copy import copy_workflow, jobs_of, snakemake

NAME = "published-tiny"
SCORE = {
    "suite": DATASET,
    "trained": 60.0,
    "source": "table 1",
    "protocol": "500 problems, temperature 0.3",
}
PAPER = {"scale": "paper", "hardware": {"gpus": 1, "gpu": "h100-80g"}}
SHIPPED = (
    *("oat-zero-1.5b", "oat-zero-7b", "nano-aha-moment-3b"),
    *(f"simplerl-zoo-{size}" for size in ("0.5b", "1.5b", "7b")),
)


@pytest.fixture
def hub(tiny_base: Path) -> Iterator[Hub]:
    """A hub that has the base model of the tests as a released one."""
    names = ("config.json", "generation_config.json", "model.safetensors", "tokenizer.json")
    found = [tiny_base.parent / name for name in (*names, "tokenizer_config.json")]
    hub = Hub()
    files = {path.name: path.read_bytes() for path in found if path.is_file()}
    hub.put("models", "owner/released", files)
    with serve(hub):
        yield hub


@pytest.mark.slow
def test_a_released_model_is_fetched_scored_like_step_0_and_compared(
    hub: Hub, tiny_config: Path, tiny_task: Path, tiny_base: Path, tmp_path: Path
) -> None:
    config = Path(shutil.copytree(tiny_config, tmp_path / "config"))
    with edited(config / "recipes" / f"{RECIPE}.yaml") as recipe:
        recipe["released"] = [{"model": NAME, "published_scores": [SCORE]}]
    source = {
        "kind": "hub",
        "huggingface": {"repo": "owner/released"},
        "licence": "none",
        "gigabytes": 0.001,
    }
    own = {
        "endpoints": [endpoint("huggingface", hub.url)],
        "models": {NAME: source},
        "evaluate": {
            NAME: {},
            "mine": {"path": str(tiny_base.parent), "recipe": RECIPE, "suites": [DATASET]},
        },
    }
    workflow = copy_workflow(tmp_path / "workflow", config)
    online = dict.fromkeys(("HF_HUB_OFFLINE", "HF_ENDPOINT"), "")
    options = ("evaluate_released", "--cores", "1")
    result = snakemake(workflow, *options, config=own, **online)
    assert result.returncode == 0, result.stdout
    jobs = jobs_of(result.stdout)
    assert (jobs["model"], jobs["evaluate_model"], jobs["train"], jobs["pretrain"]) == (2, 2, 0, 0)

    folder = workflow / "results" / "mini" / "released"
    scored = [read(folder / name / "evaluations" / f"{DATASET}.json") for name in (NAME, "mine")]
    run = make_run(tmp_path / "run", config, tiny_task, tiny_base)
    step0 = tmp_path / "step0.json"
    problems = workflow / "resources" / "problems" / DATASET / PROMPT / "manifest.json"
    stage(
        *("evaluate", run.file, "--step", 0, "--suite", DATASET),
        *("--problems", problems, "--out", step0, "--gpus", 0),
    )
    wanted = read(step0)
    for key in ("decoding", "engine", "problems", "metrics", "suite_sha256", "model_sha256"):
        assert all(found[key] == wanted[key] for found in scored), key

    with (folder / "released.csv").open() as file:
        rows = {row["model"]: row for row in csv.DictReader(file)}
    published, unpublished = rows[NAME], rows["mine"]
    here = 100 * wanted["metrics"]["accuracy"]
    assert published["recipe"] == RECIPE
    assert (published["protocol"], published["source"]) == (SCORE["protocol"], SCORE["source"])
    assert float(published["here"]) == pytest.approx(here)
    assert float(published["difference"]) == pytest.approx(here - SCORE["trained"])
    assert unpublished["published"] == ""
    assert float(unpublished["here"]) == pytest.approx(here)

    again = snakemake(workflow, *options, config=own, **online)
    assert "Nothing to be done" in again.stdout, again.stdout


def read(path: Path) -> Any:
    return json.loads(path.read_text())


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("elsewhere")
def test_shipped_models_have_the_prompts_and_suites_that_they_were_published_with() -> None:
    flow = Workflow({**PAPER, "evaluate": {name: {} for name in SHIPPED}}, folder=CONFIG)
    plain = Workflow(PAPER, folder=CONFIG)
    for name in SHIPPED:
        (recipe,) = [
            recipe
            for recipe in flow.runs.recipes.values()
            if name in {entry.model for entry in recipe.released}
        ]
        (entry,) = [entry for entry in recipe.released if entry.model == name]
        measured = {
            Path(path).stem for path in flow.released.evaluations if path.split("/")[3] == name
        }
        scores = entry.published_scores or recipe.published_scores
        assert scores
        assert {score.suite for score in scores} <= measured
        assert f"--prompt {entry.prompt or recipe.prompt}" in flow.released.options(name)
        assert flow.released.gpus(name, scores[0].suite) == 1
        assert f"resources/models/{name}/manifest.json" in flow.needed()
    assert flow.finished("report") == plain.finished("report")
    for run in plain.runs.of(plain.runs.selected):
        assert flow.runs.settings_hash(run) == plain.runs.settings_hash(run)
    assert (plain.released.models, plain.compared(), plain.reports.released()) == ([], [], {})


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize(
    ("evaluate", "where", "named"),
    [
        ({"nope": {}}, "evaluate.nope", "oat-zero-7b"),
        ({"mine": {"path": "."}}, "evaluate.mine", "recipe"),
        ({"oat-zero-7b": {"path": "."}}, "evaluate.oat-zero-7b", "another name"),
        ({"oat-zero-7b": {"suites": ["gsm9k"]}}, "evaluate.oat-zero-7b.suites", "gsm8k"),
        ({"oat-zero-7b": {"suites": ["tldr"]}}, "evaluate.oat-zero-7b.suites", "gsm8k"),
        ({"oat-zero-7b": {"prompt": "question_x"}}, "prompt", "question_qwen_math"),
        ({"oat-zero-7b": {"recipe": "oat"}}, "recipes", "oat_zero"),
    ],
)
def test_what_cannot_be_scored_is_named(evaluate: dict[str, Any], where: str, named: str) -> None:
    with pytest.raises(UserError) as raised:
        Workflow({**PAPER, "evaluate": evaluate}, folder=CONFIG)
    assert raised.value.where == where
    assert named in raised.value.hint
