"""Agreement within a margin, and the number of seeds that would settle it."""

from math import isnan

import numpy as np
import pytest
from scipy import stats

from planted import binary
from r1zero.report.statistics.equivalence import POWER, equivalence, seeds_needed
from r1zero.report.statistics.intervals import Outcomes

MARGIN = 0.03


def group(
    rate: float, n_seeds: int, first: int = 0, *, spread: float = 0.0, n_samples: int = 1
) -> list[Outcomes]:
    """Outcomes of runs whose rates differ between seeds."""
    rng = np.random.default_rng(first)
    rates = np.clip(rate + spread * rng.standard_normal(n_seeds), 0.01, 0.99)
    return [
        binary(float(each), 1000 * first + place, n_samples=n_samples).astype(float)
        for place, each in enumerate(rates)
    ]


def test_equal_groups_agree_with_enough_seeds() -> None:
    found = equivalence(group(0.5, 24, 1), group(0.5, 24, 2), MARGIN)
    assert found.verdict == "they agree"
    assert found.p_value < 0.025
    assert found.seeds_needed is None


def test_groups_further_apart_than_the_margin_differ() -> None:
    found = equivalence(group(0.5, 12, 1), group(0.6, 12, 2), MARGIN)
    assert found.verdict == "they differ"
    assert found.p_value > 0.975


def test_few_seeds_settle_nothing_and_more_would() -> None:
    found = equivalence(group(0.5, 3, 1, spread=0.03), group(0.5, 3, 2, spread=0.03), MARGIN)
    assert found.verdict == "not settled"
    assert 0.025 < found.p_value < 0.975
    assert found.seeds_needed is not None
    assert found.seeds_needed > 3


def test_one_seed_each_says_nothing() -> None:
    found = equivalence(group(0.5, 1, 1), group(0.5, 1, 2), MARGIN)
    assert found.verdict == "not settled"
    assert isnan(found.p_value)
    assert found.seeds_needed is None


def test_the_p_value_is_that_of_two_t_tests() -> None:
    # Values that are no shares have symmetric limits, as a t-test has.
    rng = np.random.default_rng(4)
    a, b = ([50 + rng.standard_normal((1, 1)) + np.zeros((40, 1)) for _ in range(6)] for _ in "ab")
    found = equivalence(a, b, 1.5)
    ours, theirs = ([float(each.mean()) for each in one] for one in (a, b))
    test = stats.ttest_ind(theirs, ours, equal_var=False)
    assert found.difference.low == pytest.approx(test.confidence_interval(0.95).low, rel=1e-6)
    error = (np.var(ours, ddof=1) / 6 + np.var(theirs, ddof=1) / 6) ** 0.5
    estimate = np.mean(theirs) - np.mean(ours)
    wanted = max(
        stats.t.sf((estimate + 1.5) / error, test.df), stats.t.sf((1.5 - estimate) / error, test.df)
    )
    assert found.p_value == pytest.approx(wanted, rel=1e-6)


def test_the_number_of_seeds_settles_it_as_often_as_it_says() -> None:
    pilot = [group(0.5, 30, place, spread=0.02) for place in (1, 2)]
    needed = seeds_needed(*pilot, MARGIN)
    assert needed is not None
    trials = [
        equivalence(
            group(0.5, needed, 10 + 2 * trial, spread=0.02),
            group(0.5, needed, 11 + 2 * trial, spread=0.02),
            MARGIN,
        ).verdict
        for trial in range(60)
    ]
    settled = trials.count("they agree") / len(trials)
    # Five standard errors of 60 trials.
    assert settled > POWER - 5 * (POWER * (1 - POWER) / len(trials)) ** 0.5
    # A third of the seeds would not do.
    fewer = equivalence(
        group(0.5, needed // 3, 5, spread=0.02), group(0.5, needed // 3, 6, spread=0.02), MARGIN
    )
    assert fewer.verdict == "not settled"


def test_problems_that_groups_solve_differently_cannot_be_outvoted_by_seeds() -> None:
    # Each group solves another half of 30 problems, always.
    half = np.arange(30)[:, None] % 2
    found = equivalence([half + 0.0] * 3, [1.0 - half] * 3, MARGIN)
    assert found.verdict == "not settled"
    assert found.seeds_needed is None
