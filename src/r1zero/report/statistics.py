"""Bootstrap intervals over problems.

Completions of one problem resemble each other, so the problem is the unit that is resampled: an
interval over completions would be too narrow (Miller 2024, "Adding Error Bars to Evals",
arXiv:2411.00640). Base and trained model answer the same problems, so their difference is
bootstrapped as pairs, which takes the spread between easy and hard problems out of it.

The intervals are BCa, or percentile where BCa is undefined (Efron & Tibshirani 1993, "An
Introduction to the Bootstrap", chapters 13 and 14). They cover the choice of problems and the
sampling of completions. They don't cover the training seed: for that, compare runs.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from math import nan
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import stats

CONFIDENCE = 0.95
RESAMPLES = 9999
# Fixed, so that the same outcomes always give the same table.
SEED = 20250122
# Numbers held at once while resampling: 16 MB.
_BATCH_SIZE = 2_000_000

Outcomes: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """An estimate and its confidence limits, in the unit of the outcomes.

    One problem shows nothing about other problems: its limits are NaN.
    """

    estimate: float
    low: float
    high: float

    @property
    def settled(self) -> bool:
        """Whether the interval exists and excludes 0."""
        return self.low > 0 or self.high < 0


def clustered_mean(values: Outcomes, *, resamples: int = RESAMPLES, seed: int = SEED) -> Interval:
    """Mean of `values` [n_problems, n_samples], with an interval clustered by problem."""
    _check_shape(values)
    return _bootstrap((values.sum(axis=1),), _mean, values.shape[1], resamples, seed)


def paired_delta(
    base: Outcomes, trained: Outcomes, *, resamples: int = RESAMPLES, seed: int = SEED
) -> Interval:
    """Mean of `trained` minus mean of `base`, with an interval paired and clustered by problem.

    Both are [n_problems, n_samples], and row i of both is the same problem.
    """
    _check_shape(base)
    if base.shape != trained.shape:
        raise ValueError(f"base is {base.shape}, trained is {trained.shape}: not paired")
    sums = base.sum(axis=1), trained.sum(axis=1)
    return _bootstrap(sums, _mean_difference, base.shape[1], resamples, seed)


def _check_shape(values: Outcomes) -> None:
    if values.ndim != 2 or 0 in values.shape:
        raise ValueError(f"outcomes need the shape [n_problems, n_samples], not {values.shape}")


def _mean(values: Outcomes, axis: int = -1) -> Outcomes:
    return np.asarray(values.mean(axis=axis))


def _mean_difference(base: Outcomes, trained: Outcomes, axis: int = -1) -> Outcomes:
    return np.asarray((trained - base).mean(axis=axis))


def _bootstrap(
    sums: tuple[Outcomes, ...],
    statistic: Callable[..., Outcomes],
    n_samples: int,
    resamples: int,
    seed: int,
) -> Interval:
    """Bootstrap `statistic` of per-problem sums, each [n_problems], in units of one sample.

    Sums and not means, because whole numbers keep ties between resamples exact, and BCa counts
    ties to correct its bias.
    """
    contrast = sums[-1] - sums[0] if len(sums) == 2 else sums[0]
    estimate = float(contrast.mean()) / n_samples
    if len(contrast) == 1:
        return Interval(estimate, nan, nan)
    if np.all(contrast == contrast[0]):
        estimate = float(contrast[0]) / n_samples
        return Interval(estimate, estimate, estimate)
    for method in ("BCa", "percentile"):
        with warnings.catch_warnings():
            # Undefined BCa is seen by its NaN limits.
            warnings.simplefilter("ignore")
            limits = stats.bootstrap(
                sums,
                statistic,
                paired=len(sums) == 2,
                vectorized=True,
                n_resamples=resamples,
                batch=max(1, _BATCH_SIZE // len(contrast)),
                confidence_level=CONFIDENCE,
                method=method,
                rng=np.random.default_rng(seed),
            ).confidence_interval
        low, high = float(limits.low) / n_samples, float(limits.high) / n_samples
        if np.isfinite(low) and np.isfinite(high):
            break
    # Rounding, or a very skewed bootstrap distribution, can leave the estimate just outside.
    return Interval(estimate, min(low, estimate), max(high, estimate))
