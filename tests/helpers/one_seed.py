"""Intervals of one seed, as those over several give them."""

from r1zero.report.statistics.intervals import (
    Interval,
    Outcomes,
    hierarchical_delta,
    hierarchical_mean,
)


def clustered_mean(values: Outcomes, *, differences: bool = False) -> Interval:
    """Mean of `values` [n_problems, n_samples]."""
    return hierarchical_mean([values], differences=differences)


def paired_delta(base: Outcomes, trained: Outcomes) -> Interval:
    """Mean of `trained` minus mean of `base`, both [n_problems, n_samples]."""
    return hierarchical_delta([base], [trained])
