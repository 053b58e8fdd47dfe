"""MATH: expressions, calculated in an order that is often not the right one.

A trace does one operation after another and writes what is left, without a slip. But it heeds the
order of operations only now and then; otherwise it does any other operation that stands between
two numbers.
"""

import random
from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from r1zero.pretrain.traces import PROBLEMS, SEED, Trace
from r1zero.settings.scale import QuestionTraces
from r1zero.sources import expressions
from r1zero.sources.expressions import (
    Problem,
    generate,
    lowest,
    next_place,
    possible,
    reduce,
    write,
)


def traces(
    settings: QuestionTraces,
    *,
    rows: Mapping[str, Any],
    held_out: pl.DataFrame,
    seed: int,
    rng: random.Random,
) -> Iterator[Trace]:
    """Write traces without end; arguments as for Countdown."""
    problems = generate(PROBLEMS, seed=seed + SEED, exclude=set(held_out["question"]))
    while True:
        problem = rng.choice(problems)
        thought, answer = calculate(problem, rng, p_correct_step=settings.p_correct_step)
        yield Trace({"question": problem.row.problem}, thought, answer)


def literals() -> list[str]:
    """Constant pieces of problems and traces."""
    return expressions.literals()


def calculate(problem: Problem, rng: random.Random, *, p_correct_step: float) -> tuple[str, str]:
    """Write the calculation of a problem and its result.

    Args:
        problem: The problem.
        rng: Source of the choices.
        p_correct_step: Chance that a step keeps to the order of operations.

    """
    items, denominator = problem.items, problem.denominator
    states = []
    while len(items) > 1:
        places, right = possible(items), next_place(items)
        others = [place for place in places if place != right]
        heeded = right in places and (not others or rng.random() < p_correct_step)
        items = reduce(items, right if heeded else rng.choice(others))
        states.append(write(items, denominator))
    answer = write(*lowest(items, denominator))
    if states[-1] != answer:
        states.append(answer)
    return " = ".join(states), answer
