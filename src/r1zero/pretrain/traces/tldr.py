"""TL;DR: summaries of any length, without a thought.

A summary gives some of the facts of its post, in order. How many is a matter of chance.
"""

import random
from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from r1zero.pretrain.traces import PROBLEMS, SEED, Trace
from r1zero.settings.scale import PostTraces
from r1zero.sources.posts import Problem, generate, words


def traces(
    settings: PostTraces,
    *,
    rows: Mapping[str, Any],
    held_out: pl.DataFrame,
    seed: int,
    rng: random.Random,
) -> Iterator[Trace]:
    """Write traces without end; arguments as for Countdown."""
    problems = generate(PROBLEMS, seed=seed + SEED, exclude=set(held_out["post"]))
    while True:
        problem = rng.choice(problems)
        yield Trace({"post": problem.row.prompt}, "", summarise(problem, rng))


def literals() -> list[str]:
    """Constant pieces of posts and summaries."""
    return words()


def summarise(problem: Problem, rng: random.Random) -> str:
    """Write a summary, with a random share of the facts, at least one."""
    share = rng.random()
    kept = [fact for fact in problem.facts if rng.random() < share]
    # As the published summaries it begins with a space.
    return f" {' '.join(kept or [rng.choice(problem.facts)])}"
