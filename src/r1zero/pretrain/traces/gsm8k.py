"""GSM8K: two-step word problems, worked out with operations that are often not the ones meant.

A trace calculates without a slip. But it heeds the words of a step only now and then; otherwise it
takes any other operation that gives a whole number in bounds.
"""

import random
from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from r1zero.pretrain.traces import PROBLEMS, SEED, Trace
from r1zero.settings.scale import QuestionTraces
from r1zero.sources.word_problems import OPERATIONS, Problem, Step, apply, generate, words


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
        thought, answer = work_out(problem, rng, p_correct_step=settings.p_correct_step)
        yield Trace({"question": problem.row.question}, thought, answer)


def literals() -> list[str]:
    """Constant pieces of problems and traces."""
    return [*(f" {operation} " for operation in OPERATIONS), " = ", ", ", *words()]


def work_out(problem: Problem, rng: random.Random, *, p_correct_step: float) -> tuple[str, str]:
    """Write the calculation of a problem and its result.

    Args:
        problem: The problem.
        rng: Source of the choices.
        p_correct_step: Chance that a step does what its words say.

    """
    value, thought = problem.start, []
    for meant in problem.steps:
        steps = [Step(operation, meant.number) for operation in OPERATIONS]
        possible = [step for step in steps if apply(value, step) is not None]
        others = [step for step in possible if step != meant]
        heeded = meant in possible and (not others or rng.random() < p_correct_step)
        step = meant if heeded else rng.choice(others)
        result = apply(value, step)
        assert result is not None
        thought.append(f"{value} {step.operation} {step.number} = {result}")
        value = result
    return ", ".join(thought), str(value)
