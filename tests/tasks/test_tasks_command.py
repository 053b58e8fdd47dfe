"""`r1zero tasks`: problems with prompts, what is held out kept out, and an audit of it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from r1zero.errors import UserError
from r1zero.tasks.countdown.rows import read
from r1zero.tasks.prompts import load_prompt
from tiny import CONFIG, stage

PROMPT = "countdown_datawhale"
TRAIN = ([44, 19, 35, 98], [19, 44, 35, 98], [1, 2, 3, 6], [5, 6, 7, 18], [10, 20, 30, 60])
TEST = ([3, 2, 1, 6], [8, 9, 1, 18], [9, 8, 1, 18])


def write_rows(path: Path, rows: Sequence[Sequence[int]]) -> Path:
    """Rows of the form `[*nums, target]` as JSON lines."""
    lines = [{"nums": list(row[:-1]), "target": row[-1]} for row in rows]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def make_dataset(folder: Path, train: Path, test: Path) -> Path:
    """Put local files under a manifest and return it."""
    own = {"mine": {"kind": "local", "train": str(train), "test": str(test)}}
    table = CONFIG / "sources.yaml"
    stage("sources", "dataset", "mine", "--table", table, "--own", json.dumps(own), "--out", folder)
    return folder / "manifest.json"


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    train, test = (
        write_rows(tmp_path / f"{name}.jsonl", rows) for name, rows in (("a", TRAIN), ("b", TEST))
    )
    return make_dataset(tmp_path / "dataset", train, test)


def make_task(dataset: Path, out: Path, *held_out: Path) -> dict[str, Any]:
    options = [part for path in held_out for part in ("--held-out", path)]
    stage("tasks", "dataset", dataset, "--prompt", PROMPT, *options, "--out", out)
    audit: dict[str, Any] = json.loads((out / "audit.json").read_text())
    return audit


def problems(out: Path, split: str) -> pl.DataFrame:
    return pl.read_parquet(out / "problems" / f"{split}.parquet")


def test_test_rows_are_not_trained_on_in_any_order(dataset: Path, tmp_path: Path) -> None:
    audit = make_task(dataset, tmp_path / "task")
    train, test = problems(tmp_path / "task", "train"), problems(tmp_path / "task", "test")
    assert train["problem_id"].to_list() == ["19-35-44=98", "5-6-7=18", "10-20-30=60"]
    assert test["problem_id"].to_list() == ["1-2-3=6", "1-8-9=18"]
    assert audit == {
        "rows_in": {"train": 5, "test": 3},
        "rows_out": {"train": 3, "test": 2},
        "duplicates": {"train": 1, "test": 1},
        "removed_from_train": {"test": 1},
    }


def test_rows_of_suites_are_not_trained_on_and_are_counted(dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    first = write_rows(tmp_path / "suite.jsonl", [[35, 44, 19, 98], [2, 2, 2, 6]])
    # Another folder, the same name: neither may hide the other.
    second = write_rows(tmp_path / "other" / "suite.jsonl", [[30, 20, 10, 60]])
    audit = make_task(dataset, tmp_path / "task", first, second)
    assert problems(tmp_path / "task", "train")["problem_id"].to_list() == ["5-6-7=18"]
    assert audit["rows_out"] == {"train": 1, "test": 2}
    assert audit["removed_from_train"] == {"test": 1, str(first): 1, str(second): 1}
    # For a base model that is made here: it should not meet them either.
    held_out = {row.key for row in read(tmp_path / "task" / "held_out.jsonl")}
    suites = {row.key for path in (first, second) for row in read(path)}
    assert held_out == suites | {((1, 2, 3), 6), ((1, 8, 9), 18)}


def test_a_problem_has_its_prompt_and_what_its_rewards_need(dataset: Path, tmp_path: Path) -> None:
    make_task(dataset, tmp_path / "task")
    first = problems(tmp_path / "task", "train").row(0, named=True)
    assert first == {
        "problem_id": "19-35-44=98",
        "prompt": load_prompt(PROMPT).format(numbers=[44, 19, 35], target=98),
        "nums": [44, 19, 35],  # in the row's own order
        "target": 98,
        "split": "train",
    }
    assert "[44, 19, 35]" in first["prompt"]
    assert first["prompt"].endswith("<think>")


def test_two_runs_give_the_same_bytes(dataset: Path, tmp_path: Path) -> None:
    for name in ("first", "second"):
        make_task(dataset, tmp_path / name)
    for path in (tmp_path / "first").rglob("*.*"):
        other = tmp_path / "second" / path.relative_to(tmp_path / "first")
        assert path.read_bytes() == other.read_bytes(), path.name


def test_the_manifest_names_what_later_stages_need(dataset: Path, tmp_path: Path) -> None:
    make_task(dataset, tmp_path / "task")
    manifest = json.loads((tmp_path / "task" / "manifest.json").read_text())
    files = manifest.pop("files")
    assert manifest == {
        "kind": "task",
        "task": "countdown",
        "dataset": "mine",
        "prompt": PROMPT,
        "numbers": [3],
        "rows": {"train": 3, "test": 2},
    }
    assert files["train"]["path"] == "problems/train.parquet"


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_dataset_file_that_was_changed_is_named(
    dataset: Path, tmp_path: Path, split: str
) -> None:
    path = dataset.parent / f"{split}.jsonl"
    path.write_text(path.read_text().replace("6", "7", 1))
    with pytest.raises(UserError) as raised:
        make_task(dataset, tmp_path / "task")
    assert raised.value.where == str(path)
    assert raised.value.message.startswith("sha256 is ")
    assert not (tmp_path / "task").exists()


def test_a_dataset_file_that_is_gone_is_named(dataset: Path, tmp_path: Path) -> None:
    (dataset.parent / "test.jsonl").unlink()
    with pytest.raises(UserError, match=r"test\.jsonl: listed in the manifest but missing"):
        make_task(dataset, tmp_path / "task")


def test_nothing_left_to_train_on_is_an_error(dataset: Path, tmp_path: Path) -> None:
    everything = write_rows(tmp_path / "all.jsonl", TRAIN)
    with pytest.raises(UserError, match="no training row is left: all are held out"):
        make_task(dataset, tmp_path / "task", everything)


def test_an_unknown_prompt_lists_those_there_are(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"unknown prompt 'nope' \(there are: .*{PROMPT}"):
        stage("tasks", "dataset", dataset, "--prompt", "nope", "--out", tmp_path / "task")


def test_a_suite_is_made_of_distinct_rows_with_the_wanted_numbers(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", [[1, 2, 3, 6], [1, 2, 3, 4, 10], [3, 2, 1, 6]])
    for numbers, expected in (([], ["1-2-3=6", "1-2-3-4=10"]), (["--numbers", 4], ["1-2-3-4=10"])):
        out = tmp_path / "suite.parquet"
        stage("tasks", "suite", rows, "--prompt", PROMPT, *numbers, "--out", out)
        table = pl.read_parquet(out)
        assert table["problem_id"].to_list() == expected
        assert set(table["split"]) == {"test"}


def test_audit_of_the_published_rows(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "countdown"
    dataset = make_dataset(
        tmp_path / "dataset",
        folder / "countdown_tasks_3to4_train_first10240.jsonl",
        folder / "countdown_tasks_3to4_test1024.jsonl",
    )
    audit = make_task(dataset, tmp_path / "task")
    assert audit == {
        "rows_in": {"train": 10_240, "test": 1_024},
        "rows_out": {"train": 10_240 - 22 - 5, "test": 1_024},
        "duplicates": {"train": 22, "test": 0},
        "removed_from_train": {"test": 5},
    }
    train, test = problems(tmp_path / "task", "train"), problems(tmp_path / "task", "test")
    assert not set(train["problem_id"]) & set(test["problem_id"])
