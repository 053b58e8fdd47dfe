"""What names a run, and what makes it another one."""

import json
from typing import Any

import pytest
from pydantic import BaseModel

from r1zero.settings import RunSettings, resolve_run
from tiny import CONFIG

RECIPE = "datawhale_r1"


def resolved(**changes: Any) -> RunSettings:
    options = {"scale": "mini", "backend": "trl", "seed": 0, **changes}
    return resolve_run(RECIPE, **options, folder=CONFIG)


def another(value: Any) -> Any:
    """Some other value in place of one."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return value + "x"
    if isinstance(value, dict):
        return value | {"x": 1}
    if isinstance(value, list):
        return [*value, "x"]
    if isinstance(value, BaseModel):
        return changed(value, next(iter(type(value).model_fields)))
    return 7 if value is None else value + 1


def changed(model: BaseModel, field: str) -> BaseModel:
    return model.model_copy(update={field: another(getattr(model, field))})


def variants_of(run: RunSettings) -> dict[str, RunSettings]:
    """Copies of a run, each with one value changed, by the key that was changed."""
    found: dict[str, RunSettings] = {}
    for field in RunSettings.model_fields:
        value = getattr(run, field)
        if isinstance(value, BaseModel):
            for inner in type(value).model_fields:
                found[f"{field}.{inner}"] = run.model_copy(update={field: changed(value, inner)})
        elif isinstance(value, list):
            first, *rest = value
            for inner in type(first).model_fields:
                terms = [changed(first, inner), *rest]
                found[f"{field}.0.{inner}"] = run.model_copy(update={field: terms})
        else:
            found[field] = run.model_copy(update={field: another(value)})
    return found


# Values that no Literal admits are as good as any to tell hashes apart.
@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
def test_every_change_but_of_the_evaluation_makes_another_run() -> None:
    run = resolved()
    variants = variants_of(run)
    assert {"algorithm.beta", "sizes.learning_rate", "rewards.0.weight", "seed"} < set(variants)
    for key, variant in variants.items():
        same = variant.training_hash() == run.training_hash()
        # A wish for a placement decides no weights, nor does what another backend honours or a
        # label, nor how the evaluation is computed; the base model has a hash of its own.
        others = (
            *("placement", "reference", "backends", "home_backend"),
            *("evaluation.", "computation.p", "computation.e"),
        )
        assert same == key.startswith(others), key


def test_rewards_in_another_order_are_another_run() -> None:
    run = resolved()
    turned = run.model_copy(update={"rewards": run.rewards[::-1]})
    assert turned.training_hash() != run.training_hash()


def test_the_hash_survives_the_file() -> None:
    run = resolved()
    read = RunSettings.model_validate(json.loads(run.model_dump_json()))
    assert read == run
    assert read.training_hash() == run.training_hash()


def test_runs_that_differ_in_name_have_another_identity() -> None:
    identities = [
        resolved().identity(),
        resolved(seed=1).identity(),
        resolved(scale="paper").identity(),
        resolved(backend="swift").identity(),
    ]
    assert all(identities.count(identity) == 1 for identity in identities)
    assert identities[0] == {
        "recipe": RECIPE,
        "backend": "trl",
        "seed": 0,
        "scale": "mini",
        "task": "countdown",
    }


def test_evaluated_are_step_0_and_every_checkpoint() -> None:
    run = resolved()
    sizes = run.sizes.model_copy(update={"max_steps": 9, "save_steps": 3})
    assert run.model_copy(update={"sizes": sizes}).evaluated_steps == [0, 3, 6, 9]


def test_a_mini_run_starts_from_a_base_made_here() -> None:
    assert resolved().is_mini_base
    assert not resolved(scale="paper").is_mini_base
