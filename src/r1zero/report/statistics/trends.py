"""Trends of what the trainer logs, with intervals under autocorrelated noise."""

from collections.abc import Sequence
from dataclasses import replace
from math import nan, sqrt
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from r1zero.report.statistics.intervals import ROUNDING, Interval, student_quantile

# See `trend`.
_BINS = 16
_FEWEST_STEPS = 16

Series: TypeAlias = tuple[NDArray[np.int64], NDArray[np.float64]]
"""One metric of one run: training steps and values, both [n_steps]."""


def trend(series: Sequence[Series], bases: Sequence[int] = ()) -> Interval:
    """Change of one metric from the first to the last step of a training; one series per seed.

    Several seeds: the mean of their changes, with Student's interval over the seeds, or over the
    bases that they start from, each with the mean of its seeds, if `bases` names several.

    One seed: a metric that wanders without aim, a random walk, may end anywhere, and a single
    series cannot tell this from noise with a long memory. So the interval is that of the drift of a
    random walk, the noise with the longest memory, and it is wider than needed for noise with less:
    values are averaged in 16 bins, and the variance of the 15 moves between bins is taken from
    their differences (von Neumann 1941, Annals of Mathematical Statistics 12), so that a smooth
    rise is not taken for noise. Moves between averages of a random walk have the variance 2/3 and
    the covariance 1/6 of those of the walk (Working 1960, Econometrica 28); degrees of freedom are
    Satterthwaite's for these. Without a drift, the interval lies above 0 at most 2.5 % of the time,
    and below 0 as often, for autoregressive noise of any correlation, random walks, and random
    walks with noise added (`tests/report/statistics/test_coverage.py`). Under 16 steps have no
    limits.
    """
    if len(series) == 1:
        return _trend_of_one(*series[0])
    changes = np.array([_trend_of_one(steps, values).estimate for steps, values in series])
    if len(set(bases)) > 1:
        started = np.array(bases)
        changes = np.array([changes[started == base].mean() for base in dict.fromkeys(bases)])
    n_seeds = len(changes)
    variance = float(changes.var(ddof=1)) / n_seeds
    return replace(_interval(float(changes.mean()), variance, n_seeds - 1), seed_share=1.0)


def _trend_of_one(steps: NDArray[np.int64], values: NDArray[np.float64]) -> Interval:
    """Change between the first and the last bin, extended to all steps; see `trend`."""
    if len(steps) != len(values) or not len(steps):
        raise ValueError(f"{len(steps)} steps and {len(values)} values: not a series")
    if len(steps) == 1:
        return Interval(nan, nan, nan)
    n_bins = min(len(values), _BINS)
    first = np.linspace(0, len(values), n_bins, endpoint=False).astype(np.int64)
    sizes = np.diff([*first, len(values)])
    moves = np.diff(np.add.reduceat(values, first) / sizes)
    centres = np.add.reduceat(steps.astype(np.float64), first) / sizes
    extension = float((steps[-1] - steps[0]) / (centres[-1] - centres[0]))
    change = float(moves.sum()) * extension
    if len(values) < _FEWEST_STEPS:
        return Interval(change, nan, nan)
    squares = float((np.diff(moves) ** 2).sum())
    if squares <= n_bins * (ROUNDING * float(np.abs(values).max())) ** 2:
        return Interval(change, change, change)
    # Covariance of the moves of a random walk, and the form that gives `squares`: [n, n].
    n = len(moves)
    walk = (4 * np.eye(n) + np.eye(n, k=1) + np.eye(n, k=-1)) / 6
    differences = np.diff(np.eye(n), axis=0)
    seen = differences.T @ differences @ walk
    share = float(np.trace(seen))
    df = share**2 / float(np.sum(seen * seen.T))
    variance = squares / share * float(walk.sum()) * extension**2
    return _interval(change, variance, df)


def _interval(change: float, variance: float, df: float) -> Interval:
    """Student's interval of a change with this variance."""
    half = student_quantile(df) * sqrt(variance)
    return Interval(change, change - half, change + half, df)
