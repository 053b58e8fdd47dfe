"""The table of problems every later stage reads: one row a problem, its prompt rendered."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from r1zero.files import atomic_path
from r1zero.tasks.countdown.rows import Row

# Parquet without statistics or clocks in it: equal rows give equal bytes.
_WRITE: dict[str, Any] = {"compression": "zstd", "statistics": False}


def write_problems(path: Path, rows: Sequence[Row], template: str, split: str) -> None:
    """Write Countdown rows as problems: `problem_id, prompt, nums, target, split`."""
    table = pl.DataFrame(
        {
            "problem_id": [row.problem_id for row in rows],
            "prompt": [template.format(numbers=list(row.nums), target=row.target) for row in rows],
            "nums": [list(row.nums) for row in rows],
            "target": [row.target for row in rows],
            "split": [split] * len(rows),
        },
        schema={
            "problem_id": pl.String,
            "prompt": pl.String,
            "nums": pl.List(pl.Int64),
            "target": pl.Int64,
            "split": pl.String,
        },
    )
    with atomic_path(path) as temporary:
        table.write_parquet(temporary, **_WRITE)


def read_problems(path: Path, limit: int | None = None) -> list[dict[str, Any]]:
    """Read problems as dictionaries, the first `limit` of them if given."""
    return pl.read_parquet(path, n_rows=limit).to_dicts()
