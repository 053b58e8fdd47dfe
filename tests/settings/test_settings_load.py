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


def assert_names(error: UserError, key: str, *values: str) -> None:
    """The message names the key, and the whole is one line with the values."""
    assert key in error.message
    assert "\n" not in str(error)
    for value in values:
        assert value in str(error)


def changed_recipe(folder: Path, change: Callable[[Values], object]) -> Path:
    """Write the first recipe, changed, into a configuration of its own."""
    path = folder / "recipes" / f"{RECIPE}.yaml"
    path.parent.mkdir()
    values = read_yaml(CONFIG / "recipes" / f"{RECIPE}.yaml")
    change(values)
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.mark.parametrize(
    ("change", "key", "values"),
    [
        (lambda v: v.update(tempo=1), "tempo", ["description", "source", "task"]),
        (lambda v: v["sizes"].update(lerning_rate=1), "sizes.lerning_rate", ["max_steps"]),
        (lambda v: v["algorithm"].update(beta="small"), "algorithm.beta", ["'small'"]),
        (lambda v: v["algorithm"].update(num_generations=1), "algorithm.num_generations", ["2"]),
        (lambda v: v["algorithm"].update(loss_type="ppo"), "algorithm.loss_type", ["'dr_grpo'"]),
        (
            lambda v: v["algorithm"].update(rollout_importance_sampling="token", top_p=0.9),
            "algorithm",
            ["rollout_importance_sampling", "top_p 0.9", "none"],
        ),
        (lambda v: v.pop("task"), "task", []),
        (lambda v: v["rewards"].append({"name": "its length"}), "rewards.2.name", ["'its length'"]),
        (
            lambda v: v["sizes"].update(max_steps=450, save_steps=40),
            "save_steps 40",
            ["max_steps 450", "30"],
        ),
        (
            lambda v: v["sizes"].update(max_steps=7, save_steps=8),
            "save_steps 8",
            ["max_steps 7", "; 7"],
        ),
        (
            lambda v: (v.update(tempo=1), v["sizes"].update(max_steps=0)),
            "sizes.max_steps",
            ["got 0", "1 more"],
        ),
    ],
)
def test_a_bad_recipe_is_one_line_with_file_and_key(
    tmp_path: Path, change: Callable[[Values], object], key: str, values: list[str]
) -> None:
    path = changed_recipe(tmp_path, change)
    with pytest.raises(UserError) as raised:
        load_recipe(RECIPE, tmp_path)
    assert raised.value.where == str(path)
    assert_names(raised.value, key, *values)


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
    assert raised.value.where == f"recipe {RECIPE} at scale odd"
    assert_names(raised.value, "save_steps 50", "max_steps 75", "25")


def scale_error(folder: Path, values: Values) -> UserError:
    """The error of a scale with this content, which names its file."""
    path = folder / "scales" / "odd.yaml"
    path.parent.mkdir()
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(UserError) as raised:
        load_scale("odd", folder)
    assert raised.value.where == str(path)
    return raised.value


@pytest.mark.parametrize(
    ("width", "heads", "nearest"), [(192, 5, "; 4"), (18, 2, "; 1"), (17, 1, "")]
)
def test_heads_that_do_not_fit_a_base_are_refused(
    tmp_path: Path, width: int, heads: int, nearest: str
) -> None:
    values = read_yaml(CONFIG / "scales" / "mini.yaml")
    for base in values["bases"].values():
        base |= {"hidden_size": width, "num_attention_heads": heads}
    error = scale_error(tmp_path, values)
    values = (f"num_attention_heads {heads}", f"hidden_size {width}", nearest)
    assert_names(error, "bases.mini_countdown", *values)


def test_key_value_heads_that_cannot_be_shared_are_refused(tmp_path: Path) -> None:
    values = read_yaml(CONFIG / "scales" / "mini.yaml")
    values["bases"]["mini_countdown"]["num_key_value_heads"] = 3
    error = scale_error(tmp_path, values)
    assert_names(error, "bases.mini_countdown", "num_key_value_heads 3", "4")


def test_a_base_needs_rows_of_its_task(tmp_path: Path) -> None:
    values = read_yaml(CONFIG / "scales" / "mini.yaml")
    del values["tasks"]["math"]["dataset"]
    error = scale_error(tmp_path, values)
    assert "bases.mini_math" in error.message
    assert "tasks.math" in error.message


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
    assert raised.value.where == str(path)
    assert_names(raised.value, "tasks.countdown.algorithm")


@pytest.mark.parametrize(
    ("values", "key", "value"),
    [
        ({"recipe": ["x"]}, "recipe", "ablations"),
        ({"hardware": {"gpu": 1}}, "hardware.gpu", "got 1"),
        ({"hardware": {"gpus": -1}}, "hardware.gpus", "0"),
        ({"scale": "maxi"}, "scale", "'paper'"),
        ({"seeds": [0, -1]}, "seeds.1", "0"),
        ({"seeds": 3}, "seeds", "got 3"),
        ({"backends": ["verl"]}, "backends.0", "'verl'"),
        ({"recipes": []}, "recipes", "1"),
        ({"datasets": {"mine": {"kind": "csv"}}}, "datasets.mine", "'csv'"),
        (
            {"datasets": {"mine": {"kind": "local", "task": "math"}}},
            "datasets.mine.local",
            "`train`",
        ),
        (
            {"datasets": {"mine": {"kind": "hub", "task": "math", "licence": "MIT"}}},
            "datasets.mine.hub.gigabytes",
            "1 more",
        ),
        ({"endpoints": [{"local": "/data", "timeout": 3}]}, "endpoints.0.local.timeout", ""),
        (
            {"endpoints": [{"huggingface": "https://me:secret1234@hub.example"}]},
            "endpoints.0.huggingface.huggingface",
            "credentials",
        ),
        (
            {"suites": {"mine": {"task": "math", "path": "a.jsonl", "n_samples": 0}}},
            "suites.mine.n_samples",
            "1",
        ),
        ({"suites": {"Mine": {}}}, "suites.Mine.[key]", ""),
        (
            {"suites": {"mine": {"task": "math", "path": "a.jsonl", "numbers": [3]}}},
            "suites.mine",
            "`numbers`",
        ),
        (
            {"datasets": {"mine": {**LOCAL, "task": "math", "numbers": [3]}}},
            "datasets.mine.local",
            "`numbers`",
        ),
        (
            {"datasets": {"mine": {**HOSTED, "task": "tldr", "numbers": [3]}}},
            "datasets.mine.hub",
            "`numbers`",
        ),
        *(
            (
                {"datasets": {"mine": {**HOSTED, "splits": {"test": {**FILES, "rows": rows}}}}},
                "datasets.mine.hub.splits.test.rows",
                "0",
            )
            for rows in ([5, 5], [5, 3], [-1, 3])
        ),
        *(
            (
                {"endpoints": [{"modelscope": "https://hub.example", "timeout": seconds}]},
                "endpoints.0.modelscope.timeout",
                "",
            )
            for seconds in (0, 3601, float("inf"), float("nan"))
        ),
        ({"endpoints": [{"local": "~nobody-of-this-name/hub"}]}, "endpoints.0.local.local", ""),
        (None, "(top level)", "dictionary"),
    ],
)
def test_a_bad_config_is_one_line_that_names_the_key(values: Any, key: str, value: str) -> None:
    with pytest.raises(UserError) as raised:
        load_config(values, folder=CONFIG)
    assert raised.value.where == "config"
    assert_names(raised.value, key, value)
    assert "secret1234" not in str(raised.value)


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
    assert_names(raised.value, dataset, task)


def test_a_suite_is_not_called_as_another_dataset() -> None:
    suites = {"gsm8k": {"task": "math", "dataset": "math500"}}
    with pytest.raises(UserError) as raised:
        table_of(load_config({"suites": suites}, folder=CONFIG), CONFIG)
    assert raised.value.where == "suites.gsm8k"
    own = {"gsm8k": {"task": "math", "dataset": "gsm8k", "n_samples": 8}}
    table_of(load_config({"suites": own}, folder=CONFIG), CONFIG)


def test_unknown_names_list_those_there_are() -> None:
    with pytest.raises(UserError) as recipe:
        load_config({"recipes": [*RECIPES, "nope"]}, folder=CONFIG)
    assert recipe.value.where == "recipes"
    assert_names(recipe.value, "nope", ", ".join(RECIPES))
    with pytest.raises(UserError) as scale:
        load_scale("nope", CONFIG)
    assert scale.value.where == "scale"
    assert_names(scale.value, "nope", *SCALES)


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (None, ""),
        (b"datasets: [\n  x: }\n", "line 2"),
        (b"\xff\xfe", "UTF-8"),
        (b"caf\xe9: 1", "UTF-8"),
        (b"x: 2025-13-01", "YAML"),
        ("a folder", ""),
    ],
)
def test_files_that_cannot_be_read_are_named(
    tmp_path: Path, content: bytes | str | None, value: str
) -> None:
    path = tmp_path / "sources.yaml"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content:
        path.mkdir()
    with pytest.raises(UserError) as raised:
        load_sources(tmp_path)
    assert raised.value.where == str(path)
    assert_names(raised.value, value)


def test_an_empty_table_has_no_sources(tmp_path: Path) -> None:
    (tmp_path / "sources.yaml").write_text("# none\n")
    assert not load_sources(tmp_path).datasets
