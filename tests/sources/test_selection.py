"""Which files of a listing are taken, which are refused, and when some are missing."""

from collections.abc import Iterable
from typing import Any

import pytest

from r1zero.core.errors import UserError
from r1zero.core.validation import validate
from r1zero.settings.sources import HubDataset, HubModel
from r1zero.sources.hubs import RemoteFile
from r1zero.sources.selection import matches, select

HOSTED = {
    "kind": "hub",
    "huggingface": {"repo": "owner/name"},
    "licence": "none",
    "gigabytes": 1,
}
MODEL = ("config.json", "model.safetensors")


def dataset(**splits: list[str]) -> HubDataset:
    values = {name: {"files": files} for name, files in splits.items()}
    return validate({**HOSTED, "task": "math", "splits": values}, HubDataset, "mine")


def model(**keys: Any) -> HubModel:
    return validate({**HOSTED, **keys}, HubModel, "mine")


def chosen(paths: Iterable[str], source: HubDataset | HubModel, hint: str = "") -> set[str]:
    return set(select({path: RemoteFile(1) for path in paths}, source, "here", hint))


def refusal(paths: Iterable[str], source: HubDataset | HubModel, hint: str = "") -> UserError:
    with pytest.raises(UserError) as raised:
        chosen(paths, source, hint)
    assert raised.value.where == "here"
    return raised.value


@pytest.mark.parametrize(
    ("path", "pattern", "fits"),
    [
        ("data/train-0.parquet", "data/train-*.parquet", True),
        ("data/train-0.parquet", "*", False),
        ("data/train-0.parquet", "*/*", True),
        ("train-0.parquet", "data/train-*.parquet", False),
        ("a.b.json", "*.json", True),
        ("ajson", "*.json", False),
        ("train[1].json", "train[1].json", True),
        ("train1.json", "train[1].json", False),
        ("train1.json", "train?.json", False),
        ("train?.json", "train?.json", True),
        ("train[1]-0.json", "train[1]-*.json", True),
        ("train1-0.json", "train[1]-*.json", False),
        ("a.json\n", "*.json", False),
        (".hidden.json", "*.json", False),
        (".hidden.json", "*", False),
        (".git/a.json", "*/a.json", False),
    ],
)
def test_a_star_is_any_text_in_a_visible_name_and_all_else_is_literal(
    path: str, pattern: str, fits: bool
) -> None:
    assert matches(path, pattern) is fits


def test_hidden_files_are_left_where_they_are() -> None:
    assert chosen([*MODEL, ".index.json", ".gitattributes"], model()) == set(MODEL)


def test_a_manifest_of_the_repository_does_not_take_the_place_of_ours() -> None:
    assert chosen([*MODEL, "manifest.json"], model()) == set(MODEL)
    files = ["data/manifest.json", "test.json"]
    assert chosen([*files, "manifest.json"], dataset(test=["*.json", "data/*"])) == set(files)
    assert "*" in refusal(["manifest.json"], dataset(test=["*"])).message


def test_each_split_has_a_file() -> None:
    source = dataset(train=["data/train-*"], test=["test*", "data/test*"])
    train = "data/train-0.parquet"
    for test in ("test.jsonl", "data/test-0.parquet"):  # alternatives
        assert chosen([train, test], source) == {train, test}
    refused = refusal([train], source)
    assert "test* or data/test*" in refused.message
    assert "train" not in refused.message
    assert train in refused.hint
    assert "data/train-*, test* or data/test*" in refusal([], source).message


def test_a_file_without_a_star_has_to_be_there() -> None:
    source = dataset(test=["a.jsonl", "b*"])
    for refused in (refusal(["b.jsonl"], source), refusal(["b.jsonl"], dataset(test=["a.jsonl"]))):
        assert "a.jsonl" in refused.message
        assert "b" not in refused.message
        assert "b.jsonl" in refused.hint


def test_every_part_of_the_weights_has_to_be_there() -> None:
    parts = [f"model-{number:05}-of-00003.safetensors" for number in (1, 2, 3)]
    assert chosen(["config.json", *parts], model()) == {"config.json", *parts}
    for part in parts:
        there = [other for other in parts if other != part]
        assert part in refusal(["config.json", *there], model()).message
    refused = refusal(["a-00001-of-99999.safetensors"], model())
    assert "a-00002-of-99999.safetensors, " in refused.message
    assert "99990" in refused.message


def test_code_that_may_be_taken_is_no_weights() -> None:
    assert "safetensors" in refusal(["config.json", "own.py"], model(allow=["own.py"])).message


@pytest.mark.parametrize(
    "path", ["a\nb.json", "a\x1b[31m.json", "a\ud800.json", "a\u202e.json", "é" * 128 + ".json"]
)
def test_a_name_that_no_file_should_have_is_refused(path: str) -> None:
    refused = refusal([*MODEL, path], model())
    assert repr(path) in refused.message
    assert str(refused).isprintable()


def test_what_would_help_besides_is_said_too() -> None:
    advice = "delete the entry"
    for paths in (["config.json"], [*MODEL, "a\n.json"], ["model.bin"]):
        source = model(files=["*.json", "*.bin"]) if "model.bin" in paths else model()
        assert refusal(paths, source, advice).hint.endswith(advice)


def test_of_what_is_locked_only_what_is_wanted_now_is_taken() -> None:
    locked = ["train.jsonl", "test.jsonl"]
    assert chosen(locked, dataset(test=["test.jsonl"])) == {"test.jsonl"}
