"""`Workflow`: what the rules are told, without Snakemake."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from r1zero.core.errors import UserError
from r1zero.settings import recipe_names, resolve_run
from r1zero.workflow import Run, Workflow
from tiny import CONFIG, PROMPT, RECIPE, edited

RUN = Run("mini", RECIPE, "trl", 0)
PAPER = {"scale": "paper", "hardware": {"gpus": 1, "gpu": "a100-80g"}}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder without results, where all paths of the rules start."""
    monkeypatch.chdir(tmp_path)


def workflow(config: dict[str, Any] | None = None, **options: Any) -> Workflow:
    return Workflow(config or {}, **{"folder": CONFIG, **options})


def error_of(config: dict[str, Any], folder: Path = CONFIG) -> UserError:
    with pytest.raises(UserError) as raised:
        workflow(config, folder=folder)
    assert "\n" not in str(raised.value)
    return raised.value


def test_a_run_is_named_by_its_wildcards() -> None:
    class Wildcards:
        scale, recipe, backend, seed = "mini", RECIPE, "trl", "3"

    run = Run.of(Wildcards)
    assert run == RUN._replace(seed=3)
    assert run.result("model.json") == f"results/mini/{RECIPE}/trl/seed3/model.json"


def test_each_seed_is_a_run_with_settings_of_its_own() -> None:
    flow = workflow({"seeds": [0, 7]})
    first, second = flow.runs.of(flow.runs.selected)
    for run in (first, second):
        expected = resolve_run(RECIPE, scale="mini", backend="trl", seed=run.seed, folder=CONFIG)
        assert flow.runs.settings(run) == expected
    assert flow.runs.settings_hash(first) != flow.runs.settings_hash(second)
    assert flow.runs.problems(first) == f"resources/problems/countdown_3/{PROMPT}/manifest.json"


def test_a_variant_is_resolved_from_its_recipe() -> None:
    flow = workflow({"ablations": [{"recipe": RECIPE, "vary": {"algorithm.beta": [0.5]}}]})
    assert flow.runs.selected == [RECIPE, f"{RECIPE}-beta_0.5"]
    varied = RUN._replace(recipe=f"{RECIPE}-beta_0.5")
    assert flow.runs.settings(varied).algorithm.beta == 0.5
    assert flow.runs.resolve_options(varied) == f"{RECIPE} --vary algorithm.beta=0.5"
    # What is evaluated is no part of a training, and counts for `resolve` all the same.
    assert flow.runs.settings_hash(varied) != flow.runs.settings_hash(RUN)


def test_a_reward_model_is_an_input_and_an_argument() -> None:
    flow = workflow({"recipes": ["swift_numina_rm"]})
    run = RUN._replace(recipe="swift_numina_rm")
    [model] = flow.runs.reward_models(run)
    assert flow.runs.resolve_options(run) == f"swift_numina_rm --reward-model {model}"
    assert model in flow.sources.needed(["swift_numina_rm"])


def test_the_base_model_is_made_at_the_mini_scale_and_fetched_at_the_paper_scale() -> None:
    assert workflow().runs.base_model(RUN) == "resources/bases/mini/mini_countdown/manifest.json"
    base = workflow(PAPER).runs.base_model(RUN._replace(scale="paper"))
    assert base == "resources/models/qwen2.5-3b-instruct/manifest.json"


@pytest.mark.parametrize(
    ("target", "names"),
    [
        ("report", [RECIPE]),
        ("train_countdown", [RECIPE]),
        ("train_dapo", ["dapo"]),
        ("evaluate_dapo", ["dapo"]),
        (f"results/{RUN.folder}/model.json", [RECIPE]),
    ],
)
def test_targets_are_made_of_recipes(target: str, names: list[str]) -> None:
    assert list(workflow().made_by(target)) == names


def test_a_target_has_the_report_that_is_on_its_runs() -> None:
    report = "results/mini/report/report.pdf"
    assert workflow().finished(f"train_{RECIPE}")[-1] == report
    both = workflow({"recipes": [RECIPE, "tinyzero"]})
    assert report not in both.finished(f"train_{RECIPE}")
    assert both.finished("train_countdown")[-1] == report
    assert both.finished("train_all")[-1] == "results/mini/report_all/report.pdf"


def test_the_scale_says_how_many_cores_a_job_takes_on_a_cpu(tmp_path: Path) -> None:
    config = tmp_path / "config"
    shutil.copytree(CONFIG, config)
    with edited(config / "scales" / "mini.yaml") as scale:
        scale["computation"] = {
            "pretrain": {"processes": 3, "threads": 2},
            "train": {"processes": 2},
            "evaluate": {"threads": 4},
        }
    assert workflow(folder=config).cores == {"pretrain": 6, "train": 2, "evaluate": 4}
    assert workflow(PAPER, folder=config).cores["train"] > 1


def test_another_layout_of_computation_makes_again_what_it_computes(tmp_path: Path) -> None:
    config = tmp_path / "config"
    shutil.copytree(CONFIG, config)

    def identity(**computation: Any) -> tuple[str, str, str]:
        with edited(config / "scales" / "mini.yaml") as scale:
            scale["computation"] = computation
        flow = workflow(folder=config)
        settings = flow.runs.settings(RUN)
        base = flow.sources.base_settings("mini", settings.model)
        return base, settings.training_hash(), flow.runs.settings_hash(RUN)

    base, training, measured = identity()
    assert identity(pretrain={"threads": 2})[0] != base
    assert identity(pretrain={"threads": 2})[1:] == (training, measured)
    assert identity(train={"processes": 2})[0] == base
    assert identity(train={"processes": 2})[1] != training
    assert identity(evaluate={"threads": 2})[:2] == (base, training)
    assert identity(evaluate={"threads": 2})[2] != measured


def test_memory_grows_with_the_model() -> None:
    small, large = workflow(), workflow(PAPER)
    paper = RUN._replace(scale="paper")
    assert 0 < small.training_memory(RUN) < large.training_memory(paper)
    assert (
        0
        < small.evaluation_memory(RUN, "countdown_3")
        < large.evaluation_memory(paper, "countdown_3")
    )
    # A recipe that has no layout here: another target may be made all the same.
    assert workflow({"recipes": [RECIPE]}).training_memory(paper) == 0


def needs_of(flow: Workflow, *runs: Run) -> dict[str, Any]:
    needs: dict[str, Any] = json.loads(flow.preflight_needs(runs))
    return needs


def test_preflight_asks_for_what_the_layouts_need() -> None:
    needs = needs_of(workflow(PAPER), RUN._replace(scale="paper"))
    assert needs["gpus"] == 1
    assert list(needs["packages"]) == ["vllm"]
    assert not needs_of(workflow(), RUN)["packages"]


def test_preflight_asks_for_the_reward_functions_of_the_user(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(CONFIG, tmp_path / "changed"))
    with edited(folder / "recipes" / f"{RECIPE}.yaml") as recipe:
        recipe["rewards"].append({"name": "nowhere.brevity"})
    flow = workflow(folder=folder)
    assert needs_of(flow, RUN)["reward_functions"] == {"nowhere.brevity": RECIPE}
    other = RUN._replace(recipe="dapo")
    assert not needs_of(flow, other)["reward_functions"]
    assert needs_of(flow, other, RUN)["reward_functions"]


def test_jobs_inherit_what_must_not_make_them_run_again() -> None:
    variables = workflow({"endpoints": [{"local": "/data"}], "offline": True}).environment
    assert json.loads(variables["R1ZERO_ENDPOINTS"]) == [{"local": "/data"}]
    assert variables["R1ZERO_OFFLINE"] == "1"
    assert json.loads(variables["R1ZERO_TRACKING"])["to"] == []


@pytest.mark.parametrize(
    ("config", "where", "values"),
    [
        ({"recipe": ["x"]}, "config", ["'recipe'", "recipes"]),
        ({"recipes": ["r2_zero"]}, "recipes", ["'r2_zero'", *recipe_names(CONFIG)]),
        ({"scale": "paper", "hardware": {"gpus": 1, "gpu": "z9"}}, "hardware.gpu", ["z9", "3090"]),
        ({"scale": "paper", "hardware": {"gpus": 0}}, "hardware", ["qwen2.5-3b-instruct", "1"]),
        ({"scale": "paper", "hardware": {"gpus": 7}}, "hardware", ["128", "6", "5"]),
        ({"suites": {"mine": {"task": "countdown"}}}, "config", ["suites.mine", "`dataset`"]),
        (
            {"suites": {"mine": {"task": "countdown", "dataset": "nope"}}},
            "suites.mine",
            ["'nope'", "countdown_3to4"],
        ),
        (
            {"suites": {"mine": {"task": "countdown", "dataset": "gsm8k"}}},
            "suites.mine",
            ["'gsm8k'", "countdown"],
        ),
        ({"suites": {"gsm8k": {"task": "gsm8k", "path": "mine.jsonl"}}}, "suites.gsm8k", []),
    ],
    ids=str,
)
def test_a_bad_configuration_is_one_line_that_names_the_key(
    config: dict[str, Any], where: str, values: list[str]
) -> None:
    error = error_of(config)
    assert error.where == where
    for value in values:
        assert value in str(error)


@pytest.mark.parametrize(
    ("name", "change", "key"),
    [
        (
            f"recipes/{RECIPE}.yaml",
            lambda values: values["algorithm"].update(betta=0.1),
            "algorithm.betta",
        ),
        (
            "scales/mini.yaml",
            lambda values: values["tasks"]["countdown"]["sizes"].update(max_steps="few"),
            "tasks.countdown.sizes.max_steps",
        ),
        (
            "sources.yaml",
            lambda values: values["datasets"]["countdown_3"].update(kind="csv"),
            "datasets.countdown_3",
        ),
    ],
)
def test_a_bad_file_is_one_line_that_names_file_and_key(
    tmp_path: Path, name: str, change: Callable[[Any], object], key: str
) -> None:
    folder = Path(shutil.copytree(CONFIG, tmp_path / "changed"))
    with edited(folder / name) as values:
        change(values)
    error = error_of({}, folder)
    assert error.where == str(folder / name)
    assert key in error.message


def test_a_reward_that_there_is_not_is_named(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(CONFIG, tmp_path / "changed"))
    path = folder / "recipes" / f"{RECIPE}.yaml"
    path.write_text(path.read_text().replace("name: format", "name: lenght"))
    error = error_of({}, folder)
    assert RECIPE in error.where
    assert "lenght" in error.where
    assert "length" in error.hint


def test_what_the_lock_does_not_know_is_not_trained_on() -> None:
    path = Path("resources/datasets/countdown_3/manifest.json")
    path.parent.mkdir(parents=True)
    path.write_text('{"name": "countdown_3", "source": {"kind": "hub"}, "files": []}')
    error = error_of({})
    assert error.where == str(path)
    assert "config/sources.lock.yaml" in error.message
    path.write_text("{")
    assert error_of({}).where == str(path)
