"""From YAML to settings: what loads, and the one line that says why something does not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from r1zero.core.errors import UserError
from r1zero.core.validation import read_yaml
from r1zero.settings import (
    load_config,
    load_recipe,
    load_scale,
    load_sources,
    recipe_names,
    resolve_run,
    table_of,
)
from r1zero.settings.endpoints import LocalEndpoint
from r1zero.tasks.registry import TASKS
from tiny import CONFIG

SCALES = [*(path.stem for path in sorted((CONFIG / "scales").glob("*.yaml"))), "paper"]
RECIPE = "datawhale_r1"
RECIPES = recipe_names(CONFIG)
Values = dict[str, Any]
LOCAL = {"kind": "local", "task": "countdown", "test": "a.jsonl"}
FILES = {"files": ["a.jsonl"]}
HOSTED = {
    "kind": "hub",
    "huggingface": {"repo": "owner/name"},
    "task": "countdown",
    "licence": "none",
    "gigabytes": 1,
    "splits": {"test": FILES},
}


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_loads(name: str) -> None:
    recipe = load_recipe(name, CONFIG)
    assert "\n" not in recipe.description
    assert recipe.dataset in load_sources(CONFIG).datasets


@pytest.mark.parametrize("name", SCALES)
def test_every_scale_loads(name: str) -> None:
    scale = load_scale(name, CONFIG)
    for task in scale.tasks.values():
        assert task.model is None or task.model in scale.bases
        assert task.dataset is None or task.dataset in load_sources(CONFIG).datasets


def test_the_shipped_config_loads() -> None:
    config = load_config(read_yaml(CONFIG / "config.yaml"), folder=CONFIG)
    assert config.scale == "mini"


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("scale", SCALES)
def test_a_scale_changes_sizes_only(recipe: str, scale: str) -> None:
    published = load_recipe(recipe, CONFIG)
    run = resolve_run(recipe, scale=scale, backend="trl", seed=0, folder=CONFIG)
    for key in ("task", "prompt", "dtype", "rewards", "algorithm"):
        assert getattr(run, key) == getattr(published, key), key
    for key in ("temperature", "top_p"):
        assert getattr(run.evaluation, key) == getattr(published.evaluation, key), key


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_paper_scale_changes_nothing(recipe: str) -> None:
    published = load_recipe(recipe, CONFIG)
    run = resolve_run(recipe, scale="paper", backend="trl", seed=0, folder=CONFIG)
    for key in ("model", "dataset", "sizes", "evaluation"):
        assert getattr(run, key) == getattr(published, key), key
    assert not run.is_mini_base


def changed_recipe(folder: Path, change: Callable[[Values], object]) -> Path:
    """Write the first recipe, changed, into a configuration of its own."""
    path = folder / "recipes" / f"{RECIPE}.yaml"
    path.parent.mkdir()
    values = read_yaml(CONFIG / "recipes" / f"{RECIPE}.yaml")
    change(values)
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v.update(tempo=1), "unknown key 'tempo' (known: description, source, task,"),
        (
            lambda v: v["sizes"].update(lerning_rate=1),
            "unknown key 'sizes.lerning_rate' (known: max_steps, prompts_per_step,",
        ),
        (
            lambda v: v["algorithm"].update(beta="small"),
            "algorithm.beta: Input should be a valid number, unable to parse string as a number "
            "(got 'small')",
        ),
        (
            lambda v: v["algorithm"].update(num_generations=1),
            "algorithm.num_generations: Input should be greater than or equal to 2 (got 1)",
        ),
        (
            lambda v: v["algorithm"].update(loss_type="ppo"),
            "algorithm.loss_type: Input should be 'grpo', 'dr_grpo', 'dapo' or 'bnpo' (got 'ppo')",
        ),
        (lambda v: v.pop("task"), "task: Field required"),
        (
            lambda v: v["rewards"].append({"name": "its length"}),
            "rewards.2.name: String should match pattern "
            r"'^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$' (got 'its length')",
        ),
        (
            lambda v: v["sizes"].update(max_steps=450, save_steps=40),
            "sizes: save_steps 40 does not divide max_steps 450, so the last step would not be "
            "saved; 30 does",
        ),
        (
            lambda v: v["sizes"].update(max_steps=7, save_steps=8),
            "sizes: save_steps 8 does not divide max_steps 7, so the last step would not be "
            "saved; 7 does",
        ),
        (
            lambda v: (v.update(tempo=1), v["sizes"].update(max_steps=0)),
            "sizes.max_steps: Input should be greater than or equal to 1 (got 0; and 1 more)",
        ),
    ],
)
def test_a_bad_recipe_is_one_line_with_file_and_key(
    tmp_path: Path, change: Callable[[Values], object], message: str
) -> None:
    path = changed_recipe(tmp_path, change)
    with pytest.raises(UserError) as raised:
        load_recipe(RECIPE, tmp_path)
    assert str(raised.value).startswith(f"{path}: {message}")
    assert "\n" not in str(raised.value)


def test_a_number_that_yaml_reads_as_text_is_the_number(tmp_path: Path) -> None:
    path = changed_recipe(tmp_path, lambda values: values["sizes"].update(learning_rate="@"))
    path.write_text(path.read_text().replace("'@'", "1e-6"))
    assert read_yaml(path)["sizes"]["learning_rate"] == "1e-6"
    assert load_recipe(RECIPE, tmp_path).sizes.learning_rate == 1e-6


def test_a_scale_that_does_not_divide_is_named_with_its_recipe(tmp_path: Path) -> None:
    changed_recipe(tmp_path, lambda values: values["sizes"].update(max_steps=450, save_steps=50))
    scale = tmp_path / "scales" / "odd.yaml"
    scale.parent.mkdir()
    scale.write_text("description: x\ntasks: {countdown: {sizes: {max_steps: 75}}}\n")
    with pytest.raises(UserError) as raised:
        resolve_run(RECIPE, scale="odd", backend="trl", seed=0, folder=tmp_path)
    assert str(raised.value) == (
        f"recipe {RECIPE} at scale odd: sizes: save_steps 50 does not divide max_steps 75, "
        "so the last step would not be saved; 25 does"
    )


@pytest.mark.parametrize(
    ("width", "heads", "message"),
    [
        (192, 5, "num_attention_heads 5 does not divide half of hidden_size 192; 4 does"),
        (18, 2, "num_attention_heads 2 does not divide half of hidden_size 18; 1 does"),
        (17, 1, "num_attention_heads 1 does not divide half of hidden_size 17"),
    ],
)
def test_heads_that_do_not_fit_a_base_are_refused(
    tmp_path: Path, width: int, heads: int, message: str
) -> None:
    values = read_yaml(CONFIG / "scales" / "mini.yaml")
    for base in values["bases"].values():
        base |= {"hidden_size": width, "num_attention_heads": heads}
    path = tmp_path / "scales" / "odd.yaml"
    path.parent.mkdir()
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(UserError) as raised:
        load_scale("odd", tmp_path)
    assert str(raised.value).startswith(f"{path}: bases.mini_countdown: {message}")


def test_a_base_needs_rows_of_its_task(tmp_path: Path) -> None:
    values = read_yaml(CONFIG / "scales" / "mini.yaml")
    del values["tasks"]["math"]["dataset"]
    path = tmp_path / "scales" / "odd.yaml"
    path.parent.mkdir()
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(UserError) as raised:
        load_scale("odd", tmp_path)
    assert raised.value.where == str(path)
    assert "bases.mini_math" in raised.value.message
    assert "tasks.math" in raised.value.message


@pytest.mark.parametrize(
    ("task", "numbers", "key"),
    [
        ("countdown", None, "mine.generated.countdown.numbers"),
        ("tldr", [3], "mine.generated.tldr.numbers"),
        ("riddles", None, "mine.generated"),
    ],
)
def test_rows_that_cannot_be_drawn_are_refused(
    task: str, numbers: list[int] | None, key: str
) -> None:
    drawn: Values = {"kind": "generated", "task": task, "train": 10, "test": 10}
    if numbers:
        drawn["numbers"] = numbers
    with pytest.raises(UserError) as raised:
        load_config({"datasets": {"mine": drawn}}, folder=CONFIG)
    assert f"datasets.{key}" in raised.value.message
    assert task != "riddles" or all(name in raised.value.message for name in TASKS)


def test_a_scale_cannot_name_an_algorithm(tmp_path: Path) -> None:
    path = tmp_path / "scales" / "other.yaml"
    path.parent.mkdir()
    path.write_text("description: x\ntasks: {countdown: {algorithm: {beta: 0}}}\n")
    with pytest.raises(UserError) as raised:
        load_scale("other", tmp_path)
    assert str(raised.value).startswith(f"{path}: unknown key 'tasks.countdown.algorithm'")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"recipe": ["x"]}, "config: unknown key 'recipe' (known: scale, recipes, ablations,"),
        ({"hardware": {"gpu": 1}}, "config: hardware.gpu: Input should be a valid string (got 1)"),
        ({"hardware": {"gpus": -1}}, "config: hardware.gpus.constrained-int: Input should be"),
        ({"scale": "maxi"}, "config: scale: Input should be 'mini' or 'paper' (got 'maxi')"),
        ({"seeds": [0, -1]}, "config: seeds.1: Input should be greater than or equal to 0"),
        ({"seeds": 3}, "config: seeds: Input should be a valid list (got 3)"),
        ({"backends": ["verl"]}, "config: backends.0: Input should be 'trl' (got 'verl')"),
        ({"recipes": []}, "config: recipes: List should have at least 1 item"),
        (
            {"recipes": [*RECIPES, "r2_zero"]},
            f"recipes: unknown recipe 'r2_zero' (there are: {', '.join(RECIPES)})",
        ),
        ({"datasets": {"mine": {"kind": "csv"}}}, "config: datasets.mine: Input tag 'csv' found"),
        (
            {"datasets": {"mine": {"kind": "local", "task": "math"}}},
            "config: datasets.mine.local: ",
        ),
        (
            {"datasets": {"mine": {"kind": "hub", "task": "math", "licence": "MIT"}}},
            "config: datasets.mine.hub.gigabytes: Field required (and 1 more)",
        ),
        (
            {"endpoints": [{"local": "/data", "timeout": 3}]},
            "config: unknown key 'endpoints.0.local.timeout'",
        ),
        (
            {"endpoints": [{"huggingface": "https://me:secret1234@hub.example"}]},
            "config: endpoints.0.huggingface.huggingface: ",
        ),
        (
            {"suites": {"mine": {"task": "math", "path": "a.jsonl", "n_samples": 0}}},
            "config: suites.mine.n_samples: Input should be greater than or equal to 1",
        ),
        ({"suites": {"Mine": {}}}, "config: suites.Mine.[key]: String should match pattern"),
        (
            {"suites": {"mine": {"task": "math", "path": "a.jsonl", "numbers": [3]}}},
            "config: suites.mine: `numbers` ",
        ),
        (
            {"datasets": {"mine": {**LOCAL, "task": "math", "numbers": [3]}}},
            "config: datasets.mine.local: `numbers` ",
        ),
        (
            {"datasets": {"mine": {**HOSTED, "task": "tldr", "numbers": [3]}}},
            "config: datasets.mine.hub: `numbers` ",
        ),
        *(
            (
                {"datasets": {"mine": {**HOSTED, "splits": {"test": {**FILES, "rows": rows}}}}},
                "config: datasets.mine.hub.splits.test.rows: ",
            )
            for rows in ([5, 5], [5, 3], [-1, 3])
        ),
        *(
            (
                {"endpoints": [{"modelscope": "https://hub.example", "timeout": seconds}]},
                "config: endpoints.0.modelscope.timeout: Input should be ",
            )
            for seconds in (0, 3601, float("inf"), float("nan"))
        ),
        (
            {"endpoints": [{"local": "~nobody-of-this-name/hub"}]},
            "config: endpoints.0.local.local: ",
        ),
        (None, "config: (top level): Input should be a valid dictionary"),
    ],
)
def test_a_bad_config_is_one_line_that_names_the_key(values: Any, message: str) -> None:
    with pytest.raises(UserError) as raised:
        load_config(values, folder=CONFIG)
    assert str(raised.value).startswith(message)
    assert "\n" not in str(raised.value)


def test_rows_of_numbers_are_chosen_in_every_kind_of_countdown(monkeypatch: Any) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    rows = {"test": {**FILES, "rows": [0, 1]}}
    values = {
        "datasets": {
            "hosted": {**HOSTED, "numbers": [3], "splits": rows},
            "own": {**LOCAL, "numbers": [3]},
        },
        "suites": {"mine": {"task": "countdown", "path": "a.jsonl", "numbers": [3]}},
        "endpoints": [{"local": "~/hub"}, {"huggingface": "auto", "timeout": 3600}],
    }
    config = load_config(values, folder=CONFIG)
    assert isinstance(config.endpoints[0], LocalEndpoint)
    assert config.endpoints[0].local == Path("/home/me/hub")


@pytest.mark.parametrize(
    ("task", "dataset", "fits"),
    [
        ("countdown", "countdown_3to4", True),
        ("countdown", "gsm8k", False),
        ("math", "gsm8k", True),
        ("gsm8k", "math500", True),
        ("math", "tldr", False),
    ],
)
def test_a_suite_has_rows_that_the_prompts_of_its_task_can_show(
    task: str, dataset: str, fits: bool
) -> None:
    suites = {"mine": {"task": task, "dataset": dataset}}
    config = load_config({"suites": suites}, folder=CONFIG)
    if fits:
        assert table_of(config, CONFIG).datasets.keys() == load_sources(CONFIG).datasets.keys()
        return
    with pytest.raises(UserError) as raised:
        table_of(config, CONFIG)
    assert raised.value.where == "suites.mine"
    assert dataset in raised.value.message


def test_a_suite_is_not_called_as_another_dataset() -> None:
    suites = {"gsm8k": {"task": "math", "dataset": "math500"}}
    with pytest.raises(UserError) as raised:
        table_of(load_config({"suites": suites}, folder=CONFIG), CONFIG)
    assert str(raised.value) == "suites.gsm8k: is the name of a dataset (take another name)"
    own = {"gsm8k": {"task": "math", "dataset": "gsm8k", "n_samples": 8}}
    table_of(load_config({"suites": own}, folder=CONFIG), CONFIG)


def test_unknown_names_list_those_there_are() -> None:
    with pytest.raises(UserError) as recipe:
        load_recipe("nope", CONFIG)
    assert str(recipe.value) == (
        f"recipes: unknown recipe 'nope' (there are: {', '.join(RECIPES)})"
    )
    with pytest.raises(UserError) as scale:
        load_scale("nope", CONFIG)
    assert str(scale.value) == f"scale: unknown scale 'nope' (there are: {', '.join(SCALES)})"


def test_missing_and_broken_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"sources\.yaml: no such file"):
        load_sources(tmp_path)
    (tmp_path / "sources.yaml").write_text("datasets: [\n  x: }\n")
    with pytest.raises(UserError, match=r"sources\.yaml: not valid YAML: .*line 2") as raised:
        load_sources(tmp_path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe", "not text in UTF-8"),
        (b"caf\xe9: 1", "not text in UTF-8"),
        (b"x: 2025-13-01", "not valid YAML: month must be in 1..12"),
        (None, "Is a directory"),
    ],
)
def test_files_that_are_no_text_are_named(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    path = tmp_path / "sources.yaml"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    with pytest.raises(UserError) as raised:
        load_sources(tmp_path)
    assert str(raised.value).startswith(f"{path}: {message}")


def test_an_empty_table_has_no_sources(tmp_path: Path) -> None:
    (tmp_path / "sources.yaml").write_text("# none\n")
    assert not load_sources(tmp_path).datasets
