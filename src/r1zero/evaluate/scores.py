"""Outcomes on each problem and scores of a suite, from graded completions."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from r1zero.evaluate.metrics import MEANS, SEARCH, ks, majority_at_k, pass_at_k
from r1zero.tasks.registry import find_task

_OUTCOMES = tuple(MEANS.values())


def by_problem(table: pl.DataFrame, task: str) -> list[dict[str, Any]]:
    """Outcomes on each problem, in the order of the table.

    Args:
        table: Graded completions: `problem_id`, `decoding`, the outcomes and `extracted`. Those of
            a problem are consecutive.
        task: The task, which decides which answers are the same.

    Returns:
        For each problem its `problem_id`, lists of the outcomes of its samples, their `vote`, and
        `greedy` with the outcomes of the greedy completion, or None.

    """
    vote = find_task(task).vote
    votes = [None if answer is None else vote(answer) for answer in table["extracted"]]
    table = table.with_columns(vote=pl.Series(votes, dtype=pl.String))
    sampled = table.filter(decoding="sampled").group_by("problem_id", maintain_order=True)
    counted = [name for name in SEARCH if name in table.columns]
    greedy = table.filter(decoding="greedy").select("problem_id", *_OUTCOMES)
    ones = {row.pop("problem_id"): row for row in greedy.to_dicts()}
    return [
        {
            **problem,
            "vote": _numbered(problem["vote"]),
            "greedy": ones.get(problem["problem_id"]),
        }
        for problem in sampled.agg(*_OUTCOMES, *counted, "vote").to_dicts()
    ]


def scores(problems: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Scores of the sampled completions; `maj@k` only if any completion has an answer."""
    found = {name: np.mean([p[outcome] for p in problems]) for name, outcome in MEANS.items()}
    correct, lenient = ([p[outcome] for p in problems] for outcome in ("correct", "lenient"))
    vote = np.array([p["vote"] for p in problems], dtype=np.float64)
    for k in ks(vote.shape[1]):
        found[f"pass@{k}"] = pass_at_k(correct, k).mean()
        found[f"lenient_pass@{k}"] = pass_at_k(lenient, k).mean()
        if k > 1 and not np.isnan(vote).all():
            found[f"maj@{k}"] = majority_at_k(correct, vote, k).mean()
    return {name: round(float(value), 6) for name, value in found.items()}


def greedy_scores(problems: Sequence[Mapping[str, Any]]) -> dict[str, float] | None:
    """Scores of the greedy completions; None if there are none."""
    if problems[0]["greedy"] is None:
        return None
    return {
        name: round(float(np.mean([p["greedy"][outcome] for p in problems])), 6)
        for name, outcome in MEANS.items()
    }


def _numbered(answers: Sequence[str | None]) -> list[int | None]:
    """Number the answers from 0 in the order of their first occurrence."""
    numbers: dict[str, int] = {}
    return [None if a is None else numbers.setdefault(a, len(numbers)) for a in answers]
