"""Completions that the report shows, chosen by a rule and not by hand."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from r1zero.core.formatting import plural, visible
from r1zero.report.paper.document import Sample
from r1zero.report.results.completions import (
    by_sample,
    completions_path,
    read_texts,
    read_verdicts,
)
from r1zero.report.results.inputs import Evaluation, Run, SuiteResults
from r1zero.report.statistics.measures import Group

_MOST_CHARACTERS = 1500

RULE = (
    "Chosen by rule, not by hand: of each task's first run, at the last evaluated step, the first"
    " correct sampled completion, the first correct one that is longer than the base model's mean,"
    " and the first wrong one, in the order of the problems' identifiers. Long ones are cut."
)


def samples_of(groups: Sequence[Group], names: dict[Run, str]) -> list[Sample]:
    """Completions of the first run and suite of each task, if they were kept."""
    found = []
    for group in _first_of_tasks(groups):
        suite = group.runs[0].suites[0]
        path = completions_path(suite.trained)
        if path is None:
            continue
        where = f"{names[group.run]}, seed {group.run.seed}, {suite.name}, step"
        picked = chosen(suite, read_verdicts(path, suite.trained))
        texts = read_texts(path, [row for _, row in picked])
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


def chosen(suite: SuiteResults, verdicts: pl.DataFrame) -> list[tuple[str, dict[str, Any]]]:
    """Choose rows by `RULE`, each with its title; a row that no completion fits is left out."""
    base_mean = float(suite.base.outcomes("length").mean())
    lengths = by_sample(suite.trained, "length")
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
    place = row["problem_id"], row["sample"]
    length, cut = (by_sample(evaluation, field)[place] for field in ("length", "truncated"))
    return Sample(
        title=title,
        completion=shortened(text),
        notes=(
            f"problem {visible(row['problem_id'])}, sample {row['sample']}",
            plural(int(length), "token") + (", cut at the limit" if cut else ""),
        ),
    )


def shortened(text: str) -> str:
    """The start of a completion, and how much was left out; hidden characters are marked."""
    kept = visible(text)
    if len(kept) <= _MOST_CHARACTERS:
        return kept
    return f"{kept[:_MOST_CHARACTERS]}\n[… {len(kept) - _MOST_CHARACTERS} more characters]"
