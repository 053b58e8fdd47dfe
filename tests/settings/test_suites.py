"""Suites of recipes: which rows they hold out, and which can't be."""

from collections.abc import Sequence

import pytest
from pydantic import ValidationError

from r1zero.core.errors import UserError
from r1zero.settings import (
    Evaluation,
    Sources,
    check_suites,
    load_recipe,
    load_scale,
    load_sources,
    recipe_names,
    resolve_run,
    suites_beside,
)
from r1zero.settings.recipe import ListedSuite
from r1zero.settings.run import RunSettings
from tiny import CONFIG

RECIPES = {name: load_recipe(name, CONFIG) for name in recipe_names(CONFIG)}
MINI, PAPER = load_scale("mini", CONFIG), load_scale("paper", CONFIG)
SETS = {"aime24", "amc23", "minerva", "olympiadbench"}


@pytest.fixture(scope="module")
def table() -> Sources:
    return load_sources(CONFIG)


def named(*names: str) -> list[ListedSuite]:
    return [ListedSuite(name=name) for name in names]


def names_of(suites: Sequence[ListedSuite]) -> list[str]:
    return [suite.name for suite in suites]


def resolved(recipe: str, scale: str = "paper", suites: list[str] | None = None) -> RunSettings:
    run = resolve_run(recipe, scale=scale, backend="trl", seed=0, folder=CONFIG)
    if suites is None:
        return run
    evaluation = run.evaluation.model_copy(update={"suites": named(*suites)})
    return run.model_copy(update={"evaluation": evaluation})


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("scale", ["mini", "paper"])
def test_the_shipped_suites_can_be(recipe: str, scale: str, table: Sources) -> None:
    run = resolved(recipe, scale)
    check_suites(run, table)
    assert run.dataset not in names_of(run.evaluation.suites)
    assert scale == "paper" or run.evaluation.suites == []


def test_recipes_are_measured_as_published() -> None:
    assert set(names_of(RECIPES["oat_zero"].evaluation.suites)) == SETS
    assert set(names_of(RECIPES["simplerl_zoo"].evaluation.suites)) == {"gsm8k", *SETS}
    assert RECIPES["dapo"].evaluation.suites == [ListedSuite(name="aime24", n_samples=32)]


def test_a_suite_is_listed_once() -> None:
    evaluation = RECIPES["dapo"].evaluation.model_dump() | {
        "suites": ["aime24", {"name": "aime24", "n_samples": 8}]
    }
    with pytest.raises(ValidationError) as raised:
        Evaluation.model_validate(evaluation)
    assert "aime24" in str(raised.value)


@pytest.mark.parametrize(
    ("dataset", "wanted"),
    [
        # Two recipes train on it.
        ("math_levels3to5", {"gsm8k", *SETS}),
        ("dapo_math", {"aime24"}),
        ("gsm8k", set()),
        ("countdown_3to4", set()),
    ],
)
def test_suites_are_held_out_of_what_their_recipes_train_on(dataset: str, wanted: set[str]) -> None:
    assert set(suites_beside(dataset, RECIPES, PAPER)) == wanted


@pytest.mark.parametrize("dataset", ["countdown_3", "word_problems", "expressions", "posts"])
def test_rows_of_the_mini_scale_hold_out_no_suite(dataset: str) -> None:
    assert suites_beside(dataset, RECIPES, MINI) == []


def test_a_dataset_does_not_hold_out_itself_as_a_suite() -> None:
    listed = named("dapo_math", "aime24")
    evaluation = RECIPES["dapo"].evaluation.model_copy(update={"suites": listed})
    recipe = RECIPES["dapo"].model_copy(update={"evaluation": evaluation})
    assert suites_beside("dapo_math", {"dapo": recipe}, PAPER) == ["aime24"]


@pytest.mark.parametrize(
    ("recipe", "suite", "fitting"),
    [
        ("dapo", "aime2024", "word_problems"),
        ("dapo", "countdown_3", "word_problems"),
        ("tinyzero", "math500", "countdown_3to4"),
    ],
)
def test_a_suite_that_cannot_be_is_named(
    recipe: str, suite: str, fitting: str, table: Sources
) -> None:
    with pytest.raises(UserError) as raised:
        check_suites(resolved(recipe, suites=[suite]), table)
    assert raised.value.where == f"recipe {recipe}: evaluation.suites"
    assert f"'{suite}'" in raised.value.message
    assert fitting in raised.value.hint
