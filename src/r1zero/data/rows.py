"""Read the rows of a split: check its files, normalise the rows, select the range."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from r1zero.core.errors import UserError
from r1zero.core.files import verify_file
from r1zero.data.files import read_file
from r1zero.tasks.registry import find_task


def read_split(dataset: Mapping[str, Any], split: str, manifest: Path) -> pl.DataFrame:
    """Rows of one split: `problem_id`, columns of the task, `answer`, `source`, `split`.

    `source` is the origin of a row as `NAME:SPLIT:INDEX`; the index counts all rows of the split's
    files from 0, in order, including those outside the range.

    Args:
        dataset: The dataset's manifest.
        split: `train` or `test`.
        manifest: The manifest's path.

    Raises:
        UserError: A file is missing, changed or unreadable, or has too few rows.

    """
    listed = {entry["path"]: entry for entry in dataset["files"]}
    wanted = dataset["splits"][split]
    frames = [
        _normalised(verify_file(listed[path], manifest.parent), dataset["task"])
        for path in wanted["files"]
    ]
    rows = pl.concat(frames).with_columns(
        pl.format(f"{dataset['name']}:{split}:{{}}", pl.int_range(pl.len())).alias("source"),
        pl.lit(split).alias("split"),
    )
    start, stop = wanted["rows"] or (0, rows.height)
    if stop > rows.height:
        raise UserError(
            f"rows {start} to {stop} are selected, but the files have {rows.height}",
            where=f"{manifest}, {split}",
        )
    return rows[start:stop]


def _normalised(path: Path, task: str) -> pl.DataFrame:
    try:
        return find_task(task).normalise(read_file(path), str(path))
    except pl.exceptions.PolarsError as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"cannot be read: {reason}", where=str(path)) from None
