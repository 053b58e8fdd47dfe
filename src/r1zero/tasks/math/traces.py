"""Pre-training traces of MATH: expressions, often calculated in a wrong order.

A trace does one operation after another and writes the remaining expression; its arithmetic is
always right. Each step follows the order of operations with some probability, and otherwise does
any other operation that stands between two numbers.
"""

import random
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import polars as pl
from pydantic import Field

from r1zero.tasks.math import generator
from r1zero.tasks.math.generator import (
    Problem,
    generate,
    lowest,
    next_place,
    possible,
    reduce,
    write,
)
from r1zero.tasks.traces import PROBLEMS, SEED, Trace, Traces


class ExpressionTraces(Traces):
    """Calculations of expressions in random order."""

    task: Literal["math"]
    """Task of the base."""
    p_correct_step: float = Field(ge=0, le=1)
    """Probability that a step follows the order of operations; otherwise it is any other possible
    step."""

    def write(
        self, *, rows: Mapping[str, Any], held_out: pl.DataFrame, seed: int, rng: random.Random
    ) -> Iterator[Trace]:
        """Yield calculations of expressions."""
        problems = generate(PROBLEMS, seed=seed + SEED, exclude=set(held_out["question"]))
        while True:
            problem = rng.choice(problems)
            thought, answer = calculate(problem, rng, p_correct_step=self.p_correct_step)
            yield Trace({"question": problem.row.problem}, thought, answer)

    @staticmethod
    def literals() -> list[str]:
        """Operations, and the constant text of the problems."""
        return generator.literals()


def calculate(problem: Problem, rng: random.Random, *, p_correct_step: float) -> tuple[str, str]:
    """Write the calculation of a problem and its result.

    Args:
        problem: The problem.
        rng: Source of the choices.
        p_correct_step: Probability that a step follows the order of operations.

    """
    items, denominator = problem.items, problem.denominator
    states = []
    while len(items) > 1:
        places, right = possible(items), next_place(items)
        others = [place for place in places if place != right]
        in_order = right in places and (not others or rng.random() < p_correct_step)
        items = reduce(items, right if in_order else rng.choice(others))
        states.append(write(items, denominator))
    answer = write(*lowest(items, denominator))
    if states[-1] != answer:
        states.append(answer)
    return " = ".join(states), answer
