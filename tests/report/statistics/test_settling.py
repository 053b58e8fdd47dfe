"""The seeds and problems that are said to settle a question do settle it."""

import math

import numpy as np
import pytest

from r1zero.report.statistics.intervals import Interval, Outcomes, hierarchical_mean
from r1zero.report.statistics.settling import Settling, settling
from r1zero.report.statistics.trends import trend

FEWEST = 3
MEAN = 0.5


def draw(
    seeds: int, problems: int, rng: np.random.Generator, *, spread: float = 0.04
) -> list[Outcomes]:
    """Values whose mean is MEAN, with effects of seeds and of problems."""
    of_problems = rng.normal(0, 0.3, (problems, 1))
    return [
        MEAN + of_problems + rng.normal(0, spread) + rng.normal(0, 0.2, (problems, 1))
        for _ in range(seeds)
    ]


def half_width(seeds: int, problems: int, *, spread: float = 0.04) -> float:
    """Mean half width of intervals of this many seeds and problems."""
    rng = np.random.default_rng(seeds * problems)
    found = [
        hierarchical_mean(draw(seeds, problems, rng, spread=spread), differences=True)
        for _ in range(200)
    ]
    return float(np.mean([(interval.high - interval.low) / 2 for interval in found]))


def settled_by(
    distance: float, *, seeds: int = 12, spread: float = 0.04, problems: int = 200
) -> Settling | None:
    values = draw(seeds, problems, np.random.default_rng(0), spread=spread)
    interval = hierarchical_mean(values, differences=True)
    border = interval.estimate - distance
    return settling(interval, low=border, seeds=seeds, fewest=FEWEST)


@pytest.mark.parametrize("wanted", [16, 24])
def test_as_many_seeds_as_are_named_make_the_interval_narrow_enough(wanted: int) -> None:
    found = settled_by(half_width(wanted, 200))
    assert found is not None
    assert found.problems == 1
    assert half_width(found.seeds, 200) == pytest.approx(half_width(wanted, 200), rel=0.15)


def test_more_problems_are_named_where_seeds_do_not_differ() -> None:
    distance = half_width(12, 800, spread=0)
    found = settled_by(1.1 * distance, spread=0)
    assert found is not None
    assert found.problems in (4, 8)
    assert half_width(found.seeds, 200 * found.problems, spread=0) < 1.2 * distance


def test_nothing_is_named_for_an_estimate_at_the_border() -> None:
    assert settled_by(1e-6) is None
    assert settling(Interval(0.0, -1, 1, 2, 0.5), low=0, seeds=3, fewest=FEWEST) is None
    undefined = Interval(0.2, math.nan, math.nan)
    assert settling(undefined, low=0, seeds=3, fewest=FEWEST) is None


def test_of_one_seed_it_is_the_fewest_that_a_verdict_needs() -> None:
    interval = hierarchical_mean(draw(1, 50, np.random.default_rng(1)), differences=True)
    assert math.isnan(interval.seed_share)
    assert settling(interval, low=0, seeds=1, fewest=FEWEST) == (FEWEST, 1)


def test_the_nearer_border_of_an_equivalence_decides() -> None:
    interval = Interval(0.02, -0.02, 0.06, 2.0, 1.0)
    both = settling(interval, low=-0.03, high=0.03, seeds=3, fewest=FEWEST)
    assert both == settling(interval, high=0.03, seeds=3, fewest=FEWEST)


def test_more_steps_do_not_help_a_trend_but_seeds_do() -> None:
    steps = np.arange(1, 41)
    rng = np.random.default_rng(2)
    series = [(steps, rng.normal(0, 1, 40) + steps * slope) for slope in (0.01, 0.02, -0.005)]
    interval = trend(series)
    assert interval.seed_share == 1
    found = settling(interval, low=0, seeds=3, fewest=FEWEST)
    assert found is None or found.seeds > len(series)
