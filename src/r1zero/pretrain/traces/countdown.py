"""Countdown: random searches.

A trace tries one random way to combine the numbers after another, works each out, step by step, and
says whether it hit the target. It stops at a hit; after a miss it goes on or gives up, at random,
and gives up with its last attempt as the answer. So a model that imitates traces can do the
arithmetic, the comparison and the format, but searches badly: it does not look at the target when
it chooses, and it gives up early. That is what reinforcement learning is left to find.

The verdict is spelled out since a model of this size learns what it has to write: without it, a
base went past most of its hits, and searching longer could not pay.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from r1zero.pretrain.traces import PROBLEMS, SEED, Trace
from r1zero.settings.scale import CountdownTraces
from r1zero.sources.countdown import Row, generate

OPERATIONS = "+-*/"
# Sums and differences reach most targets, products and quotients some (72 % of the real 3-number
# rows need none); equal shares would spend most attempts on products that are far too large.
WEIGHTS = (4, 4, 1, 1)
# The largest sum of two numbers. Larger intermediate results hardly ever lead back to a target of
# at most 100.
LARGEST_RESULT = 198

HIT, MISS = " yes", " no"

Attempt = tuple[str, str, int]
"""Steps such as `44+19=63,63+35=98`, the expression `(44+19)+35`, its value."""


def traces(
    settings: CountdownTraces,
    *,
    rows: Mapping[str, Any],
    held_out: pl.DataFrame,
    seed: int,
    rng: random.Random,
) -> Iterator[Trace]:
    """Write traces without end.

    Args:
        settings: How patient they are.
        rows: Manifest of the rows that are trained on later, for how many numbers they have.
        held_out: Rows whose problems must not occur.
        seed: Seed of the problems.
        rng: Source of the choices.

    """
    known = held_out.select("nums", "target").iter_rows()
    problems = generate(
        PROBLEMS,
        numbers=rows["numbers"],
        seed=seed + SEED,
        exclude={Row(tuple(nums), target).key for nums, target in known},
    )
    while True:
        row = rng.choice(problems)
        patient = rng.random() < settings.patient_share
        thought, answer = search(
            row.nums,
            row.target,
            rng,
            p_continue=settings.p_continue_patient if patient else settings.p_continue,
            max_attempts=settings.max_attempts,
        )
        yield Trace({"numbers": list(row.nums), "target": row.target}, thought, answer)


def literals() -> list[str]:
    """Constant pieces of problems and traces."""
    return [", ", HIT, MISS]


def search(
    nums: Sequence[int],
    target: int,
    rng: random.Random,
    *,
    p_continue: float,
    max_attempts: int,
) -> tuple[str, str]:
    """Write one search: the thought, and the expression that is its answer.

    Args:
        nums: The numbers.
        target: The target.
        rng: Source of the attempts.
        p_continue: Chance to go on after a miss.
        max_attempts: Attempts after which the search gives up in any case.

    """
    tried: list[str] = []
    thought = ""
    while True:
        steps, expression, value = _new_attempt(nums, tried, rng)
        tried.append(steps)
        thought += steps + (HIT if value == target else MISS)
        if value == target or len(tried) == max_attempts or rng.random() > p_continue:
            return thought, expression
        thought += ";"


def _new_attempt(nums: Sequence[int], tried: list[str], rng: random.Random) -> Attempt:
    # Few distinct attempts may exist (with repeated numbers, say): then one comes again.
    for _ in range(8):
        attempt = random_attempt(nums, rng)
        if attempt[0] not in tried:
            break
    return attempt


def random_attempt(nums: Sequence[int], rng: random.Random) -> Attempt:
    """Combine random pairs by random operations until one value is left.

    Every result is a positive integer of at most `LARGEST_RESULT`; a combination that would break
    this is drawn again from the start.
    """
    while True:
        pool = [(number, str(number)) for number in nums]
        steps = []
        while len(pool) > 1:
            rng.shuffle(pool)
            left, right = pool.pop(), pool.pop()
            operation = rng.choices(OPERATIONS, WEIGHTS)[0]
            if operation in "-/" and left[0] < right[0]:
                left, right = right, left
            value = _apply(left[0], operation, right[0])
            if value is None:
                break
            steps.append(f"{left[0]}{operation}{right[0]}={value}")
            pool.append((value, f"({left[1]}{operation}{right[1]})"))
        else:
            value, expression = pool[0]
            return ",".join(steps), expression.removeprefix("(").removesuffix(")"), value


def _apply(left: int, operation: str, right: int) -> int | None:
    match operation:
        case "+":
            value = left + right
        case "-":
            value = left - right
        case "*":
            value = left * right
        case _:
            value = left // right if left % right == 0 else 0
    return value if 0 < value <= LARGEST_RESULT else None
