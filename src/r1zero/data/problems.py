"""Problems: rows with their rendered prompts, as all later stages read them."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from string import Formatter
from typing import Any

import polars as pl

from r1zero.core.errors import UserError
from r1zero.tasks.prompts import load_prompt
from r1zero.tasks.registry import find_task


def render(rows: pl.DataFrame, template: str, fields: Mapping[str, str]) -> pl.DataFrame:
    """Rows with their prompts: `problem_id, prompt`, then the other columns.

    Args:
        rows: Rows with `problem_id` and the columns of the fields.
        template: Prompt with fields in braces.
        fields: Fields of the task, each with its column.

    """
    values = rows.select(pl.col(column).alias(field) for field, column in fields.items())
    prompts = [template.format(**row) for row in values.iter_rows(named=True)]
    prompt = pl.Series("prompt", prompts, dtype=pl.String)
    return rows.select("problem_id", prompt, pl.exclude("problem_id"))


def check_fields(name: str, template: str, fields: Mapping[str, str]) -> None:
    """Raise `UserError` if a template has fields that the rows do not have."""
    for _, field, *_ in Formatter().parse(template):
        if field is not None and field not in fields:
            raise UserError(
                f"the rows have no field {{{field}}}",
                where=f"prompt {name}",
                hint=f"known fields: {', '.join(f'{{{known}}}' for known in fields)}; "
                "write a literal brace twice",
            )


def fits(prompt: str, task: str) -> bool:
    """Whether a prompt shows exactly the fields of a task."""
    shown = {field for _, field, *_ in Formatter().parse(load_prompt(prompt).text) if field}
    return shown == set(find_task(task).fields)


def read_problems(path: Path, most: int | None = None) -> list[dict[str, Any]]:
    """Read problems as dictionaries, in the order of the file.

    If there are more than `most`, a sample is drawn by the hashes of their identities: the same in
    every run, and a subset of the sample of any larger `most`. The first problems of a file are no
    fair sample, since files are often sorted by subject or difficulty.
    """
    rows = pl.read_parquet(path).to_dicts()
    drawn = sorted(range(len(rows)), key=lambda row: _rank(rows[row]["problem_id"]))
    return [rows[row] for row in sorted(drawn[:most])]


def _rank(problem_id: str) -> bytes:
    return hashlib.sha256(problem_id.encode()).digest()
