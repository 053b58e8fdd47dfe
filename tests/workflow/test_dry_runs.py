"""The workflow as Snakemake reads it: targets, jobs, and one line for what is wrong."""

import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from r1zero.settings import load_recipe, published_recipes, recipe_names, resolve_run
from tiny import CONFIG, RECIPE
from workflow_copy import copy_workflow, jobs_of, snakemake

RECIPES = recipe_names(CONFIG)
TARGETS = {
    "report",
    "train_all",
    "plan",
    "download",
    "verify_sources",
    f"train_{load_recipe(RECIPE, CONFIG).task}",
    *(f"train_{recipe}" for recipe in RECIPES),
    *(f"evaluate_{recipe}" for recipe in RECIPES),
}
HEAVY = ("torch", "transformers", "trl", "accelerate", "datasets", "vllm")


@pytest.fixture
def workflow(tmp_path: Path) -> Path:
    return copy_workflow(tmp_path / "workflow")


def steps() -> list[int]:
    """Evaluated steps of a run at the mini scale."""
    run = resolve_run(RECIPE, scale="mini", backend="trl", seed=0, folder=CONFIG)
    return run.evaluated_steps


def test_the_menu_lists_every_target_with_what_it_makes(workflow: Path) -> None:
    result = snakemake(workflow, "--list-target-rules")
    assert result.returncode == 0, result.stdout
    described = dict(line.split(" (", 1) for line in result.stdout.splitlines() if " (" in line)
    assert described.keys() == TARGETS


def test_every_target_has_a_way_to_be_made(workflow: Path) -> None:
    result = snakemake(workflow, *sorted(TARGETS), "--dry-run", "--forceall", "--quiet", "rules")
    assert result.returncode == 0, result.stdout
    jobs = jobs_of(result.stdout)
    assert all(jobs[target] == 1 for target in TARGETS)
    assert jobs["train"] == len(RECIPES)


@pytest.mark.parametrize(
    ("target", "runs"),
    [
        ("plan", 0),
        ("download", 0),
        ("verify_sources", 0),
        ("report", 1),
        ("train_all", len(published_recipes(CONFIG))),
        (f"train_{RECIPE}", 1),
        (f"evaluate_{RECIPE}", 1),
        ("train_dapo", 1),
        ("train_trl_tldr", 1),
    ],
)
def test_a_target_trains_what_it_says(workflow: Path, target: str, runs: int) -> None:
    result = snakemake(workflow, target, "--dry-run", "--forceall", "--quiet", "rules")
    assert result.returncode == 0, result.stdout
    assert jobs_of(result.stdout)["train"] == runs


def test_without_a_target_the_report_is_made(workflow: Path) -> None:
    result = snakemake(workflow, "--dry-run", "--quiet", "rules")
    assert jobs_of(result.stdout) == {
        "report": 1,
        "list_results": 1,
        "write_report": 1,
        "evaluate": len(steps()),
        "train": 1,
        "layout": 1,
        "resolve": 1,
        "base": 1,
        "problems": 1,
        "rows": 1,
        "dataset": 1,
    }


def test_a_plan_trains_nothing(workflow: Path) -> None:
    jobs = jobs_of(snakemake(workflow, "plan", "--dry-run", "--quiet", "rules").stdout)
    assert jobs["layout"] == 1
    assert not jobs.keys() & {"train", "evaluate", "write_report"}


@pytest.mark.parametrize(
    ("target", "seeds", "cores", "training", "base"),
    [
        (None, 1, 2, 2, 2),
        (None, 3, 2, 1, 2),
        ("train_datawhale_r1", 1, 8, 4, 4),
        ("train_countdown", 3, 8, 2, 4),
        ("train_all", 1, 2, 1, 1),
        ("train_all", 1, 64, 4, 4),
        ("train_dapo", 1, 1, 1, 1),
    ],
)
def test_trainings_share_the_cores(
    workflow: Path, target: str | None, seeds: int, cores: int, training: int, base: int
) -> None:
    options = [*([target] if target else []), "--dry-run", "--cores", str(cores)]
    shown = snakemake(workflow, *options, config={"seeds": list(range(seeds))}).stdout
    assert threads_of(shown, "train") == {training}
    assert threads_of(shown, "base") == {base}


def threads_of(shown: str, rule: str) -> set[int]:
    """Threads of the jobs of a rule in the output of a dry run."""
    found = re.findall(rf"^(?:local)?rule {rule}:\n((?: .*\n)*)", shown, re.MULTILINE)
    threads = [re.search(r"^    threads: (\d+)$", job, re.MULTILINE) for job in found]
    return {int(one[1]) if one else 1 for one in threads}


def test_each_seed_is_a_run_and_all_share_a_base(workflow: Path) -> None:
    result = snakemake(workflow, "--dry-run", "--quiet", "rules", config={"seeds": [0, 1, 2]})
    jobs = jobs_of(result.stdout)
    assert (jobs["train"], jobs["evaluate"], jobs["base"]) == (3, 3 * len(steps()), 1)


def test_a_suite_of_ones_own_is_measured_at_every_step(workflow: Path) -> None:
    (workflow / "mine.jsonl").write_text('{"nums": [44, 19, 35], "target": 98}\n')
    suites = {"mine": {"task": "countdown", "path": "mine.jsonl", "numbers": [3]}}
    result = snakemake(workflow, "--dry-run", "--quiet", "rules", config={"suites": suites})
    jobs = jobs_of(result.stdout)
    assert (jobs["dataset"], jobs["problems"]) == (2, 2)
    assert jobs["evaluate"] == 2 * len(steps())


def test_a_dataset_of_the_table_can_be_a_suite(workflow: Path) -> None:
    suites = {"published": {"task": "countdown", "dataset": "countdown_3to4"}}
    shown = snakemake(workflow, "--dry-run", "--printshellcmds", config={"suites": suites}).stdout
    assert jobs_of(shown)["evaluate"] == 2 * len(steps())
    assert "--held-out published=resources/datasets/countdown_3to4/manifest.json" in shown


@pytest.mark.parametrize(
    ("suite", "message"),
    [
        ({"task": "countdown"}, "config: suites.mine: wants either a `path` or a `dataset`"),
        (
            {"task": "countdown", "dataset": "nope"},
            "suites.mine: no dataset 'nope' with test rows (there are: countdown_3to4, ",
        ),
        (
            {"task": "countdown", "dataset": "gsm8k"},
            "suites.mine: dataset 'gsm8k' has rows of gsm8k",
        ),
    ],
)
def test_a_suite_that_is_nowhere_is_named(
    workflow: Path, suite: dict[str, str], message: str
) -> None:
    assert error_of(workflow, {"suites": {"mine": suite}}).startswith(message)


def test_a_suite_is_no_dataset_of_the_same_name(workflow: Path) -> None:
    suites = {"gsm8k": {"task": "gsm8k", "path": "mine.jsonl"}}
    assert error_of(workflow, {"suites": suites}).startswith(
        "suites.gsm8k: is the name of a dataset"
    )


def test_a_path_with_a_space_is_one_argument(workflow: Path) -> None:
    (workflow / "my rows.jsonl").write_text('{"nums": [44, 19, 35], "target": 98}\n')
    suites = {"mine": {"task": "countdown", "path": "my rows.jsonl"}}
    shown = snakemake(workflow, "--dry-run", "--printshellcmds", config={"suites": suites}).stdout
    assert """--own '{"mine": {""" in shown
    assert '"test": "my rows.jsonl"' in shown


def test_download_fetches_all_that_the_runs_need_and_no_more(workflow: Path) -> None:
    paper = {"scale": "paper", "hardware": {"gpus": 1}}
    suites = {"suites": {"published": {"task": "countdown", "dataset": "countdown_3to4"}}}
    for config, wanted in (
        ({}, {"dataset": 1, "download": 1}),
        (suites, {"dataset": 2, "download": 1}),
        (paper, {"dataset": 1, "model": 1, "download": 1}),
    ):
        dry_run = ("download", "--dry-run", "--quiet", "rules")
        result = snakemake(workflow, *dry_run, config=config, PYTHONPATH=str(stub_vllm(workflow)))
        assert jobs_of(result.stdout) == wanted, result.stdout


def test_download_fetches_what_suites_of_other_tasks_hold_out(workflow: Path) -> None:
    path = workflow / "config" / "scales" / "mini.yaml"
    scale = yaml.safe_load(path.read_text())
    scale["tasks"]["math"]["dataset"] = "math_7500"
    path.write_text(yaml.safe_dump(scale))
    suites = {"mine": {"task": "gsm8k", "dataset": "math500"}}
    result = snakemake(
        *(workflow, "download", "--dry-run"),
        config={"recipes": ["r1zero_math"], "suites": suites},
    )
    for dataset in ("math_7500", "math500"):
        assert f"output: resources/datasets/{dataset}/manifest.json" in result.stdout, result.stdout
    assert jobs_of(result.stdout)["dataset"] == 2


@pytest.mark.parametrize("name", ["items", "get", "keys", "dataset_manifest"])
def test_a_suite_may_have_any_name(workflow: Path, name: str) -> None:
    suites = {name: {"task": "countdown", "dataset": "countdown_3to4"}}
    shown = snakemake(workflow, "--dry-run", "--printshellcmds", config={"suites": suites}).stdout
    assert jobs_of(shown)["rows"] == 2, shown
    assert f"--held-out {name}=resources/datasets/countdown_3to4/manifest.json" in shown


def test_what_the_lock_does_not_know_is_not_trained_on(workflow: Path) -> None:
    path = workflow / "resources" / "datasets" / "countdown_3" / "manifest.json"
    path.parent.mkdir(parents=True)
    where = path.relative_to(workflow)
    path.write_text('{"name": "countdown_3", "source": {"kind": "hub"}, "files": []}')
    assert error_of(workflow) == (
        f"{where}: has no entry in config/sources.lock.yaml (delete this manifest to fetch it and "
        "trust it anew)"
    )
    path.write_text("{")
    assert error_of(workflow).startswith(f"{where}: not valid JSON: ")


def stub_vllm(folder: Path) -> Path:
    """What is asked is whether vLLM is there; it is not imported."""
    package = folder / "stubs" / "vllm"
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").write_text("raise SystemExit\n")
    return package.parent


def test_reading_the_workflow_imports_no_training_stack(workflow: Path, tmp_path: Path) -> None:
    for name in HEAVY:
        package = tmp_path / "stubs" / name
        package.mkdir(parents=True)
        (package / "__init__.py").write_text(f"raise SystemExit('{name} was imported')\n")
    result = snakemake(workflow, "--dry-run", PYTHONPATH=str(tmp_path / "stubs"))
    assert result.returncode == 0, result.stdout
    assert jobs_of(result.stdout)["train"] == 1


def test_at_paper_scale_the_model_comes_from_the_table(workflow: Path) -> None:
    config = {"scale": "paper", "hardware": {"gpus": 1}}
    result = snakemake(workflow, "--dry-run", config=config, PYTHONPATH=str(stub_vllm(workflow)))
    assert result.returncode == 0, result.stdout
    jobs = jobs_of(result.stdout)
    assert (jobs["model"], jobs["base"], jobs["train"]) == (1, 0, 1)
    assert "gpu=1" in result.stdout


def error_of(workflow: Path, config: dict[str, Any] | None = None) -> str:
    """The one line that says why the workflow does not start."""
    result = snakemake(workflow, "--dry-run", config=config)
    assert result.returncode != 0
    assert "Traceback" not in result.stdout
    assert "common.smk" not in result.stdout
    errors = [line for line in result.stdout.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, result.stdout
    return errors[0].removeprefix("error: ")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"recipe": ["x"]}, "config: unknown key 'recipe' (known: scale, recipes,"),
        (
            {"hardware": {"gpu_count": 1}},
            "config: unknown key 'hardware.gpu_count' (known: gpus, nodes, gpu,",
        ),
        (
            {"scale": "paper", "hardware": {"gpus": 1, "gpu": "z9"}},
            "hardware.gpu: unknown kind of GPU 'z9' (known: 3090,",
        ),
        ({"seeds": "many"}, "config: seeds: Input should be a valid list (got 'many')"),
        ({"scale": "maxi"}, "config: scale: Input should be 'mini' or 'paper' (got 'maxi')"),
        (
            {"recipes": ["r2_zero"]},
            f"recipes: unknown recipe 'r2_zero' (there are: {', '.join(RECIPES)})",
        ),
        (
            {"scale": "paper", "hardware": {"gpus": 0}},
            "hardware: qwen2.5-3b-instruct is too large to train on a CPU (works: {'gpus': 1,",
        ),
        (
            {"scale": "paper", "hardware": {"gpus": 7}},
            "hardware: server, 6 + 1: 128 completions per step are not divisible by 6; server, 5",
        ),
    ],
    ids=str,
)
def test_a_bad_config_is_one_line_that_names_the_key(
    workflow: Path, config: dict[str, Any], message: str
) -> None:
    assert error_of(workflow, config).startswith(message)


@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vLLM is installed")
def test_a_missing_package_is_named_before_anything_starts(workflow: Path) -> None:
    config = {"scale": "paper", "hardware": {"gpus": 1}}
    assert error_of(workflow, config).startswith(
        "hardware.gpus: generation on a GPU needs vLLM, which is not installed"
    )


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (
            f"recipes/{RECIPE}.yaml",
            lambda values: values["algorithm"].update(betta=0.1),
            "unknown key 'algorithm.betta' (known: loss_type,",
        ),
        (
            f"recipes/{RECIPE}.yaml",
            lambda values: values["sizes"].update(learning_rate=0),
            "sizes.learning_rate: Input should be greater than 0 (got 0)",
        ),
        (
            "scales/mini.yaml",
            lambda values: values["tasks"]["countdown"]["sizes"].update(max_steps="few"),
            "tasks.countdown.sizes.max_steps: Input should be a valid integer",
        ),
        (
            "sources.yaml",
            lambda values: values["datasets"]["countdown_3"].update(kind="csv"),
            "datasets.countdown_3: Input tag 'csv' found using 'kind'",
        ),
    ],
)
def test_a_bad_file_is_one_line_that_names_file_and_key(
    workflow: Path, name: str, change: Callable[[Any], object], message: str
) -> None:
    path = workflow / "config" / name
    values = yaml.safe_load(path.read_text())
    change(values)
    path.write_text(yaml.safe_dump(values))
    assert error_of(workflow).startswith(f"config/{name}: {message}")


def test_a_reward_that_there_is_not_is_named(workflow: Path) -> None:
    path = workflow / "config" / "recipes" / f"{RECIPE}.yaml"
    path.write_text(path.read_text().replace("name: format", "name: lenght"))
    assert error_of(workflow).startswith(f"recipe {RECIPE}: reward lenght: ")


def test_a_scale_that_does_not_divide_is_named(workflow: Path) -> None:
    path = workflow / "config" / "scales" / "mini.yaml"
    values = yaml.safe_load(path.read_text())
    values["tasks"]["countdown"]["sizes"] |= {"max_steps": 10, "save_steps": 3}
    path.write_text(yaml.safe_dump(values))
    assert error_of(workflow) == (
        f"recipe {RECIPE} at scale mini: sizes: save_steps 3 does not divide max_steps 10, so the "
        "last step would not be saved; 2 does"
    )


def test_a_dataset_that_nobody_describes_is_named(workflow: Path) -> None:
    path = workflow / "config" / "sources.yaml"
    path.write_text(path.read_text().replace("  countdown_3:", "  countdown_5:"))
    assert error_of(workflow).startswith("datasets: unknown 'countdown_3' (there are: ")
