"""The rows of a dataset's splits: files checked, read, normalised, cut to the range wanted."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from r1zero.core.errors import UserError
from r1zero.core.files import verify_file
from r1zero.data.files import read_file
from r1zero.data.formats import FORMATS


def read_split(dataset: Mapping[str, Any], split: str, manifest: Path) -> pl.DataFrame:
    """Rows of one split: `problem_id`, prompt fields, `answer`, `source`, `split`.

    `source` says where a row is from as `NAME:SPLIT:INDEX`; the index counts the rows of the
    split's files from 0, in their order, with those outside the range.

    Args:
        dataset: The dataset's manifest.
        split: `train` or `test`.
        manifest: The manifest's path.

    Raises:
        UserError: The file, and what is wrong with it.

    """
    listed = {entry["path"]: entry for entry in dataset["files"]}
    wanted = dataset["splits"][split]
    frames = [
        _normalised(verify_file(listed[path], manifest.parent), dataset["format"])
        for path in wanted["files"]
    ]
    rows = pl.concat(frames).with_columns(
        pl.format(f"{dataset['name']}:{split}:{{}}", pl.int_range(pl.len())).alias("source"),
        pl.lit(split).alias("split"),
    )
    start, stop = wanted["rows"] or (0, rows.height)
    if stop > rows.height:
        raise UserError(
            f"rows {start} to {stop} are wanted, the files have {rows.height}",
            where=f"{manifest}, {split}",
        )
    return rows[start:stop]


def _normalised(path: Path, format_name: str) -> pl.DataFrame:
    try:
        return FORMATS[format_name].normalise(read_file(path), str(path))
    except pl.exceptions.PolarsError as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"cannot be read: {reason}", where=str(path)) from None
