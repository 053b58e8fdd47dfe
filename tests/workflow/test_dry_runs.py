"""The workflow as Snakemake reads it: targets, jobs, and one line for what is wrong."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from r1zero.settings import (
    load_config,
    load_recipe,
    published_recipes,
    recipe_names,
    resolve_run,
)
from r1zero.workflow.claims import ClaimRuns
from tiny import BASE, CONFIG, RECIPE, edited, stage
from workflow_copy import copy_workflow, jobs_of, snakemake

RECIPES = recipe_names(CONFIG)
TARGETS = {
    "report",
    "train_all",
    "claims",
    "plan",
    "download",
    "verify_sources",
    "evaluate_released",
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
    claimed = {run for run in claim_runs().runs if run.recipe not in RECIPES or run.seed}
    assert jobs["train"] == len(RECIPES) + len(claimed)


def claim_runs(**config: Any) -> ClaimRuns:
    return ClaimRuns(load_config(config | {"recipes": [RECIPE]}, folder=CONFIG), CONFIG)


def test_claims_makes_the_runs_and_samples_that_the_ledger_needs(workflow: Path) -> None:
    result = snakemake(workflow, "claims", "--dry-run", "--quiet", "rules")
    assert result.returncode == 0, result.stdout
    jobs, wanted = jobs_of(result.stdout), claim_runs()
    assert jobs["train"] == len(wanted.runs)
    many = [suite for run in wanted.runs for suite in wanted.measured(run)]
    assert len(many) == jobs["train"] / len(wanted.recipes)
    every = [wanted.steps(run) for run in wanted.runs]
    assert {len(found) for found in every} == {2, len(steps())}
    assert jobs["evaluate"] == sum(map(len, every)) + 2 * len(many)
    assert (jobs["base"], jobs["write_report"]) == (1, 1)


def test_a_claim_gets_the_setups_that_it_is_about() -> None:
    wanted = claim_runs()
    settings = {
        name: resolve_run(recipe, scale="mini", backend="trl", seed=0, vary=vary, folder=CONFIG)
        for name, (recipe, vary) in wanted.variants.items()
    }
    for claim in wanted.ledger:
        runs = wanted.of(claim)
        if not runs:
            assert "mini" not in claim.scales or not claim.recipes or claim.arms.across, claim.id
            continue
        assert len({run.seed for run in runs}) >= claim.needs.seeds
        names = list(dict.fromkeys(run.recipe for run in runs))
        first, *others = (settings[name] for name in names)
        assert len(others) == bool(claim.arms.settings), claim.id
        for key, values in claim.arms.settings.items():
            section, _, name = key.partition(".")
            found = [getattr(getattr(settings[each], section), name) for each in names]
            assert found == list(values), claim.id
        for key, ratio in claim.arms.ratio.items():
            section, _, name = key.partition(".")
            one, other = (getattr(getattr(settings[each], section), name) for each in names)
            assert one == pytest.approx(ratio * other), claim.id
        rewards = {reward.name for reward in first.rewards}
        assert set(claim.needs.rewards) <= rewards, claim.id
        assert not rewards & set(claim.needs.without_rewards), claim.id


def test_more_seeds_of_the_configuration_are_trained_for_claims_too() -> None:
    few, many = claim_runs(), claim_runs(seeds=[0, 1, 2, 3, 7])
    assert {run.seed for run in few.runs} == {0, 1, 2}
    assert {run.seed for run in many.runs} == {0, 1, 2, 3, 7}


def test_backends_are_compared_where_several_are_configured() -> None:
    both = claim_runs(backends=["trl", "split"])
    (claim,) = (item for item in both.ledger if item.arms.across)
    assert {run.backend for run in both.of(claim)} == {"trl", "split"}
    others = [item for item in both.ledger if item is not claim]
    assert {run.backend for item in others for run in both.of(item)} == {"trl"}


def test_the_table_of_claims_names_every_claim(workflow: Path) -> None:
    printed = stage("claims", "--config", workflow / "config")
    lines = printed.splitlines()
    assert [line.split()[0] for line in lines[1:-1]] == [item.id for item in claim_runs().ledger]
    assert lines[-1].startswith("all")
    assert str(len(claim_runs().runs)) in lines[-1]


@pytest.mark.parametrize(
    ("target", "runs"),
    [
        ("verify_sources", 0),
        ("train_all", len(published_recipes(CONFIG))),
        (f"evaluate_{RECIPE}", 1),
        ("train_dapo", 1),
    ],
)
def test_a_target_trains_what_it_says(workflow: Path, target: str, runs: int) -> None:
    result = snakemake(workflow, target, "--dry-run", "--forceall", "--quiet", "rules")
    assert result.returncode == 0, result.stdout
    assert jobs_of(result.stdout)["train"] == runs


def test_without_a_target_the_report_is_made(workflow: Path) -> None:
    jobs = jobs_of(snakemake(workflow, "--dry-run", "--quiet", "rules").stdout)
    assert (jobs["write_report"], jobs["train"], jobs["evaluate"]) == (1, 1, len(steps()))
    # The mini scale downloads no model.
    assert (jobs["base"], jobs["model"]) == (1, 0)


def test_a_plan_trains_nothing(workflow: Path) -> None:
    jobs = jobs_of(snakemake(workflow, "plan", "--dry-run", "--quiet", "rules").stdout)
    assert jobs["layout"] == 1
    assert not jobs.keys() & {"train", "evaluate", "write_report"}


def test_each_seed_is_a_run_and_all_share_a_base(workflow: Path) -> None:
    result = snakemake(workflow, "--dry-run", "--quiet", "rules", config={"seeds": [0, 1, 2]})
    jobs = jobs_of(result.stdout)
    assert (jobs["train"], jobs["evaluate"], jobs["base"]) == (3, 3 * len(steps()), 1)


def test_each_base_has_runs_of_every_seed_and_a_published_model_is_one(workflow: Path) -> None:
    config = {"seeds": [0, 1], "base_seeds": [0, 3]}
    shown = snakemake(workflow, "--dry-run", "--printshellcmds", config=config).stdout
    jobs = jobs_of(shown)
    assert (jobs["base"], jobs["train"], jobs["evaluate"]) == (2, 4, 4 * len(steps())), shown
    assert "--add-seed 3" in shown
    assert "--seed 1 --base-seed 3" in shown
    assert f"results/mini/{RECIPE}/trl/seed1_base3/model.json" in shown
    assert f"resources/bases/mini/{BASE}.seed3/manifest.json" in shown
    paper = config | {"scale": "paper", "hardware": {"gpus": 1, "gpu": "h100-80g"}}
    assert jobs_of(snakemake(workflow, "--dry-run", config=paper).stdout)["train"] == 2


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


def test_a_path_with_a_space_is_one_argument(workflow: Path) -> None:
    (workflow / "my rows.jsonl").write_text('{"nums": [44, 19, 35], "target": 98}\n')
    suites = {"mine": {"task": "countdown", "path": "my rows.jsonl"}}
    shown = snakemake(workflow, "--dry-run", "--printshellcmds", config={"suites": suites}).stdout
    assert """--own '{"mine": {""" in shown
    assert '"test": "my rows.jsonl"' in shown


def test_download_fetches_all_that_the_runs_need_and_no_more(workflow: Path) -> None:
    paper = {"scale": "paper", "hardware": {"gpus": 1}}
    suites = {"suites": {"published": {"task": "countdown", "dataset": "countdown_3to4"}}}
    for config, wanted in ((suites, (2, 0)), (paper, (1, 1))):
        dry_run = ("download", "--dry-run", "--quiet", "rules")
        result = snakemake(workflow, *dry_run, config=config)
        jobs = jobs_of(result.stdout)
        assert (jobs["dataset"], jobs["model"]) == wanted, result.stdout
        assert not jobs.keys() & {"rows", "base", "resolve", "train"}


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


def test_a_suite_may_have_any_name(workflow: Path) -> None:
    names = ("items", "get", "keys", "dataset_manifest")
    suites = {name: {"task": "countdown", "dataset": "countdown_3to4"} for name in names}
    shown = snakemake(workflow, "--dry-run", "--printshellcmds", config={"suites": suites}).stdout
    for name in names:
        assert f"--held-out {name}=resources/datasets/countdown_3to4/manifest.json" in shown, shown


def test_reading_the_workflow_imports_neither_torch_nor_code_of_the_user(
    workflow: Path, tmp_path: Path
) -> None:
    for name in (*HEAVY, "my_rewards"):
        package = tmp_path / "stubs" / name
        package.mkdir(parents=True)
        (package / "__init__.py").write_text(f"raise SystemExit('{name} was imported')\n")
    with edited(workflow / "config" / "recipes" / f"{RECIPE}.yaml") as recipe:
        recipe["rewards"].append({"name": "my_rewards.brevity"})
    result = snakemake(workflow, "--dry-run", PYTHONPATH=str(tmp_path / "stubs"))
    assert result.returncode == 0, result.stdout
    assert jobs_of(result.stdout)["train"] == 1


def test_described_hardware_is_planned_for_on_a_machine_without_it(workflow: Path) -> None:
    config = {"scale": "paper", "hardware": {"gpus": 1, "gpu": "a100-80g"}}
    result = snakemake(workflow, "--dry-run", config=config)
    assert result.returncode == 0, result.stdout
    jobs = jobs_of(result.stdout)
    assert (jobs["model"], jobs["base"], jobs["train"]) == (1, 0, 1)
    assert "gpu=1" in result.stdout


def test_a_machine_that_cannot_train_fetches_nothing(workflow: Path) -> None:
    config = {"scale": "paper", "hardware": {"gpus": 1, "gpu": "a100-80g"}}
    result = snakemake(workflow, "report", config=config, CUDA_VISIBLE_DEVICES="")
    assert result.returncode != 0
    assert "\nerror: hardware.gpus: " in result.stdout
    assert not list(workflow.glob("resources/*/*/manifest.json"))
    assert "rule dataset" not in result.stdout
    # What needs no training is made all the same, such as on a login node.
    assert jobs_of(snakemake(workflow, "plan", "--dry-run", config=config).stdout)["layout"] == 1


@pytest.mark.parametrize(
    "config",
    [
        {"recipes": ["r2_zero"]},
        {"scale": "paper", "hardware": {"gpus": 7}},
    ],
    ids=str,
)
def test_an_error_is_one_line_without_a_traceback(workflow: Path, config: dict[str, Any]) -> None:
    result = snakemake(workflow, "--dry-run", config=config)
    assert result.returncode != 0
    assert "Traceback" not in result.stdout
    assert "common.smk" not in result.stdout
    assert [line.split(":")[0] for line in result.stdout.splitlines()].count("error") == 1


def test_a_dataset_that_nobody_describes_is_named(workflow: Path) -> None:
    path = workflow / "config" / "sources.yaml"
    path.write_text(path.read_text().replace("  countdown_3:", "  countdown_5:"))
    result = snakemake(workflow, "--dry-run")
    error = next(line for line in result.stdout.splitlines() if line.startswith("error: "))
    assert error.startswith("error: datasets: ")
    assert "'countdown_3'" in error
