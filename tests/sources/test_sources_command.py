"""`r1zero sources dataset`: rows on disk, with a manifest that vouches for them."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from r1zero.core.errors import UserError
from r1zero.settings import load_sources
from r1zero.settings.sources import HubDataset
from r1zero.sources import command
from r1zero.sources.chain import FetchedFile
from r1zero.sources.download import Fetched
from r1zero.tasks.countdown.generator import Row
from r1zero.tasks.generators import Generated
from tiny import CONFIG, ENVIRONMENT, stage

SMALL = {"kind": "generated", "task": "countdown", "train": 300, "test": 60, "numbers": [3]}
TABLE = CONFIG / "sources.yaml"


def make(out: Path, source: dict[str, Any], name: str = "mine") -> dict[str, Any]:
    own = json.dumps({name: source})
    stage("sources", "dataset", name, "--table", TABLE, "--own", own, "--out", out)
    manifest: dict[str, Any] = json.loads((out / "manifest.json").read_text())
    return manifest


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def read(path: Path) -> list[Row]:
    """Rows of a JSON-lines file."""
    values = map(json.loads, path.read_text().splitlines())
    return [Row(tuple(value["nums"]), value["target"]) for value in values]


def write_rows(path: Path, rows: Sequence[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def local(folder: Path, train: Sequence[Any], test: Sequence[Any], **more: Any) -> dict[str, Any]:
    """A source of one's own, its files written."""
    folder.mkdir(exist_ok=True)
    return {
        "kind": "local",
        "task": "countdown",
        "train": str(write_rows(folder / "my_train.jsonl", train)),
        "test": str(write_rows(folder / "my_test.jsonl", test)),
        **more,
    }


ROW = {"nums": [44, 19, 35], "target": 98}
OTHER = {"nums": [1, 2, 3, 4], "target": 10}


def test_generated_rows_are_as_many_as_asked_for_and_kept_apart(tmp_path: Path) -> None:
    make(tmp_path / "out", {**SMALL, "numbers": [3, 4]})
    train, test = (read(tmp_path / "out" / f"{split}.jsonl") for split in ("train", "test"))
    assert (len(train), len(test)) == (300, 60)
    assert {len(row.nums) for row in train} == {len(row.nums) for row in test} == {3, 4}
    # Up to order: no row twice, none in both.
    assert len({row.key for row in train + test}) == 360


def test_test_rows_do_not_depend_on_how_many_training_rows_there_are(tmp_path: Path) -> None:
    make(tmp_path / "few", {**SMALL, "train": 10})
    make(tmp_path / "many", SMALL)
    few, many = contents(tmp_path / "few"), contents(tmp_path / "many")
    assert few["test.jsonl"] == many["test.jsonl"]
    assert many["train.jsonl"].startswith(few["train.jsonl"])


def test_two_runs_give_the_same_bytes_and_another_seed_gives_others(tmp_path: Path) -> None:
    for name, seed in (("first", 0), ("second", 0), ("other", 7)):
        make(tmp_path / name, {**SMALL, "seed": seed})
    first, second, other = (contents(tmp_path / name) for name in ("first", "second", "other"))
    assert first.keys() == {"manifest.json", "train.jsonl", "test.jsonl"}
    assert first == second
    assert all(first[name] != other[name] for name in first)


def test_the_manifest_has_the_checksums_and_the_splits(tmp_path: Path) -> None:
    manifest = make(tmp_path / "out", SMALL)
    assert (manifest["kind"], manifest["task"]) == ("dataset", "countdown")
    assert manifest["source"] == {**SMALL, "seed": 0}
    assert manifest["splits"] == {
        split: {"files": [f"{split}.jsonl"], "rows": None} for split in ("train", "test")
    }
    for entry in manifest["files"]:
        content = (tmp_path / "out" / entry["path"]).read_bytes()
        assert entry["bytes"] == len(content)
        assert entry["sha256"] == hashlib.sha256(content).hexdigest()


def test_shipped_datasets_are_small_enough_to_draw_at_once() -> None:
    for name, source in load_sources(CONFIG).datasets.items():
        if isinstance(source, Generated):
            assert source.train <= 50_000, name


def test_shipped_hub_datasets_name_both_hubs() -> None:
    for name, source in load_sources(CONFIG).datasets.items():
        if isinstance(source, HubDataset):
            assert source.huggingface, name
            assert source.modelscope, name


def test_own_entries_take_the_place_of_shipped_ones(tmp_path: Path) -> None:
    manifest = make(tmp_path / "out", SMALL, name="countdown_3to4")
    assert manifest["name"] == "countdown_3to4"
    assert len(read(tmp_path / "out" / "train.jsonl")) == 300


def test_an_unknown_dataset_lists_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(UserError) as raised:
        stage("sources", "dataset", "nope", "--table", TABLE, "--out", tmp_path / "out")
    assert raised.value.where == str(TABLE)
    assert "countdown_3to4" in raised.value.hint


def test_a_bad_entry_of_ones_own_names_its_key(tmp_path: Path) -> None:
    with pytest.raises(UserError) as raised:
        make(tmp_path / "out", {**SMALL, "train": 0})
    assert "datasets.mine.generated.countdown.train" in str(raised.value)


@pytest.mark.parametrize("numbers", [[], [0], [1], [3, 5]])
def test_counts_of_numbers_that_cannot_be_drawn_are_refused(
    tmp_path: Path, numbers: list[int]
) -> None:
    with pytest.raises(UserError) as raised:
        make(tmp_path / "out", {**SMALL, "numbers": numbers})
    assert "datasets.mine.generated.countdown.numbers" in str(raised.value)


def test_local_files_are_copied_to_the_byte(tmp_path: Path) -> None:
    source = local(tmp_path / "own", [{**ROW, "solution": "44+19+35"}, OTHER], [OTHER])
    make(tmp_path / "out", source)
    for split in ("train", "test"):
        copy = (tmp_path / "out" / f"{split}.jsonl").read_bytes()
        assert copy == Path(source[split]).read_bytes()


def test_local_files_of_any_kind_keep_their_suffix(tmp_path: Path) -> None:
    tmp_path.joinpath("mine.csv.gz").write_bytes(b"rows")
    source = {"kind": "local", "task": "math", "test": str(tmp_path / "mine.csv.gz")}
    manifest = make(tmp_path / "out", source)
    assert manifest["splits"] == {"test": {"files": ["test.csv.gz"], "rows": None}}
    assert (tmp_path / "out" / "test.csv.gz").read_bytes() == b"rows"


def test_a_local_dataset_has_rows(tmp_path: Path) -> None:
    with pytest.raises(UserError) as raised:
        make(tmp_path / "out", {"kind": "local", "task": "math"})
    assert "datasets.mine.local" in str(raised.value)


def test_a_missing_local_file_is_named(tmp_path: Path) -> None:
    source = local(tmp_path / "own", [ROW], [ROW])
    Path(source["train"]).unlink()
    with pytest.raises(UserError) as raised:
        make(tmp_path / "out", source)
    assert raised.value.where == source["train"]


@pytest.mark.parametrize("content", ["", "# nothing yet\n", "datasets:\nmodels:\n"])
def test_a_table_may_be_empty(tmp_path: Path, content: str) -> None:
    table = tmp_path / "table.yaml"
    table.write_text(content)
    own = ("--own", json.dumps({"mine": {**SMALL, "train": 5, "test": 5}}))
    stage("sources", "dataset", "mine", "--table", table, *own, "--out", tmp_path / "out")
    assert len(read(tmp_path / "out" / "train.jsonl")) == 5


@pytest.mark.parametrize(
    ("options", "where"),
    [
        (("--own", "{mine"), "--own: "),
        (("--own", "3"), "--own: datasets: "),
        (("--endpoints", "nope"), "--endpoints or R1ZERO_ENDPOINTS: "),
        (("--endpoints", "3"), "--endpoints or R1ZERO_ENDPOINTS: endpoints: "),
    ],
)
def test_an_option_with_invalid_json_is_named(
    tmp_path: Path, options: tuple[str, str], where: str
) -> None:
    rest = ("--table", TABLE, "--out", tmp_path / "out", "--lock", tmp_path / "lock.yaml")
    with pytest.raises(UserError) as raised:
        stage("sources", "dataset", "gsm8k", *options, *rest)
    assert str(raised.value).startswith(where)


def test_what_the_system_refuses_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / "out"
    own = json.dumps({"mine": {**SMALL, "train": 5, "test": 5}})
    result = subprocess.run(
        [
            *(sys.executable, "-m", "r1zero", "sources", "dataset", "mine"),
            *("--table", str(TABLE), "--own", own, "--out", str(out)),
        ],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(f"error: {out}: ")
    assert len(result.stderr.splitlines()) == 1


def test_what_was_hashed_when_it_came_is_not_hashed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = write_rows_into(tmp_path / "out", "b.jsonl", "a.jsonl")
    files = {path: FetchedFile(path[0] * 64, "somewhere") for path in ("b.jsonl", "a.jsonl")}
    monkeypatch.setattr(command, "fetch", lambda *_, **__: Fetched(files, "abc"))
    entries = [{"path": f"{x}.jsonl", "bytes": 3, "sha256": x * 64} for x in "ab"]
    place = {"kind": "hub", "huggingface": {"repo": "a/b"}, "licence": "none", "gigabytes": 1}
    # Patterns that overlap list no file twice.
    source = {**place, "task": "math", "splits": {"test": {"files": ["b*", "*.jsonl"]}}}
    manifest = make(out, source)
    assert (manifest["files"], manifest["revision"]) == (entries, "abc")
    assert manifest["splits"]["test"]["files"] == ["b.jsonl", "a.jsonl"]
    own = ("--own", json.dumps({"mine": place}))
    stage("sources", "model", "mine", "--table", TABLE, *own, "--out", out)
    assert json.loads((out / "manifest.json").read_text())["files"] == entries


def write_rows_into(folder: Path, *names: str) -> Path:
    folder.mkdir()
    for name in names:
        write_rows(folder / name, [{}])
    return folder
