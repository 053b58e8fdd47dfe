"""Completions that the report shows whole, chosen by a rule and not by hand."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from r1zero.core.errors import UserError
from r1zero.report.document import Sample
from r1zero.report.inputs import Evaluation, Run, SuiteResults
from r1zero.report.measures import Group
from r1zero.report.text import plural, visible

_COLUMNS = ("problem_id", "decoding", "sample", "completion", "correct")
_MOST_CHARACTERS = 1500

RULE = (
    "Chosen by rule, not by hand: of each task's first run, at the last evaluated step, the first"
    " correct sampled completion, the first correct one that is longer than the base model's mean,"
    " and the first wrong one, in the order of the problems' identifiers. Long ones are cut."
)


def samples_of(groups: Sequence[Group], names: dict[Run, str]) -> list[Sample]:
    """Completions of the first run and suite of each task, where they were kept."""
    found = []
    for group in _first_of_tasks(groups):
        suite = group.runs[0].suites[0]
        path = completions_path(suite.trained)
        if path is None:
            continue
        where = f"{names[group.run]}, seed {group.run.seed}, {suite.name}, step"
        picked = chosen(suite, read_verdicts(path, suite.trained))
        texts = _texts(path, [row for _, row in picked])
        found += [
            _sample(f"{title}: {where} {suite.trained.step}", row, text, suite.trained)
            for (title, row), text in zip(picked, texts, strict=True)
        ]
    return found


def completion_files(groups: Sequence[Group]) -> list[Path]:
    """Files that `samples_of` reads."""
    paths = [completions_path(group.runs[0].suites[0].trained) for group in _first_of_tasks(groups)]
    return [path for path in paths if path is not None]


def _first_of_tasks(groups: Sequence[Group]) -> list[Group]:
    """The first group of each task."""
    return list({group.run.task: group for group in reversed(groups)}.values())[::-1]


def completions_path(evaluation: Evaluation) -> Path | None:
    """File of an evaluation's completions, if it is there."""
    path = evaluation.completions
    return path if path is not None and path.is_file() else None


def read_verdicts(path: Path, evaluation: Evaluation) -> pl.DataFrame:
    """Read the verdicts on the sampled completions of an evaluation, by problem and sample.

    Without the completions, which would fill the memory where there are many long ones.

    Completions that the evaluation graded differently are those of another evaluation, and refused.
    """
    try:
        verdicts = pl.scan_parquet(path).select(_COLUMNS).drop("completion").collect()
    except pl.exceptions.PolarsError as error:
        message = f"not a parquet file with the columns {', '.join(_COLUMNS)}: {error}"
        raise UserError(message.splitlines()[0], where=str(path)) from None
    sampled = verdicts.filter(pl.col("decoding") == "sampled")
    graded = _outcomes(evaluation, "correct")
    for problem_id, sample, correct in sampled.select(
        "problem_id", "sample", "correct"
    ).iter_rows():
        if graded.get((problem_id, sample)) != correct:
            message = f"problem {problem_id}, sample {sample} isn't as in {evaluation.source}"
            raise UserError(message, where=str(path), hint="stale: evaluate this run again")
    return sampled.sort("problem_id", "sample")


def _texts(path: Path, rows: Sequence[dict[str, Any]]) -> list[str]:
    """The completions of a few rows."""
    if not rows:
        return []
    keys = ["problem_id", "decoding", "sample"]
    wanted = pl.LazyFrame([{key: row[key] for key in keys} for row in rows])
    found = pl.scan_parquet(path).select(*keys, "completion")
    kept = found.join(wanted, on=keys, how="semi").collect(engine="streaming").to_dicts()
    texts = {tuple(row[key] for key in keys): row["completion"] for row in kept}
    return [texts[tuple(row[key] for key in keys)] for row in rows]


def chosen(suite: SuiteResults, verdicts: pl.DataFrame) -> list[tuple[str, dict[str, Any]]]:
    """First correct, first other correct longer than the base's mean, first wrong; each if any."""
    base_mean = float(suite.base.outcomes("length").mean())
    lengths = _outcomes(suite.trained, "length")
    rows = verdicts.to_dicts()
    right = [row for row in rows if row["correct"]]
    wrong = [row for row in rows if not row["correct"]]
    longer = [
        row for row in right[1:] if lengths.get((row["problem_id"], row["sample"]), 0.0) > base_mean
    ]
    titles = ("Correct", "Correct, longer than the base model's mean", "Wrong")
    firsts = zip(titles, (right, longer, wrong), strict=True)
    return [(title, found[0]) for title, found in firsts if found]


def _sample(title: str, row: dict[str, Any], text: str, evaluation: Evaluation) -> Sample:
    length = _outcomes(evaluation, "length")[row["problem_id"], row["sample"]]
    cut = _outcomes(evaluation, "truncated")[row["problem_id"], row["sample"]]
    return Sample(
        title=title,
        completion=shortened(text),
        notes=(
            f"problem {visible(row['problem_id'])}, sample {row['sample']}",
            plural(int(length), "token") + (", cut at the limit" if cut else ""),
        ),
    )


def shortened(text: str) -> str:
    """The start of a completion, with what was left out; what can't be seen is marked."""
    kept = visible(text)
    if len(kept) <= _MOST_CHARACTERS:
        return kept
    return f"{kept[:_MOST_CHARACTERS]}\n[… {len(kept) - _MOST_CHARACTERS} more characters]"


def _outcomes(evaluation: Evaluation, field: str) -> dict[tuple[str, int], float]:
    """Values of one field by problem_id and sample."""
    return {
        (problem.problem_id, sample): value
        for problem in evaluation.problems
        for sample, value in enumerate(getattr(problem, field))
    }
