"""Read raw rows from files of several formats, and write tables as Parquet."""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from r1zero.core.errors import UserError
from r1zero.core.files import atomic_path, read_json

_TYPES: dict[type, type[pl.DataType]] = {str: pl.String, int: pl.Int64, float: pl.Float64}


def read_manifest(path: Path, kind: str) -> dict[str, Any]:
    """Read a manifest, and check its kind."""
    manifest: dict[str, Any] = read_json(path)
    if manifest.get("kind") != kind:
        raise UserError(
            f"the manifest is of kind '{manifest.get('kind')}', not '{kind}'", where=str(path)
        )
    return manifest


def read_file(path: Path) -> pl.LazyFrame:
    """Rows of a file, with all its columns.

    Columns of a CSV file are text. A column of JSON rows whose values are not all text, integers,
    floats, or lists of one of these, is read as JSON text.

    Raises:
        UserError: The file, or a line of it, cannot be read.

    """
    match Path(path.name.removesuffix(".gz")).suffix:
        case ".parquet" if path.suffix != ".gz":
            return pl.scan_parquet(path, glob=False)
        case ".csv":
            return pl.read_csv(_text(path).encode(), infer_schema=False).lazy()
        case ".json" if (text := _text(path)).lstrip().startswith("["):
            return _frame(_list(text, path), path)
        case ".json" | ".jsonl":
            return _frame(_lines(_text(path), path), path)
    raise UserError(
        "unknown file format",
        where=str(path),
        hint="known formats: .jsonl, .json, .csv, each also .gz, and .parquet",
    )


def write_table(path: Path, table: pl.DataFrame) -> None:
    """Write Parquet without statistics or time stamps, so that equal rows give equal bytes."""
    with atomic_path(path) as temporary:
        table.write_parquet(temporary, compression="zstd", statistics=False)


def _text(path: Path) -> str:
    content = path.read_bytes()
    try:
        if path.suffix == ".gz":
            content = gzip.decompress(content)
        return content.decode("utf-8-sig")  # some programs begin a file with a byte order mark
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise UserError(f"cannot be read: {error}", where=str(path)) from None


def _list(text: str, path: Path) -> list[dict[str, Any]]:
    try:
        rows: list[Any] = json.loads(text)
    except ValueError as error:
        raise UserError(f"not a list of rows: {error}", where=str(path)) from None
    for i, row in enumerate(rows, 1):
        _check_row(row, f"{path}, row {i}")
    return rows


def _lines(text: str, path: Path) -> list[dict[str, Any]]:
    rows = []
    # Not `splitlines`: JSON text may contain other line separators, such as U+2028.
    for i, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                rows.append(json.loads(line))
            except ValueError as error:
                raise UserError(f"not a row: {error}", where=f"{path}, line {i}") from None
            _check_row(rows[-1], f"{path}, line {i}")
    return rows


def _check_row(row: Any, where: str) -> None:
    if not isinstance(row, dict):
        raise UserError("not a row: expected a JSON object with the columns as keys", where=where)


def _frame(rows: Sequence[dict[str, Any]], path: Path) -> pl.LazyFrame:
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {}
    for name in names:
        try:
            columns[name] = _column([row.get(name) for row in rows])
        except UnicodeEncodeError:  # "\ud800" is JSON
            message = f"column '{name}' has an unpaired surrogate, which is not valid text"
            raise UserError(message, where=str(path)) from None
    return pl.LazyFrame(columns)


def _column(values: list[Any]) -> pl.Series:
    kinds = {type(value) for value in values if value is not None}
    items = {type(item) for value in values if isinstance(value, list) for item in value}
    try:
        if kinds == {list} and len(items) == 1 and items <= _TYPES.keys():
            return pl.Series(values, dtype=pl.List(_TYPES[items.pop()]))
        if len(kinds) == 1 and kinds <= _TYPES.keys():
            return pl.Series(values, dtype=_TYPES[kinds.pop()])
    except (OverflowError, TypeError):  # an integer of more than 64 bits
        pass
    return pl.Series([_json(value) for value in values], dtype=pl.String)


def _json(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)
