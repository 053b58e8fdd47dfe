"""What the backend `swift` refuses and renders; needs no ms-swift."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
import yaml
from trl.trainer.utils import RepeatSampler

from r1zero.core.errors import UserError
from r1zero.plan.backend import Inputs, check_backend, load_backend
from r1zero.plan.layout import Layout
from r1zero.plan.machine import find_machine
from r1zero.plan.search import lay_out
from r1zero.settings import RunSettings, recipe_names, resolve_run
from r1zero.settings.workflow import Hardware
from r1zero.train.backends.swift.entrypoint import rows_of, words
from tiny import CONFIG, RECIPE

BACKEND = load_backend("swift")


def resolved(recipe: str = RECIPE, **vary: Any) -> RunSettings:
    changes = {f"algorithm.{key}": value for key, value in vary.items()}
    return resolve_run(recipe, scale="mini", backend="swift", seed=3, vary=changes, folder=CONFIG)


def rendered(run: RunSettings, folder: Path) -> dict[str, Any]:
    hardware = Hardware(gpus=0)
    layout = lay_out(run, find_machine(hardware), None, hardware)
    assert isinstance(layout, Layout)
    models = {reward.model: folder for reward in run.rewards if reward.model}
    inputs = Inputs(folder / "run.json", folder / "m", folder / "p", models, folder, folder / "out")
    return yaml.safe_load(BACKEND.render(run, layout, inputs)["swift.yaml"])


@pytest.mark.parametrize(
    ("key", "vary"),
    [
        ("zero_variance_groups", {"zero_variance_groups": "drop"}),
        ("zero_variance_groups", {"zero_variance_groups": "resample"}),
        ("updates_per_rollout", {"loss_type": "dapo", "updates_per_rollout": 4}),
        (
            "mask_truncated_completions",
            {"loss_type": "dapo", "mask_truncated_completions": True},
        ),
        ("rollout_importance_sampling", {"rollout_importance_sampling": "token"}),
    ],
)
def test_a_setting_that_it_cannot_honour_is_refused_with_a_backend_that_can(
    key: str, vary: dict[str, Any]
) -> None:
    run = resolved(**vary)
    with pytest.raises(UserError) as raised:
        check_backend(run)
    assert raised.value.where == f"recipe {run.recipe}: algorithm.{key}"
    named = raised.value.hint.partition("[")[2].rstrip("]")
    load_backend(named).check(run)


def test_a_label_is_no_setting_of_the_training() -> None:
    run = resolved("swift_numina_rm")
    assert run.home_backend == "swift"
    other = run.model_copy(update={"home_backend": "trl"})
    assert run.training_hash() == other.training_hash()


def accepted() -> list[str]:
    names = []
    for name in recipe_names(CONFIG):
        try:
            BACKEND.check(resolved(name))
        except UserError:
            continue
        names.append(name)
    return names


@pytest.mark.parametrize("name", accepted())
def test_the_batch_is_that_of_the_recipe(name: str, tmp_path: Path) -> None:
    run = resolved(name)
    config = rendered(run, tmp_path)
    processes = run.computation.train.processes
    per_pass = config["per_device_train_batch_size"] * processes
    assert per_pass * config["gradient_accumulation_steps"] == run.completions_per_step
    assert config["steps_per_generation"] == (
        config["gradient_accumulation_steps"] * run.algorithm.updates_per_rollout
    )
    assert config["beta"] == run.algorithm.beta
    assert config["temperature"] == run.algorithm.temperature
    assert config["top_k"] == (run.algorithm.top_k or -1)
    # The parser of ms-swift ends on a null.
    assert "None" not in words(config)


@pytest.mark.parametrize("count", [64, 97, 128])
def test_the_problems_are_in_the_order_of_trl(count: int) -> None:
    run = resolved()
    run = run.model_copy(
        update={"sizes": run.sizes.model_copy(update={"prompts_per_step": 16, "max_steps": 20})}
    )
    problems = pl.DataFrame({"prompt": [str(place) for place in range(count)]})
    rows = [row["messages"][0]["content"] for row in rows_of(problems, run)]
    sampler = RepeatSampler(torch.arange(count), 1, batch_size=16, seed=run.seed)
    order: list[str] = []
    while len(order) < len(rows):
        order += map(str, sampler)
    assert rows == order[: len(rows)]
    assert len(rows) == 16 * 20


def test_too_few_problems_are_an_error() -> None:
    run = resolved()
    problems = pl.DataFrame({"prompt": ["one"]})
    with pytest.raises(UserError) as raised:
        list(rows_of(problems, run))
    assert raised.value.where.endswith("sizes.prompts_per_step")
