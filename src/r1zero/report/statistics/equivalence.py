"""Whether two groups of runs agree within a margin, and how many seeds would settle it.

Agreement is a test of equivalence by the 95 % interval of the difference: agreed if the whole of
it is within the margin, different if the whole of it is outside. This is the two one-sided tests
procedure (TOST: Schuirmann 1987, Journal of Pharmacokinetics and Biopharmaceutics 15) at a level of
2.5 % each.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan, nan, sqrt
from typing import Literal

import numpy as np
from scipy import stats

from r1zero.report.statistics.intervals import (
    CONFIDENCE,
    Interval,
    Outcomes,
    two_sample_delta,
    verdict,
)

_ALPHA = (1 - CONFIDENCE) / 2
POWER = 0.8
"""Chance with which the number of seeds settles that groups agree which do."""
MOST_SEEDS = 1000
"""Beyond this many seeds the problems are too few."""


@dataclass(frozen=True)
class Equivalence:
    """A difference between two groups, and what it says of a margin."""

    difference: Interval
    margin: float
    p_value: float
    """The larger of the p-values of the two one-sided tests; NaN without an interval."""
    verdict: Literal["they agree", "they differ", "not settled"]
    seeds_needed: int | None
    """Seeds of each group with which groups that do agree would be found to, with a chance of
    `POWER`; None where that can't be said, or no number of seeds would do on these problems."""


def equivalence(a: Sequence[Outcomes], b: Sequence[Outcomes], margin: float) -> Equivalence:
    """Compare the means of two groups of runs, `b` minus `a`, with a margin.

    Args:
        a: One array [n_problems, n_samples] per run; row i of all is the same problem.
        b: Those of the other group.
        margin: Largest difference of groups that agree, in the unit of the outcomes.

    """
    difference = two_sample_delta(a, b)
    settled = verdict(difference, low=-margin, high=margin)
    words: dict[str, Literal["they agree", "they differ", "not settled"]] = {
        "yes": "they agree",
        "no": "they differ",
        "unsettled": "not settled",
    }
    return Equivalence(
        difference,
        margin,
        _p_value(difference, margin),
        words[settled],
        seeds_needed(a, b, margin) if settled == "unsettled" else None,
    )


def _p_value(difference: Interval, margin: float) -> float:
    """Larger p-value of the tests against -margin and margin, with the interval's own errors."""
    if isnan(difference.low) or isnan(difference.high):
        return nan
    quantile = stats.t.isf(_ALPHA, difference.df)
    sides = (
        (difference.estimate + margin, difference.estimate - difference.low),
        (margin - difference.estimate, difference.high - difference.estimate),
    )
    return max(
        float(stats.t.sf(distance / half * quantile, difference.df))
        if half
        else float(distance < 0)
        for distance, half in sides
    )


def seeds_needed(a: Sequence[Outcomes], b: Sequence[Outcomes], margin: float) -> int | None:
    """Seeds of each group that would settle, with a chance of `POWER`, that the groups agree.

    The groups are taken to be equal in truth. The spread between seeds, that of single outcomes,
    and how far problems differ in which group solves them, are those of the runs that there are;
    the last does not fall with the number of seeds.
    """
    of_seeds, of_problems, rest = _components(a, b)
    n_problems = len(a[0])
    if isnan(of_seeds):
        return None
    for n_seeds in range(2, MOST_SEEDS + 1):
        error = sqrt((of_seeds + rest / n_problems) / n_seeds + of_problems / n_problems)
        df = 2 * (n_seeds - 1)
        if error == 0:
            return n_seeds
        inside = margin / error - stats.t.isf(_ALPHA, df)
        if 2 * stats.t.cdf(inside, df) - 1 >= POWER:
            return n_seeds
    return None


def _components(a: Sequence[Outcomes], b: Sequence[Outcomes]) -> tuple[float, float, float]:
    """Variances of the difference of one seed of each group, by their source.

    Returns:
        Between seeds, beyond what single outcomes explain; between problems, in the difference of
        the groups; and of single outcomes of a problem. NaN where no group has several seeds.

    """
    groups = [np.stack([outcomes.mean(axis=1) for outcomes in group]) for group in (a, b)]
    several = [cells for cells in groups if len(cells) > 1]
    if not several:
        return nan, nan, nan
    between, within = [], []
    for cells in several:
        of_seeds = cells.mean(axis=1, keepdims=True)
        noise = cells - of_seeds - cells.mean(axis=0) + cells.mean()
        within.append(float((noise**2).sum()) / ((len(cells) - 1) * (cells.shape[1] - 1)))
        excess = float(of_seeds.var(ddof=1)) - within[-1] / cells.shape[1]
        between.append(max(excess, 0.0))
    rest = float(np.mean(within))
    apart = groups[1].mean(axis=0) - groups[0].mean(axis=0)
    explained = rest * sum(1 / len(cells) for cells in groups)
    of_problems = max(float(apart.var(ddof=1)) - explained, 0.0)
    return 2 * float(np.mean(between)), of_problems, 2 * rest
