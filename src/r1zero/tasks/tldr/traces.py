"""Pre-training traces of TL;DR: summaries of random length, without a thought.

A summary lists some of the facts of its post, in order; their number is random.
"""

import random
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import polars as pl

from r1zero.tasks.tldr.generator import Problem, generate, words
from r1zero.tasks.traces import PROBLEMS, SEED, Trace, Traces


class PostTraces(Traces):
    """Summaries of random length."""

    task: Literal["tldr"]
    """Task of the base."""

    def write(
        self, *, rows: Mapping[str, Any], held_out: pl.DataFrame, seed: int, rng: random.Random
    ) -> Iterator[Trace]:
        """Yield summaries of posts."""
        problems = generate(PROBLEMS, seed=seed + SEED, exclude=set(held_out["post"]))
        while True:
            problem = rng.choice(problems)
            yield Trace({"post": problem.row.prompt}, "", summarise(problem, rng))

    @staticmethod
    def literals() -> list[str]:
        """Words of posts and summaries."""
        return words()


def summarise(problem: Problem, rng: random.Random) -> str:
    """Write a summary with a random share of the facts, at least one."""
    share = rng.random()
    kept = [fact for fact in problem.facts if rng.random() < share]
    # The published summaries begin with a space, too.
    return f" {' '.join(kept or [rng.choice(problem.facts)])}"
