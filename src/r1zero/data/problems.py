"""The table of problems every later stage reads: one row a problem, its prompt rendered."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from string import Formatter
from typing import Any

import polars as pl

from r1zero.core.errors import UserError
from r1zero.data.formats import FORMATS
from r1zero.tasks.prompts import load_prompt


def render(rows: pl.DataFrame, template: str, fields: Mapping[str, str]) -> pl.DataFrame:
    """Rows with their prompts: `problem_id, prompt`, then the other columns.

    Args:
        rows: Rows with `problem_id` and the columns of the fields.
        template: Prompt with fields in braces.
        fields: Fields that it may have, each with its column.

    """
    values = rows.select(pl.col(column).alias(field) for field, column in fields.items())
    prompts = [template.format(**row) for row in values.iter_rows(named=True)]
    prompt = pl.Series("prompt", prompts, dtype=pl.String)
    return rows.select("problem_id", prompt, pl.exclude("problem_id"))


def check_fields(name: str, template: str, fields: Mapping[str, str]) -> None:
    """Refuse a template with fields that rows do not have."""
    for _, field, *_ in Formatter().parse(template):
        if field is not None and field not in fields:
            raise UserError(
                f"the rows have no field {{{field}}}",
                where=f"prompt {name}",
                hint=f"there are: {', '.join(f'{{{known}}}' for known in fields)}; "
                "a brace that is meant is written twice",
            )


def fits(prompt: str, format_name: str) -> bool:
    """Whether a prompt shows the fields of a format, and no others."""
    shown = {field for _, field, *_ in Formatter().parse(load_prompt(prompt).text) if field}
    return shown == set(FORMATS[format_name].fields)


def read_problems(path: Path, most: int | None = None) -> list[dict[str, Any]]:
    """Read problems as dictionaries, in the order of the file.

    Of more than `most` a draw is taken, by hashes of their identities: the same in every run, and
    part of that of a larger `most`. Files are often sorted by subject or difficulty, so that their
    first problems stand for no others.
    """
    rows = pl.read_parquet(path).to_dicts()
    drawn = sorted(range(len(rows)), key=lambda row: _rank(rows[row]["problem_id"]))
    return [rows[row] for row in sorted(drawn[:most])]


def _rank(problem_id: str) -> bytes:
    return hashlib.sha256(problem_id.encode()).digest()
