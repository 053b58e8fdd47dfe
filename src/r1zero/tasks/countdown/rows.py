"""Raw Countdown rows `nums, target` to normalised ones."""

import polars as pl

from r1zero.core.errors import UserError
from r1zero.tasks.rows import first_of

_INTEGERS = r"^\s*\[\s*\d+(\s*,\s*\d+)*\s*\]\s*$"
_INTEGER = r"^-?\d+$"


def normalise(frame: pl.LazyFrame, where: str) -> pl.DataFrame:
    """Check numbers and targets; rows are the same problem if only the order of numbers differs.

    Raises:
        UserError: The first row whose numbers or target are not integers.

    """
    schema = frame.collect_schema()
    nums, target = (schema[first_of(schema, where, name)] for name in ("nums", "target"))
    rows = frame.select(nums=_integer_list(nums), target=_integer(target)).collect()
    numbers = pl.col("nums").list
    for name, wanted, holds in (
        ("nums", "a list of positive integers", (numbers.min() > 0) & ~numbers.contains(None)),
        ("target", "an integer", pl.col("target").is_not_null()),
    ):
        wrong = rows.select(holds.fill_null(False).not_().arg_true()).to_series()
        if len(wrong):
            raise UserError(f"{name} is not {wanted}", where=f"{where}, row {wrong[0] + 1}")
    key = numbers.sort().cast(pl.List(pl.String)).list.join("-")
    return rows.select(
        pl.format("{}={}", key, "target").alias("problem_id"),
        "nums",
        "target",
        answer=pl.col("target").cast(pl.String),
    )


def _integer_list(dtype: pl.DataType) -> pl.Expr:
    """Numbers as lists of integers; null for any other value, and for an item of another kind."""
    column, wanted = pl.col("nums"), pl.List(pl.Int64)
    if isinstance(dtype, pl.List | pl.Array) and dtype.inner.is_integer():
        return column.cast(wanted, strict=False)
    if dtype == pl.String:
        found = column.str.extract_all(r"\d+").cast(wanted, strict=False)
        return pl.when(column.str.contains(_INTEGERS)).then(found)
    return pl.lit(None, wanted)


def _integer(dtype: pl.DataType) -> pl.Expr:
    """Targets as integers; null for any other value."""
    column = pl.col("target")
    if dtype.is_integer():
        return column.cast(pl.Int64, strict=False)
    if dtype == pl.String:
        text = column.str.strip_chars()
        return pl.when(text.str.contains(_INTEGER)).then(text.cast(pl.Int64, strict=False))
    return pl.lit(None, pl.Int64)
