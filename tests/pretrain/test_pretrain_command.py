"""`r1zero pretrain`: a base model in a folder, the same one every time."""

import json
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from r1zero.core.errors import UserError
from r1zero.core.files import cost_file
from r1zero.pretrain import base as base_module
from r1zero.settings import load_scale, load_sources
from r1zero.tasks.answers.extraction import extract
from r1zero.tasks.generators import Generated
from r1zero.tasks.prompts import load_prompt
from tiny import (
    BASE,
    CONFIG,
    contents,
    edited,
    make_base,
    rows_of,
    stage,
    write_dataset,
    write_rows,
)


def test_the_manifest_vouches_for_a_model_and_its_tokenizer(
    tiny_base: Path, tiny_config: Path
) -> None:
    manifest = json.loads(tiny_base.read_text())
    listed = {entry["path"]: entry["bytes"] for entry in manifest["files"]}
    found = {path.name: path.stat().st_size for path in tiny_base.parent.iterdir()}
    found.pop("manifest.json")
    assert listed == found
    assert {"model.safetensors", "config.json", "tokenizer.json"} < set(listed)
    assert (manifest["kind"], manifest["name"]) == ("model", BASE)
    cost = json.loads(cost_file(tiny_base.parent).read_text())
    assert cost["seconds"] > 0
    assert cost["cores"] == load_scale("mini", tiny_config).computation.pretrain.cores
    settings = load_scale("mini", tiny_config).bases[BASE]
    assert manifest["settings"] == settings.model_dump(mode="json")


def test_the_model_loads_with_its_tokenizer(tiny_base: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_base.parent)
    tokenizer = AutoTokenizer.from_pretrained(tiny_base.parent)
    assert model.config.model_type == "qwen3"
    assert model.config.hidden_size == 16
    assert model.config.vocab_size == len(tokenizer)
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id
    assert model.num_parameters() == json.loads(tiny_base.read_text())["parameters"]


def test_a_seed_gives_the_same_bytes_and_another_seed_other_weights(
    tiny_base: Path, tiny_config: Path, tiny_task: Path, tmp_path: Path
) -> None:
    again = make_base(tmp_path / "again", tiny_config, tiny_task)
    assert contents(again.parent) == contents(tiny_base.parent)

    config = tmp_path / "config"
    shutil.copytree(tiny_config, config)
    with edited(config / "scales" / "mini.yaml") as scale:
        scale["bases"][BASE]["seed"] = 1
    other = contents(make_base(tmp_path / "other", config, tiny_task).parent)
    assert other["model.safetensors"] != contents(again.parent)["model.safetensors"]
    assert other["tokenizer.json"] == contents(again.parent)["tokenizer.json"]


BASES = list(load_scale("mini", CONFIG).bases)


# Rows as pre-training draws its problems; numbers of Countdown in another order.


def drawn(base: str, count: int, seed: int) -> list[dict[str, Any]]:
    scale = load_scale("mini", CONFIG)
    dataset = scale.tasks[scale.bases[base].traces.task].dataset
    source = load_sources(CONFIG).datasets[dataset or ""]
    assert isinstance(source, Generated)
    rows = [row._asdict() for row in source.draw(count, seed=seed)]
    return [row | ({"nums": row["nums"][::-1]} if "nums" in row else {}) for row in rows]


class Met(NamedTuple):
    """One text that a base was trained on."""

    prompt: str
    completion: str
    template: str
    problem: tuple[Any, ...]


def met_by(
    name: str, test: list[dict[str, Any]], config: Path, folder: Path, patch: pytest.MonkeyPatch
) -> list[Met]:
    """Make a base with these rows held out, and return what it met first."""
    base = load_scale("mini", config).bases[name]
    splits = {
        split: [write_rows(folder / f"{split}.jsonl", rows)]
        for split, rows in (("train", drawn(name, 10, 1)), ("test", test))
    }
    dataset = write_dataset(folder / "dataset", base.traces.task, splits)
    stage("data", "rows", dataset, "--out", folder / "rows")
    pairs: list[tuple[str, str]] = []

    def spy(texts: Iterator[tuple[str, str]], *args: Any, **options: Any) -> Iterator[Any]:
        pairs.extend(islice(texts, 2_000))
        return batches(texts, *args, **options)

    batches = base_module.batches
    patch.setattr(base_module, "batches", spy)
    inputs = ("--scale", "mini", "--config", config, "--rows", folder / "rows" / "manifest.json")
    stage("pretrain", name, *inputs, "--out", folder / "base")
    assert len(pairs) == 2_000
    return [Met(*pair, *parts(pair[0], base.prompts)) for pair in pairs]


def parts(prompt: str, templates: list[str]) -> tuple[str, tuple[Any, ...]]:
    """The template of a prompt, and the problem in it."""
    for template in templates:
        # Braces that are meant are written twice.
        text = load_prompt(template).text.replace("{{", "\0").replace("}}", "\1")
        constant = map(re.escape, re.split(r"\{\w+\}", text))
        pattern = "(.+)".join(constant).replace("\0", r"\{").replace("\1", r"\}")
        if found := re.fullmatch(pattern, prompt, re.DOTALL):
            return template, problem_of(*found.groups())
    raise AssertionError(prompt)


def problem_of(*fields: Any) -> tuple[Any, ...]:
    """Identity of a problem, whatever the order of the numbers of Countdown."""
    first, *rest = map(str, fields)
    numbers = re.fullmatch(r"[\[(]([\d, ]+)[\])]", first)
    return (*sorted(map(int, numbers[1].split(", "))), *rest) if numbers else (first, *rest)


def problems_of(rows: list[dict[str, Any]]) -> set[tuple[Any, ...]]:
    """The same, of rows of any format: the columns of the prompt come first."""
    return {problem_of(*list(row.values())[: 2 if "nums" in row else 1]) for row in rows}


@pytest.mark.parametrize("name", BASES)
def test_a_base_meets_no_held_out_problem(
    name: str, tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The very problems that pre-training would draw.
    rows = drawn(name, 20_000, 7_000_000)
    held_out, others = problems_of(rows[:10_000]), problems_of(rows[10_000:])
    met = met_by(name, rows[:10_000], tiny_config, tmp_path, monkeypatch)
    assert {text.problem for text in met} & others
    assert not {text.problem for text in met} & held_out


@pytest.mark.parametrize("name", BASES)
def test_a_base_meets_each_of_its_prompts_in_its_format_and_in_bounds(
    name: str, tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scale = load_scale("mini", CONFIG)
    base = scale.bases[name]
    sizes = scale.tasks[base.traces.task].sizes
    met = met_by(name, drawn(name, 10, 2), tiny_config, tmp_path, monkeypatch)
    counts = Counter(text.template for text in met)
    assert min(counts[prompt] for prompt in base.prompts) > 0.8 * len(met) / len(base.prompts)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "base")
    for text in met:
        assert extract(text.completion, load_prompt(text.template)).format == 1
        lengths = [len(ids) for ids in tokenizer([text.prompt, text.completion])["input_ids"]]
        assert lengths[0] <= (sizes.max_prompt_length or 0)
        # The token that ends it comes on top.
        assert lengths[1] < (sizes.max_completion_length or 0)


def made(folder: Path) -> list[str]:
    """What is in a folder but for lock files, which others may hold open."""
    return [path.name for path in folder.iterdir() if path.suffix != ".lock"]


def test_a_failure_leaves_nothing(
    tiny_config: Path, tiny_task: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base_module, "pretrain", lambda *args, **options: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        make_base(tmp_path / "base", tiny_config, tiny_task)
    assert not made(tmp_path)


def test_a_failure_leaves_the_base_that_was_there(
    tiny_config: Path, tiny_task: Path, tiny_base: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    shutil.copytree(tiny_base.parent, tmp_path / "base")
    monkeypatch.setattr(base_module, "pretrain", lambda *args, **options: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        make_base(tmp_path / "base", tiny_config, tiny_task)
    assert contents(tmp_path / "base") == contents(tiny_base.parent)
    assert made(tmp_path) == ["base"]


def test_held_out_problems_that_were_changed_are_named(
    tiny_config: Path, tiny_task: Path, tmp_path: Path
) -> None:
    for path in (tiny_task.parent, rows_of(tiny_task).parent):
        shutil.copytree(path, tmp_path / path.name)
    held_out = tmp_path / "rows" / "held_out.parquet"
    held_out.write_bytes(held_out.read_bytes() + b"\n")
    with pytest.raises(UserError) as raised:
        make_base(tmp_path / "base", tiny_config, tmp_path / "task" / "manifest.json")
    assert raised.value.where == str(held_out)
    assert not (tmp_path / "base").exists()


def test_rows_of_another_task_are_named(tiny_config: Path, tmp_path: Path) -> None:
    row = {"question": "How many?", "answer": "#### 3"}
    files = {"train": [write_rows(tmp_path / "rows.jsonl", [row])]}
    dataset = write_dataset(tmp_path / "dataset", "gsm8k", files)
    stage("data", "rows", dataset, "--out", tmp_path / "rows")
    inputs = ("--scale", "mini", "--config", tiny_config)
    options = (*inputs, "--rows", tmp_path / "rows" / "manifest.json", "--out", tmp_path / "base")
    with pytest.raises(UserError) as raised:
        stage("pretrain", BASE, *options)
    assert raised.value.where == str(tmp_path / "rows" / "manifest.json")
    assert "gsm8k" in raised.value.message
    assert not (tmp_path / "base").exists()


def test_an_unknown_base_lists_those_there_are(tiny_config: Path, tmp_path: Path) -> None:
    inputs = ("--config", tiny_config, "--rows", "rows.json")
    options = (*inputs, "--out", tmp_path / "base")
    for scale, known in (("mini", BASE), ("paper", "none")):
        with pytest.raises(UserError) as raised:
            stage("pretrain", "nope", "--scale", scale, *options)
        assert raised.value.where == "bases"
        assert known in raised.value.hint


def test_a_prompt_of_another_task_is_named(
    tiny_config: Path, tiny_task: Path, tmp_path: Path
) -> None:
    config = tmp_path / "config"
    shutil.copytree(tiny_config, config)
    with edited(config / "scales" / "mini.yaml") as scale:
        scale["bases"][BASE]["prompts"].append("post_plain")
    with pytest.raises(UserError) as raised:
        make_base(tmp_path / "base", config, tiny_task)
    assert raised.value.where == f"bases.{BASE}.prompts"
    assert "post_plain" in raised.value.message
