"""Recipes that extend others, and the variants that an ablation runs."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from r1zero.core.errors import UserError
from r1zero.settings import load_config, load_recipe, resolve_run, selected_variants
from tiny import CONFIG

RECIPE = "datawhale_r1"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A copy of the configuration, to write recipes into."""
    return Path(shutil.copytree(CONFIG, tmp_path / "config"))


def write(config: Path, name: str, **content: Any) -> Path:
    path = config / "recipes" / f"{name}.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_a_recipe_states_what_differs_from_the_one_it_extends(config: Path) -> None:
    write(config, "strong", extends=RECIPE, description="More KL", algorithm={"beta": 0.04})
    write(
        config,
        "stronger",
        extends="strong",
        description="Only the format",
        rewards=[{"name": "format", "weight": 2.0}],
    )
    published, strong, stronger = (
        load_recipe(name, config) for name in (RECIPE, "strong", "stronger")
    )
    assert strong.algorithm == published.algorithm.model_copy(update={"beta": 0.04})
    assert stronger.algorithm == strong.algorithm
    assert [reward.name for reward in stronger.rewards] == ["format"]
    # What came of the published run says nothing of a variant.
    assert published.published_time
    assert strong.published_time is None


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ({"extends": "nope", "description": "x"}, "nope"),
        ({"extends": "mine", "description": "x"}, "mine > mine"),
        ({"extends": RECIPE}, "description"),
        ({"extends": RECIPE, "description": "x", "beta": 1}, "'beta'"),
    ],
)
def test_an_error_of_an_extending_recipe_names_its_file(
    config: Path, content: dict[str, Any], named: str
) -> None:
    path = write(config, "mine", **content)
    with pytest.raises(UserError) as raised:
        load_recipe("mine", config)
    assert str(raised.value).startswith(f"{path}: ")
    assert named in str(raised.value)


def variants(*ablations: dict[str, Any]) -> dict[str, Any]:
    return selected_variants(load_config({"ablations": list(ablations)}, folder=CONFIG), CONFIG)


def test_an_ablation_is_one_variant_for_each_value() -> None:
    found = variants({"recipe": RECIPE, "vary": {"algorithm.num_generations": [4, 8, 16]}})
    assert list(found) == [f"{RECIPE}-num_generations_4", RECIPE, f"{RECIPE}-num_generations_16"]


def test_settings_that_vary_together_are_paired() -> None:
    vary = {"algorithm.beta": [0.04, 0.001], "sizes.learning_rate": ["1e-6", 5e-7]}
    found = variants({"recipe": RECIPE, "vary": vary})
    assert list(found) == [f"{RECIPE}-beta_0.04.learning_rate_1e-6", RECIPE]


def test_the_place_of_the_reference_model_varies() -> None:
    found = variants({"recipe": RECIPE, "vary": {"reference": ["trainer", "server"]}})
    assert list(found) == [RECIPE, f"{RECIPE}-reference_server"]
    options: dict[str, Any] = {"scale": "mini", "backend": "split", "seed": 0, "folder": CONFIG}
    run = resolve_run(RECIPE, **options, vary={"reference": "server"})
    assert run.reference == "server"
    # It decides no weights.
    trained = run.model_copy(update={"recipe": RECIPE})
    assert trained.training_hash() == resolve_run(RECIPE, **options).training_hash()
    with pytest.raises(UserError):
        resolve_run(RECIPE, **options, vary={"reference": "nowhere"})


def test_only_what_is_varied_differs() -> None:
    options: dict[str, Any] = {"scale": "paper", "backend": "trl", "seed": 1, "folder": CONFIG}
    run = resolve_run(RECIPE, **options)
    variant = resolve_run(RECIPE, **options, vary={"algorithm.loss_type": "dr_grpo"})
    assert variant.recipe == f"{RECIPE}-loss_type_dr_grpo"
    algorithm = run.algorithm.model_copy(update={"loss_type": "dr_grpo"})
    assert variant == run.model_copy(update={"recipe": variant.recipe, "algorithm": algorithm})


def test_a_varied_learning_rate_keeps_its_ratio_at_a_scale_with_a_rate_of_its_own() -> None:
    options: dict[str, Any] = {"scale": "mini", "backend": "trl", "seed": 0, "folder": CONFIG}
    published = load_recipe(RECIPE, CONFIG).sizes.learning_rate
    run = resolve_run(RECIPE, **options)
    variant = resolve_run(RECIPE, **options, vary={"sizes.learning_rate": 3 * published})
    assert variant.sizes.learning_rate == pytest.approx(3 * run.sizes.learning_rate)


@pytest.mark.parametrize(
    ("vary", "where", "named"),
    [
        ({"algorithm.betta": [1]}, "ablations: ", "'algorithm.betta'"),
        ({"rewards": [1]}, "ablations: ", "'rewards'"),
        ({"sizes.max_steps": [4]}, "ablations: ", "sizes.max_steps"),
        ({"algorithm.beta": [-1]}, f"recipe {RECIPE} at scale mini: ", "algorithm.beta: "),
        ({"sizes.learning_rate": ["fast"]}, "ablations: ", "sizes.learning_rate: 'fast'"),
        (
            {"algorithm.beta": [1, 2], "algorithm.epsilon": [1]},
            "config: ablations.0: ",
            "algorithm.beta 2, algorithm.epsilon 1",
        ),
        ({"algorithm.beta": []}, "config: ablations.0: ", "`vary`"),
    ],
)
def test_a_setting_that_cannot_be_varied_is_named(
    vary: dict[str, Any], where: str, named: str
) -> None:
    with pytest.raises(UserError) as raised:
        variants({"recipe": RECIPE, "vary": vary})
    assert str(raised.value).startswith(where)
    assert named in str(raised.value)
