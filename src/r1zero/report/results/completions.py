"""Completions that evaluations kept, read from their Parquet files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from r1zero.core.errors import UserError
from r1zero.report.results.inputs import Evaluation

_KEYS = ("problem_id", "decoding", "sample")
_COLUMNS = (*_KEYS, "completion", "correct")


def completions_path(evaluation: Evaluation) -> Path | None:
    """File of an evaluation's completions, if it exists."""
    path = evaluation.completions
    return path if path is not None and path.is_file() else None


def read_verdicts(path: Path, evaluation: Evaluation) -> pl.DataFrame:
    """Read the verdicts on the sampled completions of an evaluation, by problem and sample.

    The completions themselves are not read, since many long ones would fill the memory.

    Raises:
        UserError: The file has other columns, or belongs to another evaluation: it has verdicts
            that differ from this one's.

    """
    try:
        verdicts = pl.scan_parquet(path).select(_COLUMNS).drop("completion").collect()
    except pl.exceptions.PolarsError as error:
        message = f"not a parquet file with the columns {', '.join(_COLUMNS)}: {error}"
        raise UserError(message.splitlines()[0], where=str(path)) from None
    sampled = verdicts.filter(pl.col("decoding") == "sampled")
    graded = by_sample(evaluation, "correct")
    rows = sampled.select("problem_id", "sample", "correct").iter_rows()
    for problem_id, sample, correct in rows:
        if graded.get((problem_id, sample)) != correct:
            message = f"problem {problem_id}, sample {sample} differs from {evaluation.source}"
            raise UserError(message, where=str(path), hint="stale: evaluate this run again")
    return sampled.sort("problem_id", "sample")


def read_texts(path: Path, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Read the completions of a few rows of `read_verdicts`."""
    if not rows:
        return []
    wanted = pl.LazyFrame([{key: row[key] for key in _KEYS} for row in rows])
    found = pl.scan_parquet(path).select(*_KEYS, "completion")
    kept = found.join(wanted, on=_KEYS, how="semi").collect(engine="streaming").to_dicts()
    texts = {tuple(row[key] for key in _KEYS): row["completion"] for row in kept}
    return [texts[tuple(row[key] for key in _KEYS)] for row in rows]


def by_sample(evaluation: Evaluation, field: str) -> dict[tuple[str, int], float]:
    """Values of one field by problem_id and sample."""
    return {
        (problem.problem_id, sample): value
        for problem in evaluation.problems
        for sample, value in enumerate(getattr(problem, field))
    }
