"""Packages whose versions must agree between the files of one report."""

from r1zero.settings.backends import BACKENDS
from r1zero.train.backends.base import packages_of

# What measures: the graders and the engine, the same for the runs of every backend. The version of
# vLLM is part of the name of the engine that an evaluation states.
MEASURING = ("r1zero", "torch", "transformers", "math-verify", "latex2sympy2-extended")

# For results of a backend that is not registered here.
_TRAINERS = ("ms-swift", "trl", "transformers", "torch")


def packages_that_must_agree(backend: str) -> tuple[str, ...]:
    """Packages whose defaults and loss decide what a backend computes.

    Runs of one backend share a table only if they were trained with the same versions of these.
    Runs of different backends may differ in all of them: they never share a group of rows.
    """
    return packages_of(backend) if backend in BACKENDS else _TRAINERS
