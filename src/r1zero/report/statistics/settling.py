"""How many seeds and problems would settle what an interval leaves open."""

from math import inf, isfinite, isnan, nan, sqrt
from typing import NamedTuple

from r1zero.report.statistics.intervals import Interval, student_quantile

# Numbers of seeds and multiples of the problems that are looked at; beyond them nothing is said.
_MOST_SEEDS = 30
_PROBLEMS = (1, 2, 4, 8, 16)


class Settling(NamedTuple):
    """What would settle a question, if the estimate stays where it is."""

    seeds: int
    """Training seeds in all."""
    problems: int
    """How many times as many held-out problems."""


def settling(
    interval: Interval, *, low: float = -inf, high: float = inf, seeds: int, fewest: int
) -> Settling | None:
    """Fewest seeds, and problems if seeds alone do not suffice, that would settle a question.

    The error of a mean over S seeds has the variance v (1 - r) / m + v r S0 / S, where v is that of
    the interval, r the share of it that lies between seeds, S0 the present number of seeds and m
    the multiple of the problems. The interval ends where the limit on the side of the nearer border
    does, scaled by this error and by its Student quantile, whose degrees of freedom grow with the
    seeds.

    Args:
        interval: The interval, over `seeds` seeds.
        low: Lower border of the question.
        high: Upper border.
        seeds: Seeds that the interval covers.
        fewest: Seeds that a verdict needs in any case.

    Returns:
        None if there is no interval, or if the estimate lies so near to a border that thirty seeds
        and sixteen times the problems would not do. With a single seed its share of the variance
        is not known; then it is `fewest` seeds.

    """
    if seeds < fewest:
        return Settling(fewest, 1)
    if isnan(interval.low) or isnan(interval.seed_share):
        return None
    below, above = interval.estimate - low, high - interval.estimate
    nearest = min(abs(below), abs(above))
    towards_low = abs(below) <= abs(above)
    is_upwards = (below < 0) if towards_low else (above > 0)
    reach = interval.high - interval.estimate if is_upwards else interval.estimate - interval.low
    if not isfinite(reach) or reach <= 0 or nearest == 0:
        return None
    for problems in _PROBLEMS:
        for count in range(max(fewest, seeds + (problems == 1)), _MOST_SEEDS + 1):
            if _scaled(interval, reach, seeds, count, problems) < nearest:
                return Settling(count, problems)
    return None


def _scaled(interval: Interval, reach: float, seeds: int, count: int, problems: int) -> float:
    """Distance of a limit from the estimate with other numbers of seeds and problems."""
    share = interval.seed_share
    of_seeds, of_problems = share * seeds / count, (1 - share) / problems
    variance = of_seeds + of_problems
    if variance == 0:
        return nan
    quantile = (
        of_seeds * student_quantile(count - 1) + of_problems * student_quantile(inf)
    ) / variance
    return reach * sqrt(variance) * quantile / student_quantile(interval.df)
