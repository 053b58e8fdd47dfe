"""Trends of what the trainer logs, with intervals under autocorrelated noise."""

from collections.abc import Sequence
from math import nan, sqrt
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from r1zero.report.statistics.intervals import ROUNDING, Interval, student_quantile

# See `trend`.
_BINS = 20
_DEGREE = 3
_FEWEST_STEPS = 10
_LARGEST_CORRELATION = 0.97
_ONE_SIDED = 1.645

Series: TypeAlias = tuple[NDArray[np.int64], NDArray[np.float64]]
"""One metric of one run: training steps and values, both [n_steps]."""


def trend(series: Sequence[Series]) -> Interval:
    """Change of one metric from the first to the last step along its linear trend; one per seed.

    Several seeds: the mean of their changes, with Student's interval over the seeds.

    One seed: metrics of neighbouring steps resemble each other. Values are averaged in 20 bins, so
    that little of the resemblance is left, and the line through the bins has the error of a least
    squares fit under noise that is autoregressive of order 1. The noise is what a cubic curve
    leaves, so that a metric which rises and then stays isn't taken for a random walk. Its
    autocorrelation is corrected for bias (Kendall 1954, Biometrika 41, extended to polynomials)
    and taken at the upper limit of its one-sided 95 % interval; degrees of freedom are
    Satterthwaite's. Without a trend the interval excludes 0 at most 5 % of the time for
    autocorrelations from 0 to 0.8 and 40 to 500 steps (1 to 5 %), and 14 % for 0.8 and 12 steps.
    Under 10 steps have no limits.
    """
    if len(series) == 1:
        return _trend_of_one(*series[0])
    changes = np.array([_trend_of_one(steps, values).estimate for steps, values in series])
    n_seeds = len(changes)
    variance = float(changes.var(ddof=1)) / n_seeds
    return _interval(float(changes.mean()), variance, n_seeds - 1)


def _trend_of_one(steps: NDArray[np.int64], values: NDArray[np.float64]) -> Interval:
    """Change along the line through one series; see `trend`."""
    if len(steps) != len(values) or not len(steps):
        raise ValueError(f"{len(steps)} steps and {len(values)} values: not a series")
    n_bins = min(len(values), _BINS)
    first = np.linspace(0, len(values), n_bins, endpoint=False).astype(np.int64)
    sizes = np.diff([*first, len(values)])
    binned = np.add.reduceat(values, first) / sizes
    line = np.add.reduceat(steps.astype(np.float64), first) / sizes
    line -= line.mean()
    spread = float(line @ line)
    if spread == 0:
        return Interval(nan, nan, nan)
    length = float(steps[-1] - steps[0])
    change = float(line @ binned / spread) * length
    if len(values) < _FEWEST_STEPS:
        return Interval(change, nan, nan)
    # What the curve leaves of values at the bins: [n_bins, n_bins].
    powers, _ = np.linalg.qr(np.vander(line / np.abs(line).max(), _DEGREE + 1))
    residual = np.eye(n_bins) - powers @ powers.T
    residuals = residual @ binned
    squares = float(residuals @ residuals)
    if squares <= n_bins * (ROUNDING * float(np.abs(binned).max())) ** 2:
        return Interval(change, change, change)
    observed = float(residuals[1:] @ residuals[:-1]) / squares
    correlation = (n_bins * observed + _DEGREE + 1) / (n_bins - _DEGREE - 3)
    correlation += _ONE_SIDED * sqrt(max(1 - correlation**2, 0.0) / n_bins)
    correlation = min(max(correlation, 0.0), _LARGEST_CORRELATION)

    index = np.arange(n_bins)
    noise = correlation ** np.abs(np.subtract.outer(index, index))
    seen = residual @ noise
    share = float(np.trace(seen))
    df = share**2 / float(np.sum(seen * seen.T))
    variance = float(line @ noise @ line) / spread**2 * squares / share * length**2
    return _interval(change, variance, df)


def _interval(change: float, variance: float, df: float) -> Interval:
    """Student's interval of a change with this variance."""
    half = student_quantile(df) * sqrt(variance)
    return Interval(change, change - half, change + half)
