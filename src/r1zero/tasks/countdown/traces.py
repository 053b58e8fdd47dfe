"""Pre-training traces of Countdown: random searches.

A trace makes random attempts to combine the numbers, calculates each step by step, and writes
whether it hit the target. It stops at a hit; after a miss it continues or gives up at random, with
the last attempt as the answer. A model that imitates traces learns arithmetic, comparison and
format, but searches badly: it ignores the target when it chooses, and it gives up early. Better
search is left to reinforcement learning.

The verdict is written out because a model of this size learns what it has to write: without it a
base continued after most of its hits, so that longer searches did not help.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import polars as pl
from pydantic import Field

from r1zero.tasks.countdown.generator import Row, generate
from r1zero.tasks.traces import PROBLEMS, SEED, Trace, Traces

OPERATIONS = "+-*/"
# 72 % of the published 3-number rows need no product or quotient. Equal shares would spend most
# attempts on products that are far too large.
WEIGHTS = (4, 4, 1, 1)
# The largest sum of two numbers. Larger intermediate results rarely lead to a target up to 100.
LARGEST_RESULT = 198

HIT, MISS = " yes", " no"

Attempt = tuple[str, str, int]
"""Steps such as `44+19=63,63+35=98`, the expression `(44+19)+35`, its value."""


class CountdownTraces(Traces):
    """Random searches."""

    task: Literal["countdown"]
    """Task of the base."""
    p_continue: float = Field(gt=0, lt=1)
    """Probability that a trace continues with another attempt after a failed one."""
    p_continue_patient: float = Field(gt=0, lt=1)
    """The same probability in a patient trace, from which the model learns how long searches
    look."""
    patient_share: float = Field(ge=0, le=1)
    """Share of patient traces."""
    max_attempts: int = Field(ge=1)
    """Most attempts in one trace."""

    def write(
        self, *, rows: Mapping[str, Any], held_out: pl.DataFrame, seed: int, rng: random.Random
    ) -> Iterator[Trace]:
        """Yield searches on problems with as many numbers as the rows have."""
        known = held_out.select("nums", "target").iter_rows()
        problems = generate(
            PROBLEMS,
            numbers=rows["numbers"],
            seed=seed + SEED,
            exclude={Row(tuple(nums), target).key for nums, target in known},
        )
        while True:
            row = rng.choice(problems)
            patient = rng.random() < self.patient_share
            thought, answer = search(
                row.nums,
                row.target,
                rng,
                p_continue=self.p_continue_patient if patient else self.p_continue,
                max_attempts=self.max_attempts,
            )
            yield Trace({"numbers": list(row.nums), "target": row.target}, thought, answer)

    @staticmethod
    def literals() -> list[str]:
        """Separator of the numbers, and the verdicts."""
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
        p_continue: Probability to continue after a miss.
        max_attempts: Attempts after which the search gives up.

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
    # There may be few distinct attempts, such as with repeated numbers: then one is repeated.
    for _ in range(8):
        attempt = random_attempt(nums, rng)
        if attempt[0] not in tried:
            break
    return attempt


def random_attempt(nums: Sequence[int], rng: random.Random) -> Attempt:
    """Combine random pairs by random operations until one value is left.

    Every result is a positive integer of at most `LARGEST_RESULT`; an attempt that would violate
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
