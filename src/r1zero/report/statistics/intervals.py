"""Intervals over problems and training seeds, and what they settle.

Completions of one problem resemble each other, so problems are the unit: an interval over
completions would be too narrow (Miller 2024, "Adding Error Bars to Evals", arXiv:2411.00640). Base
and trained model answer the same problems, so their difference is taken problem by problem, which
takes the spread between easy and hard problems out of it. All seeds answer the same problems too:
seeds and problems are crossed, and either adds to the error of a mean (Owen 2007, "The pigeonhole
bootstrap", arXiv:0712.1111).

The error of a mean comes from the mean squares of the table seeds × problems (random effects,
crossed; Searle, Casella & McCulloch 1992, "Variance Components", chapter 4): the variance between
problems, and that between seeds where it exceeds what sampling explains. With one seed it is the
variance between problems, and the interval doesn't cover the training seed.

- The quantile is Student's t with Satterthwaite's degrees of freedom (1946, Biometrics Bulletin 2),
  or the mean of the quantiles of seeds and problems weighted by their variances (Cochran 1964,
  Biometrics 20) where that is larger: with three seeds Satterthwaite alone falls to 92 %.
- Means of shares, outcomes within [0, 1], have Wilson's limits (1927, JASA 22) for the effective
  number of samples, the number that would give the same error (Korn & Graubard 1998, Survey
  Methodology 24). Where every outcome is 0, or every one 1, that is the number of problems.
- Differences of shares combine the limits of both by their correlation (MOVER: Newcombe 1998,
  Statistics in Medicine 17, method 10; Zou & Donner 2008, Statistics in Medicine 27).
- All else, lengths above all, is symmetric: estimate ± quantile × error.

Nothing is resampled. Three seeds have ten different resamples, whose variance is a third too
small; and BCa limits for one seed cover as little as 88 % where few of 50 problems change.

Coverage of the 95 % intervals in simulation: 93 to 97 % with one seed, for shares of 5 to 95 % on
50 to 512 problems, and with 3, 5 and 8 seeds whose effects are small to large, also near the floor
(2 % that become 6 %; with the whole of what sampling explains taken off, 92 %). It is more where
next to nothing varies: 98 to 99 % where few problems change, or where three seeds don't differ at
all. It is less with two seeds that differ by more than sampling (86 to 90 %), on 30 problems with
shares of 5 or 95 % (91 %), and for mean lengths with a heavy tail on 50 problems (90 %; 93 % on
128). `pytest -s tests/report/statistics/test_coverage.py` measures the first group again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, nan, sqrt
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import special

CONFIDENCE = 0.95
_UPPER = 0.5 + CONFIDENCE / 2
# Errors below this share of the largest value are rounding errors.
ROUNDING = 1e-12

Outcomes: TypeAlias = NDArray[np.float64]
"""Values of one run, [n_problems, n_samples]."""


@dataclass(frozen=True)
class Interval:
    """An estimate and its confidence limits, in the unit of the outcomes.

    The limits are NaN where nothing can be said, as for a single problem.
    """

    estimate: float
    low: float
    high: float
    df: float = inf
    """Degrees of freedom of the Student quantile that the limits were made with."""
    seed_share: float = nan
    """Share of the variance of the estimate that lies between training seeds; NaN where a single
    seed, or another kind of estimate, does not show it."""

    @property
    def settled(self) -> bool:
        """Whether the interval exists and excludes 0."""
        return self.low > 0 or self.high < 0


def verdict(
    interval: Interval, *, low: float = -inf, high: float = inf
) -> Literal["yes", "no", "unsettled"]:
    """Whether a quantity lies between `low` and `high`.

    "yes" where the whole interval is there, "no" where the whole interval is elsewhere; with both
    limits it is a test of equivalence. A quantity on the border gets "yes" at most 2.5 % of the
    time, as far as the interval covers. Without limits nothing is settled.
    """
    if low < interval.low and interval.high < high:
        return "yes"
    return "no" if interval.high < low or interval.low > high else "unsettled"


def hierarchical_mean(values: Sequence[Outcomes], *, differences: bool = False) -> Interval:
    """Mean over seeds, problems and samples, with an interval over seeds and problems.

    One array [n_problems, n_samples] per seed; row i of all is the same problem. Values within
    [0, 1] are shares, unless they are `differences`, which have no such limits.
    """
    mean = _mean([_cells(values)])
    if differences or not _are_shares(values):
        return _symmetric(mean)
    low, high = _share_limits(mean, mean.quantile)
    return Interval(mean.estimate, low, high, mean.df, mean.seed_share)


def hierarchical_delta(
    base: Sequence[Outcomes], trained: Sequence[Outcomes], *, linearised: bool = False
) -> Interval:
    """Mean of `trained` minus mean of `base`, with an interval over seeds and problems.

    One array [n_problems, n_samples] per seed in each: entry s of both is the same seed, and row i
    of all is the same problem. Values within [0, 1] are shares, unless they are `linearised`.
    """
    if len(base) != len(trained):
        raise ValueError(f"base has {len(base)} seeds, trained has {len(trained)}: not paired")
    before, after = _cells(base), _cells(trained)
    _check_paired(before, after)
    difference = _mean([after - before])
    shares = not linearised and _are_shares([*base, *trained])
    return _difference(before, after, difference) if shares else _symmetric(difference)


def two_sample_delta(
    a: Sequence[Outcomes], b: Sequence[Outcomes], *, differences: bool = False
) -> Interval:
    """Mean of the runs `b` minus mean of the runs `a`, which answered the same problems.

    One array [n_problems, n_samples] per run; the groups may differ in their numbers of runs. Each
    group has its own variance between seeds; a single run is given that of the other group. One run
    against one has no limits: their seeds differ, and nothing shows by how much seeds matter.
    `differences` as in `hierarchical_mean`.
    """
    before, after = _cells(a), _cells(b)
    _check_paired(before, after)
    difference = _mean([after, -before])
    if len(a) == len(b) == 1:
        return Interval(difference.estimate, nan, nan)
    shares = not differences and _are_shares([*a, *b])
    return _difference(before, after, difference) if shares else _symmetric(difference)


@dataclass(frozen=True)
class _Mean:
    """A mean over seeds and problems, its variance, and the quantile of its estimate / error."""

    estimate: float
    variance: float
    quantile: float
    n_problems: int
    seed_share: float = nan
    """Share of the variance that lies between seeds; NaN with a single one."""

    @property
    def df(self) -> float:
        """Degrees of freedom of a Student variable with this quantile."""
        return degrees_of_freedom(self.quantile)


def _cells(values: Sequence[Outcomes]) -> Outcomes:
    """Means of seeds and problems, [n_seeds, n_problems]."""
    for outcomes in values:
        if outcomes.ndim != 2 or 0 in outcomes.shape:
            expected = "outcomes need the shape [n_problems, n_samples]"
            raise ValueError(f"{expected}, not {outcomes.shape}")
    if len({len(outcomes) for outcomes in values}) != 1:
        raise ValueError(f"problems of the seeds: {[len(item) for item in values]}: not paired")
    return np.stack([outcomes.mean(axis=1) for outcomes in values])


def _check_paired(base: Outcomes, trained: Outcomes) -> None:
    if base.shape[1] != trained.shape[1]:
        raise ValueError(f"{base.shape[1]} and {trained.shape[1]} problems: not paired")


def _are_shares(values: Sequence[Outcomes]) -> bool:
    return all(outcomes.min() >= 0 and outcomes.max() <= 1 for outcomes in values)


def _mean(groups: Sequence[Outcomes]) -> _Mean:
    """Sum of the means of groups of seeds, each [n_seeds, n_problems]."""
    sums = np.sum([cells.mean(axis=0) for cells in groups], axis=0)
    estimate, n_problems = float(sums.mean()), len(sums)
    if n_problems == 1:
        return _Mean(estimate, nan, nan, n_problems)
    problems = float(sums.var(ddof=1)) / n_problems
    seeds = sampling = seed_squares = sampling_squares = 0.0
    for cells, weight in _seed_variances(groups):
        of_seeds = cells.mean(axis=1, keepdims=True)
        rest = cells - of_seeds - cells.mean(axis=0) + cells.mean()
        df, rest_df = len(cells) - 1, (len(cells) - 1) * (n_problems - 1)
        between = weight * float(of_seeds.var(ddof=1))
        # What sampling alone puts between the means of seeds; it is in `problems` already.
        within = weight * float((rest**2).sum()) / rest_df / n_problems
        seeds, seed_squares = seeds + between, seed_squares + between**2 / df
        sampling, sampling_squares = sampling + within, sampling_squares + within**2 / rest_df
    # Half of what sampling puts there is taken off. Of few seeds the difference is so rough that
    # all of it would leave three seeds at 91.6 % near the floor, and none of it others at 98 %.
    excess = seeds - sampling / 2 if seeds > sampling else 0.0
    variance = problems + excess
    if sqrt(variance) <= ROUNDING * max(float(np.abs(cells).max()) for cells in groups):
        return _Mean(estimate, 0.0, 0.0, n_problems)
    several = any(len(cells) > 1 for cells in groups)
    squares = problems**2 / (n_problems - 1) + seed_squares + sampling_squares
    quantile = student_quantile(variance**2 / squares)
    if excess > 0:
        of_both = problems * student_quantile(n_problems - 1) + excess * student_quantile(
            seeds**2 / seed_squares
        )
        quantile = max(quantile, of_both / variance)
    share = excess / variance if several else nan
    return _Mean(estimate, variance, quantile, n_problems, share)


def student_quantile(df: float) -> float:
    """Quantile of Student's t for the limits of a two-sided 95 % interval."""
    return float(special.stdtrit(max(df, 1.0), _UPPER))


def degrees_of_freedom(quantile: float) -> float:
    """Degrees of freedom at which `student_quantile` is this; infinite for that of the normal."""
    if not quantile > special.ndtri(_UPPER) + ROUNDING:
        return inf
    return float(special.stdtridf(_UPPER, quantile))


def _seed_variances(groups: Sequence[Outcomes]) -> list[tuple[Outcomes, float]]:
    """Groups to take variances between seeds from, and how often each counts in the sum's."""
    several = [cells for cells in groups if len(cells) > 1]
    weights = [1 / len(cells) for cells in several]
    if len(several) == 1:
        weights[0] += len(groups) - 1
    return list(zip(several, weights, strict=True))


def _symmetric(mean: _Mean) -> Interval:
    half = mean.quantile * sqrt(mean.variance)
    low, high = mean.estimate - half, mean.estimate + half
    return Interval(mean.estimate, low, high, mean.df, mean.seed_share)


def _share_limits(mean: _Mean, quantile: float) -> tuple[float, float]:
    """Wilson's limits of a share, for the effective number of samples."""
    share, binomial = mean.estimate, mean.estimate * (1 - mean.estimate)
    if mean.n_problems == 1:
        return nan, nan
    if 0 < share < 1 and mean.variance == 0:
        return share, share
    if mean.variance == 0 or binomial <= 0:
        n_effective = float(mean.n_problems)
        quantile = student_quantile(mean.n_problems - 1)
    else:
        n_effective = binomial / mean.variance
    pull = quantile**2 / n_effective
    centre = (share + pull / 2) / (1 + pull)
    half = quantile * sqrt(binomial / n_effective + pull / n_effective / 4) / (1 + pull)
    return min(max(centre - half, 0.0), share), max(min(centre + half, 1.0), share)


def _difference(a: Outcomes, b: Outcomes, difference: _Mean) -> Interval:
    """Interval of `difference`, mean of shares `b` minus mean of shares `a`, by their limits.

    The correlation is the one with which both variances make up that of the difference. A single
    run has no variance between seeds of its own but is given that of others: where no correlation
    makes up for it, the interval is stretched.
    """
    first, second = _mean([a]), _mean([b])
    product = sqrt(first.variance * second.variance)
    correlation = 0.0
    if product > 0:
        correlation = (first.variance + second.variance - difference.variance) / (2 * product)
        correlation = min(max(correlation, -1.0), 1.0)
    made_up = first.variance + second.variance - 2 * correlation * product
    stretch = sqrt(max(difference.variance / made_up, 1.0)) if made_up > 0 else 1.0
    (a_low, a_high), (b_low, b_high) = (
        _share_limits(mean, difference.quantile) for mean in (first, second)
    )

    def distance(of_first: float, of_second: float) -> float:
        squares = of_first**2 + of_second**2 - 2 * correlation * of_first * of_second
        return stretch * sqrt(max(squares, 0.0))

    estimate = difference.estimate
    return Interval(
        estimate,
        estimate - distance(a_high - first.estimate, second.estimate - b_low),
        estimate + distance(first.estimate - a_low, b_high - second.estimate),
        difference.df,
        difference.seed_share,
    )
