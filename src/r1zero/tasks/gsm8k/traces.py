"""Pre-training traces of GSM8K: two-step word problems, often calculated with a wrong operation.

The arithmetic of a trace is always right. Each step uses the operation that the question describes
with some probability, and otherwise any other operation that gives a whole number in bounds.
"""

import random
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import polars as pl
from pydantic import Field

from r1zero.tasks.gsm8k.generator import OPERATIONS, Problem, Step, apply, generate, words
from r1zero.tasks.traces import PROBLEMS, SEED, Trace, Traces


class WordProblemTraces(Traces):
    """Calculations of word problems with random operations."""

    task: Literal["gsm8k"]
    """Task of the base."""
    p_correct_step: float = Field(ge=0, le=1)
    """Probability that a step is the one that the question describes; otherwise it is any other
    possible step."""

    def write(
        self, *, rows: Mapping[str, Any], held_out: pl.DataFrame, seed: int, rng: random.Random
    ) -> Iterator[Trace]:
        """Yield calculations of word problems."""
        problems = generate(PROBLEMS, seed=seed + SEED, exclude=set(held_out["question"]))
        while True:
            problem = rng.choice(problems)
            thought, answer = work_out(problem, rng, p_correct_step=self.p_correct_step)
            yield Trace({"question": problem.row.question}, thought, answer)

    @staticmethod
    def literals() -> list[str]:
        """Operations, and the words of the questions."""
        return [*(f" {operation} " for operation in OPERATIONS), " = ", ", ", *words()]


def work_out(problem: Problem, rng: random.Random, *, p_correct_step: float) -> tuple[str, str]:
    """Write the calculation of a problem and its result.

    Args:
        problem: The problem.
        rng: Source of the choices.
        p_correct_step: Probability that a step uses the operation that its words describe.

    """
    value, thought = problem.start, []
    for meant in problem.steps:
        steps = [Step(operation, meant.number) for operation in OPERATIONS]
        possible = [step for step in steps if apply(value, step) is not None]
        others = [step for step in possible if step != meant]
        as_meant = meant in possible and (not others or rng.random() < p_correct_step)
        step = meant if as_meant else rng.choice(others)
        result = apply(value, step)
        assert result is not None
        thought.append(f"{value} {step.operation} {step.number} = {result}")
        value = result
    return ", ".join(thought), str(value)
