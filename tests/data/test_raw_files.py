"""Rows are the same whatever kind of file they come in, and what is wrong in one is named."""

import gzip
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from r1zero.core.errors import UserError
from tiny import stage, write_dataset

COUNTDOWN = [{"nums": [44, 19, 35], "target": 98}, {"nums": [3, 4], "target": 7}]
# A comma, a quote, a line end, and what other programs take for a line end.
WORDS = [
    {"question": 'Is it "3, 4"?\nOr\u2028five?', "answer": "Five.\n#### 5"},
    {"question": "九加九？", "answer": "#### 1,018"},
]
KINDS = ["jsonl", "jsonl.gz", "json", "json.gz", "lines.json", "csv", "csv.gz", "parquet"]


def content(rows: list[dict[str, Any]], kind: str) -> bytes:
    """The bytes of a file with some rows."""
    if kind.endswith(".gz"):
        return gzip.compress(content(rows, kind.removesuffix(".gz")))
    lists = {name for name, value in rows[0].items() if isinstance(value, list)}
    match kind:
        case "json":
            return json.dumps(rows, indent=1).encode()
        case "jsonl" | "lines.json":
            # A blank line at the end, and characters that are not escaped.
            return "".join(f"{json.dumps(r, ensure_ascii=False)}\n" for r in rows).encode() + b"\n"
        case "csv":
            flat = [{k: str(v) if k in lists else v for k, v in row.items()} for row in rows]
            return b"\xef\xbb\xbf" + pl.DataFrame(flat).write_csv().encode()
    raise AssertionError(kind)


def write(path: Path, rows: list[dict[str, Any]], kind: str) -> Path:
    if kind == "parquet":
        pl.DataFrame(rows).write_parquet(path)
    else:
        path.write_bytes(content(rows, kind))
    return path


def normalised(path: Path, task: str) -> pl.DataFrame:
    """The rows that the stage makes of one file."""
    out = path.parent / f"{path.name}-rows"
    dataset = write_dataset(path.parent / f"{path.name}-mine", task, {"test": [path]})
    stage("data", "rows", dataset, "--out", out)
    return pl.read_parquet(out / "test.parquet").drop("source", "split")


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_are_read_from_every_kind_of_file(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path / f"rows.{kind}", COUNTDOWN, kind)
    assert normalised(path, "countdown").rows() == [
        ("19-35-44=98", [44, 19, 35], 98, "98"),
        ("3-4=7", [3, 4], 7, "7"),
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_words_are_read_from_every_kind_of_file(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path / f"rows.{kind}", WORDS, kind)
    rows = normalised(path, "gsm8k")
    assert rows["question"].to_list() == [row["question"] for row in WORDS]
    assert rows["answer"].to_list() == ["5", "1018"]


@pytest.mark.parametrize("dtype", [pl.List(pl.Int32), pl.List(pl.UInt8), pl.Array(pl.Int64, 2)])
def test_numbers_of_any_integer_type_are_read(tmp_path: Path, dtype: pl.DataType) -> None:
    schema = {"nums": dtype, "target": pl.Int16}
    path = tmp_path / "rows.parquet"
    pl.DataFrame({"nums": [[3, 4]], "target": [7]}, schema=schema).write_parquet(path)
    rows = normalised(path, "countdown")
    assert rows["nums"].to_list() == [[3, 4]]
    assert rows.schema["nums"] == pl.List(pl.Int64)


BAD_ROWS = [
    ({"nums": [], "target": 3}, "nums"),
    ({"nums": None, "target": 3}, "nums"),
    ({"nums": "1 2", "target": 3}, "nums"),
    ({"nums": 3, "target": 3}, "nums"),
    ({"nums": [1, 2.0], "target": 3}, "nums"),
    ({"nums": [1, 0], "target": 3}, "nums"),
    ({"nums": [1, -1], "target": 3}, "nums"),
    ({"nums": [1, True], "target": 3}, "nums"),
    ({"nums": [1, None], "target": 3}, "nums"),
    ({"nums": [1, 2**64], "target": 3}, "nums"),
    ({"nums": [1, 2], "target": 3.5}, "target"),
    ({"nums": [1, 2], "target": True}, "target"),
    ({"nums": [1, 2], "target": None}, "target"),
    ({"nums": [1, 2], "target": "three"}, "target"),
    ({"nums": [1, 2], "target": 2**64}, "target"),
    ({"nums": [1, 2]}, "target"),
]


@pytest.mark.parametrize(("row", "column"), BAD_ROWS)
def test_a_malformed_row_is_named(tmp_path: Path, row: dict[str, Any], column: str) -> None:
    path = write(tmp_path / "rows.jsonl", [*COUNTDOWN, row, *COUNTDOWN], "jsonl")
    with pytest.raises(UserError) as raised:
        normalised(path, "countdown")
    copy = tmp_path / "rows.jsonl-mine" / "test" / "rows.jsonl"
    assert raised.value.where == f"{copy}, row 3"
    assert raised.value.message.startswith(column)


@pytest.mark.parametrize(
    ("nums", "target"),
    [
        (pl.Series([[1.0, 2.0]]), pl.Series([3])),
        (pl.Series([[True, True]]), pl.Series([3])),
        (pl.Series([[1, None]]), pl.Series([3])),
        (pl.Series([[1, 2]]), pl.Series([3.0])),
        (pl.Series([[1, 2]]), pl.Series([True])),
        (pl.Series([["1", "2"]]), pl.Series([None])),
    ],
)
def test_typed_columns_that_are_no_integers_are_refused(
    tmp_path: Path, nums: pl.Series, target: pl.Series
) -> None:
    path = tmp_path / "rows.parquet"
    pl.DataFrame({"nums": nums, "target": target}).write_parquet(path)
    with pytest.raises(UserError, match=r"rows\.parquet, row 1: (nums|target)"):
        normalised(path, "countdown")


@pytest.mark.parametrize(
    ("name", "text", "where"),
    [
        ("a.jsonl", '{"nums": [1], "target": 1}\n\n{"nums"', "a.jsonl, line 3"),
        ("a.jsonl", "[1, 2]", "a.jsonl, line 1"),
        ("a.json", '[{"nums": [1], "target": 1}, 3]', "a.json, row 2"),
        ("a.json", '[{"nums": [1], "target": 1}', "a.json"),
        ("a.json", "nonsense", "a.json, line 1"),
        ("a.csv", "nums,target\n1,2,3\n", "a.csv"),
        ("a.csv", "", "a.csv"),
        ("a.parquet", "nonsense and more", "a.parquet"),
        ("a.csv.gz", "nums,target\n", "a.csv.gz"),
        ("a.parquet.gz", "x", "a.parquet.gz"),
        ("a.txt", "x", "a.txt"),
        ("a.jsonl", "", "a.jsonl"),
        ("a.csv", "target\n3\n", "a.csv"),
        ("a.jsonl", '{"nums": ["\\ud800"], "target": 1}', "a.jsonl"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(
    tmp_path: Path, name: str, text: str, where: str
) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(UserError) as raised:
        normalised(path, "countdown")
    assert raised.value.where == str(tmp_path / f"{name}-mine" / "test" / where)
    assert "\n" not in str(raised.value)


def test_text_in_another_encoding_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes("question,answer\nWo wäre das?,#### 3\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"rows\.csv: "):
        normalised(path, "gsm8k")


def test_a_missing_column_is_named_with_those_there_are(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", [{"prompt": "x", "answer": "#### 3"}], "jsonl")
    for task, missing in (
        ("gsm8k", ["question"]),
        ("math", ["problem", "question"]),
        ("tldr", ["completion"]),
        ("countdown", ["nums"]),
    ):
        folder = tmp_path / task
        folder.mkdir()
        with pytest.raises(UserError) as raised:
            normalised(Path(path.rename(folder / path.name)), task)
        assert all(f"'{column}'" in raised.value.message for column in missing)
        assert "prompt, answer" in raised.value.hint
        path = folder / path.name
