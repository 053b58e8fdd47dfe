"""Pre-training data of mini base models: completions in which choices are made at random.

A model that imitates traces learns the format and the arithmetic but chooses badly, so that there
is something left for reinforcement learning to improve.
"""

import random
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import polars as pl

from r1zero.core.section import Section

# Distinct problems behind the traces. Each is used many times, with other choices.
PROBLEMS = 20_000
# Differs from the seed of every dataset, so that a base has not seen the training problems either.
SEED = 7_000_000


class Trace(NamedTuple):
    """One attempt at a problem."""

    fields: dict[str, Any]
    """Values of the fields of the prompt."""
    thought: str
    answer: str


class Traces(Section):
    """Settings of the traces of one task; subclasses also write them."""

    task: str

    @abstractmethod
    def write(
        self, *, rows: Mapping[str, Any], held_out: pl.DataFrame, seed: int, rng: random.Random
    ) -> Iterator[Trace]:
        """Yield traces without end.

        Args:
            rows: Manifest of the rows that are trained on later.
            held_out: Rows whose problems must not occur.
            seed: Seed of the problems.
            rng: Source of the choices.

        """

    @staticmethod
    @abstractmethod
    def literals() -> list[str]:
        """Constant pieces of problems and traces that get a token of their own."""
