"""The interface of a task, and the verdict of its grader."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import GenericAlias
from typing import Any, Protocol

import polars as pl

from r1zero.tasks.generators import Generated
from r1zero.tasks.prompts import Style
from r1zero.tasks.traces import Traces

Rows = Sequence[Mapping[str, Any]]
"""Rows of problems, by the names of their columns."""
Options = Mapping[str, Mapping[str, Any]]
"""Options of a run's reward functions, by the name of the function."""


@dataclass(frozen=True, slots=True)
class Grade:
    """Verdict on one completion."""

    correct: int
    """Strict verdict: 1 if the answer stands where the prompt asks for it and is right, else 0. It
    does not depend on the rest of the format."""
    lenient: int
    """Lenient verdict: 1 if the answer is right wherever it stands, else 0. Never below
    `correct`."""
    format: int
    """1 if the completion has the format that the prompt asks for, else 0. It does not depend on
    whether the answer is right."""
    extracted: str | None
    """The answer of the strict verdict, cut to the length that is graded; None if there is none or
    if it is ambiguous."""
    reason: str
    """`ok` if correct, otherwise a short reason."""


@dataclass(frozen=True, slots=True)
class Search:
    """What a completion calculates, for tasks whose thought is a search."""

    steps: int
    """Equations that it writes."""
    wrong_steps: int
    """Those whose two sides differ."""
    attempts: int
    """Answers for which the written operations suffice, at least 1."""
    by_chance: float | None
    """Probability that as many random attempts contain a right answer; None if it is not known."""


class Grader(Protocol):
    """Grades a batch of completions. Graders never raise, and take bounded time."""

    def __call__(
        self, completions: Sequence[str], rows: Rows, style: Style, rewards: Options
    ) -> list[Grade]:
        """Grade completions, each against the row of its problem.

        Args:
            completions: What the model wrote.
            rows: Rows with at least the columns of `Task.columns`, one for each completion.
            style: The format that the prompt asks for.
            rewards: Options of the run's reward functions, for a task whose right answer depends
                on one, such as the target of TL;DR's `length`.

        """
        ...


def _no_vote(answer: str) -> None:
    return None


def _no_gold_problems(rows: Rows) -> list[str]:
    return [""] * len(rows)


@dataclass(frozen=True, kw_only=True)
class Task:
    """A kind of problem: its rows, its grader, and mini data to try a recipe on a CPU.

    The modules of a task's folder hold what the fields below name: `rows.py`, `grader.py`,
    `generator.py` and `traces.py`.
    """

    name: str
    """Name of the task and of its folder."""
    fields: Mapping[str, str]
    """Fields that a prompt shows, each with the column of its value."""
    columns: Mapping[str, type | GenericAlias]
    """Columns that the grader reads, each with its type: `str`, `int`, or a list of one of them."""
    normalise: Callable[[pl.LazyFrame, str], pl.DataFrame]
    """Turn raw rows into `problem_id`, the columns of `fields` and `columns`, and `answer`. The
    second argument is the file that errors name. Equal problems have the same `problem_id`, and
    missing values are null."""
    grade: Grader
    """Grade a batch of completions, in training and in evaluation."""
    vote: Callable[[str], str | None] = _no_vote
    """Canonical form of an extracted answer for majority votes (maj@k): equal texts for equal
    answers, None for an answer that does not count."""
    gold_problems: Callable[[Rows], list[str]] = _no_gold_problems
    """Say for each row why no completion could match its gold answer; empty if one could."""
    search: Callable[[Sequence[str], Rows], list[Search]] | None = None
    """Count what completions calculate, one for each row; None for a task without such counts."""
    style: Style
    """Format of the answer that `r1zero grade` assumes unless told otherwise."""
    counted: str | None = None
    """List column whose length a dataset's `numbers` selects rows by; None for a task without."""
    generated: type[Generated] | None = None
    """Settings of rows drawn on this machine, with the generator; None for a task without."""
    traces: type[Traces] | None = None
    """Settings of the pre-training traces of a mini base, with their writer; None for a task
    without."""

    def is_like(self, other: "Task") -> bool:
        """Whether prompts and grader of one task also work for the rows of the other."""
        return self.fields == other.fields and self.columns == other.columns
