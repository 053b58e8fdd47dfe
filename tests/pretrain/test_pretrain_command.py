"""`r1zero pretrain`: a base model in a folder, the same one every time."""

import json
import re
import shutil
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from r1zero.errors import UserError
from r1zero.pretrain import base as base_module
from r1zero.settings import load_scale
from r1zero.sources.countdown import Row, generate
from tiny import (
    BASE,
    contents,
    edited,
    make_base,
    make_problems,
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


def test_a_base_does_not_meet_held_out_problems(
    tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The very rows that pre-training would draw, in another order of their numbers.
    drawn = generate(20_000, numbers=[3], seed=7_000_000)
    held_out = [Row(row.nums[::-1], row.target) for row in drawn[:10_000]]
    task = make_task_of(tmp_path, held_out)
    met: list[Row] = []

    def spy(texts: Iterator[tuple[str, str]], *args: Any, **options: Any) -> Iterator[Any]:
        met.extend(problem_of(prompt) for prompt, _ in islice(texts, 2_000))
        return batches(texts, *args, **options)

    batches = base_module.batches
    monkeypatch.setattr(base_module, "batches", spy)
    make_base(tmp_path / "base", tiny_config, task)
    assert len(met) == 2_000
    assert not {row.key for row in met} & {row.key for row in held_out}


def make_task_of(folder: Path, test: list[Row]) -> Path:
    """Manifest of problems with these held out."""
    splits = {
        split: [write_rows(folder / f"{split}.jsonl", (row._asdict() for row in rows))]
        for split, rows in (("train", [Row((1, 2, 3), 6)]), ("test", test))
    }
    return make_problems(write_dataset(folder / "dataset", "countdown", splits), folder)


def problem_of(prompt: str) -> Row:
    numbers, target = re.search(r"\[([\d, ]+)\]\D+(\d+)", prompt).groups()  # type: ignore[union-attr]
    return Row(tuple(map(int, numbers.split(", "))), int(target))


def test_a_failure_leaves_nothing(
    tiny_config: Path, tiny_task: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base_module, "pretrain", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        make_base(tmp_path / "base", tiny_config, tiny_task)
    assert not list(tmp_path.iterdir())


def test_a_failure_leaves_the_base_that_was_there(
    tiny_config: Path, tiny_task: Path, tiny_base: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    shutil.copytree(tiny_base.parent, tmp_path / "base")
    monkeypatch.setattr(base_module, "pretrain", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        make_base(tmp_path / "base", tiny_config, tiny_task)
    assert contents(tmp_path / "base") == contents(tiny_base.parent)
    assert [path.name for path in tmp_path.iterdir()] == ["base"]


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


def test_rows_that_no_base_can_be_made_for_are_named(
    tiny_config: Path, tiny_task: Path, tmp_path: Path
) -> None:
    row = {"question": "How many?", "answer": "#### 3"}
    files = {"train": [write_rows(tmp_path / "rows.jsonl", [row])]}
    dataset = write_dataset(tmp_path / "dataset", "gsm8k", files)
    stage("tasks", "rows", dataset, "--out", tmp_path / "rows")
    inputs = ("--problems", tiny_task, "--rows", tmp_path / "rows" / "manifest.json")
    options = ("--scale", "mini", "--config", tiny_config, "--out", tmp_path / "base")
    with pytest.raises(UserError, match=r"rows/manifest\.json: has no Countdown rows to train on"):
        stage("pretrain", BASE, *inputs, *options)
    assert not (tmp_path / "base").exists()


def test_an_unknown_base_lists_those_there_are(tiny_config: Path, tmp_path: Path) -> None:
    inputs = ("--config", tiny_config, "--problems", "task.json", "--rows", "rows.json")
    options = (*inputs, "--out", tmp_path / "base")
    with pytest.raises(UserError, match=rf"bases: unknown base 'nope' \(there are: {BASE}"):
        stage("pretrain", "nope", "--scale", "mini", *options)
    with pytest.raises(UserError, match=r"unknown base 'nope' \(there are: none\)"):
        stage("pretrain", "nope", "--scale", "paper", *options)
