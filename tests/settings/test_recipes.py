"""The shipped recipes are the published setups: complete, with sources, and possible to run."""

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from r1zero.core.validation import read_yaml
from r1zero.plan.layout import Layout, Refusal
from r1zero.plan.machine import find_machine
from r1zero.plan.search import lay_out
from r1zero.rewards import functions
from r1zero.settings import RunSettings, load_recipe, load_sources, recipe_names, resolve_run
from r1zero.settings.recipe import Recipe
from r1zero.settings.workflow import Hardware
from tiny import CONFIG

NAMES = recipe_names(CONFIG)
FILES = {name: CONFIG / "recipes" / f"{name}.yaml" for name in NAMES}
SOURCES = load_sources(CONFIG)

# Optimizer steps of recipes whose publishers give epochs: rows to train on, problems per batch of
# rollouts, epochs, and updates per batch.
EPOCHS = {
    "r1zero_math": (7500, 28, 1, 1),
    "trl_gsm8k": (7473, 4, 1, 1),
    "trl_gsm8k_2x4090": (7473, 8, 1, 1),
    "trl_tldr": (116_722, 8, 3, 1),
    "swift_numina": (72_441 - 724, 16, 1, 1),
    "swift_numina_shared": (72_441 - 724, 8, 1, 1),
    "tinyzero": (327_680, 256, 15, 4),
    "oat_zero": (8523, 128, 20, 8),
}


def paper(name: str) -> RunSettings:
    return resolve_run(name, scale="paper", backend="trl", seed=0, folder=CONFIG)


def planned(name: str, gpus: int, gpu: str) -> Layout | Refusal:
    run, hardware = paper(name), Hardware(gpus=gpus, gpu=gpu)
    architecture = getattr(SOURCES.models[run.model], "architecture", None)
    assert architecture is not None, f"{run.model} has no architecture in sources.yaml"
    return lay_out(run, find_machine(hardware), architecture, hardware)


def keys_that_differ(first: Recipe, second: Recipe) -> set[str]:
    """Dotted names of the settings in which two recipes differ."""
    pairs: list[tuple[str, Any, Any]] = [
        (key, value, getattr(second, key)) for key, value in first if key != "description"
    ]
    found = set()
    for key, one, other in pairs:
        if hasattr(one, "model_fields_set") and hasattr(other, "model_fields_set"):
            both = ((f"{key}.{k}", v, getattr(other, k)) for k, v in one)
            found |= {name for name, mine, theirs in both if mine != theirs}
        elif one != other:
            found.add(key)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_is_laid_out_on_a_node_of_eight_or_told_what_works(name: str) -> None:
    layout = planned(name, 8, "a100-80g")
    if isinstance(layout, Refusal):
        assert layout.suggestions, layout.reasons
        return
    run = paper(name)
    assert layout.completions_per_step == run.completions_per_step
    assert layout.deviation == 0


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_names_what_there_is(name: str) -> None:
    recipe = load_recipe(name, CONFIG)
    assert recipe.model in SOURCES.models
    assert {"train", "test"} <= set(SOURCES.datasets[recipe.dataset].split_names)
    for reward in recipe.rewards:
        if reward.model:
            assert reward.model in SOURCES.models
        else:
            longest = recipe.sizes.max_completion_length
            checked = functions.check(reward, max_completion_length=longest)
            assert checked.items() >= reward.options.items()


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_gives_its_sources_and_deviations(name: str) -> None:
    lines = FILES[name].read_text().splitlines()
    header = "\n".join(line for line in lines if line.startswith("#"))
    extends = "extends" in read_yaml(FILES[name])
    assert extends or re.search(r"^# Deviations.*:", header, re.MULTILINE)
    # A section's comment is one for all its keys.
    section = ""
    for before, line in pairwise(lines):
        if re.match(r"\w+:", line):
            section = line
        key = re.match(r"(model|dataset|prompt|placement|dtype|  \w+|  - \{name):? ", line)
        if key and not extends:
            told = "#" in line or "#" in section or before.lstrip().startswith("#")
            assert told, f"{line!r} has no source"


@pytest.mark.parametrize("name", EPOCHS)
def test_steps_are_those_of_the_published_epochs(name: str) -> None:
    rows, problems, epochs, updates = EPOCHS[name]
    recipe = load_recipe(name, CONFIG)
    assert recipe.algorithm.updates_per_rollout == updates
    assert recipe.sizes.prompts_per_step * updates == problems
    # The last rows of an epoch that fill no batch are left out of it.
    assert recipe.sizes.max_steps == rows // problems * epochs * updates


@pytest.mark.parametrize(
    ("name", "gpus", "steps"), [("trl_gsm8k", 1, 1868), ("trl_gsm8k_2x4090", 2, 934)]
)
def test_the_gsm8k_demo_has_the_steps_of_its_notes(name: str, gpus: int, steps: int) -> None:
    recipe = load_recipe(name, CONFIG)
    # 4 completions per device, accumulated 4 times, in groups of 4; one epoch of 7,473 rows.
    assert recipe.sizes.prompts_per_step == 4 * 4 * gpus // 4
    assert recipe.sizes.max_steps == 7473 // recipe.sizes.prompts_per_step == steps
    layout = planned(name, gpus, "4090")
    assert isinstance(layout, Layout)
    assert layout.completions_per_step == 4 * 4 * gpus
    assert (layout.trainer_gpus, layout.deviation) == (gpus, 0)


def test_gsm8k_has_the_rows_that_its_steps_are_computed_from(shared_data: Path) -> None:
    with (shared_data / "gsm8k" / "train.jsonl").open() as rows:
        assert sum(1 for _ in rows) == EPOCHS["trl_gsm8k"][0]


@pytest.mark.parametrize(
    ("variant", "of", "keys"),
    [
        ("simple_grpo_3b", "simple_grpo", {"model", "published_scores"}),
        ("swift_numina_rm", "swift_numina", {"rewards"}),
        ("countdown_random", "datawhale_r1", {"rewards", "published_time"}),
        (
            "swift_numina_shared",
            "swift_numina",
            {
                *("placement", "backends", "algorithm.num_generations"),
                *("sizes.max_steps", "sizes.prompts_per_step"),
            },
        ),
    ],
)
def test_a_variant_differs_in_what_it_says(variant: str, of: str, keys: set[str]) -> None:
    first, second = load_recipe(variant, CONFIG), load_recipe(of, CONFIG)
    assert keys_that_differ(first, second) == keys
    assert first.description != second.description


def test_seven_plus_one_and_one_shared_card_are_laid_out_as_published() -> None:
    multi = planned("swift_numina", 8, "a100-80g")
    assert isinstance(multi, Layout)
    assert (multi.placement, multi.trainer_gpus, multi.generator_gpus) == ("server", 7, 1)
    assert multi.completions_per_step == 2 * 8 * 7
    shared = planned("swift_numina_shared", 1, "a100-80g")
    assert isinstance(shared, Layout)
    assert (shared.placement, shared.trainer_gpus, shared.generator_gpus) == ("colocate", 1, 0)
    assert shared.completions_per_step == 2 * 8


def test_r1zero_math_trains_on_all_cards_but_one() -> None:
    for gpus in (2, 3, 5, 8):
        layout = planned("r1zero_math", gpus, "a100-80g")
        assert isinstance(layout, Layout)
        assert (layout.trainer_gpus, layout.generator_gpus) == (gpus - 1, 1)
