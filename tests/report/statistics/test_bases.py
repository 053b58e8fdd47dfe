"""Bases that differ: intervals cover them, and the report says how much of the spread is theirs."""

import math
from typing import Any

import numpy as np
import pytest

import planted
from planted import binary
from r1zero.report.paper.tables.scores import bases_table
from r1zero.report.statistics.intervals import Outcomes, hierarchical_mean
from r1zero.report.statistics.measures import Group, per_base, spread_of
from r1zero.report.statistics.trends import trend

REPLICATES = 600
RUN = planted.run().run


def drawn(
    rng: np.random.Generator, bases: int, seeds: int, spread: float, truth: float
) -> tuple[list[Any], list[Outcomes]]:
    """Runs of seeds on bases, and their outcomes on the same problems, whose mean is the truth."""
    runs, outcomes = [], []
    problem = rng.normal(0, 0.2, (100, 1))
    for base in range(bases):
        effect = rng.normal(0, spread)
        for seed in range(seeds):
            runs.append(RUN.model_copy(update={"seed": seed, "base_seed": base}))
            noise = rng.normal(0, 0.2, (100, 1))
            outcomes.append(truth + problem + effect + rng.normal(0, 0.02) + noise)
    return runs, outcomes


@pytest.mark.parametrize(("bases", "seeds"), [(3, 3), (5, 2)])
def test_intervals_over_bases_cover_what_intervals_over_seeds_do_not(
    bases: int, seeds: int
) -> None:
    rng = np.random.default_rng(3)
    nested = naive = 0
    for _ in range(REPLICATES):
        runs, outcomes = drawn(rng, bases, seeds, 0.1, 0.5)
        for_bases = hierarchical_mean(per_base(runs, outcomes), differences=True)
        for_seeds = hierarchical_mean(outcomes, differences=True)
        nested += for_bases.low <= 0.5 <= for_bases.high
        naive += for_seeds.low <= 0.5 <= for_seeds.high
    print(f"\n{bases} bases × {seeds} seeds: {nested / REPLICATES:.3f}, {naive / REPLICATES:.3f}")
    assert 0.93 <= nested / REPLICATES <= 0.98
    assert naive / REPLICATES < 0.92


def test_one_base_leaves_the_seeds_as_they_are() -> None:
    runs, outcomes = drawn(np.random.default_rng(0), 1, 3, 0.1, 0.5)
    assert per_base(runs, outcomes) == outcomes


def setups(*rates: tuple[float, ...]) -> Group:
    """A setup with an accuracy for each seed of each base."""
    return Group(
        tuple(
            planted.run(
                seed=seed,
                base_seed=base,
                steps={0: {"correct": binary(0.3, 9)}, 40: {"correct": binary(rate, seed)}},
            )
            for base, found in enumerate(rates)
            for seed, rate in enumerate(found)
        )
    )


def test_the_spread_is_told_apart_as_the_bases_or_the_seeds() -> None:
    of_bases = spread_of(setups((0.4, 0.4), (0.8, 0.8)), "countdown_3", "trained")
    of_seeds = spread_of(setups((0.4, 0.8), (0.4, 0.8)), "countdown_3", "trained")
    assert of_bases.share > 0.95
    assert of_bases.between > 0.2 > of_bases.within
    assert of_seeds.share == 0
    assert math.isnan(spread_of(setups((0.4,), (0.8,)), "countdown_3", "trained").share)


def test_the_report_shows_the_share_of_the_base() -> None:
    group = setups((0.4, 0.45), (0.8, 0.75))
    table = bases_table([group])
    assert table is not None
    assert table.data["share"].to_list()[-1] == pytest.approx(
        spread_of(group, "countdown_3", "trained").share
    )
    one = Group(tuple(run for run in group.runs if not run.run.base_seed))
    assert bases_table([one]) is None


def test_a_trend_is_one_of_bases_if_there_are_several() -> None:
    steps = np.arange(1, 41)
    series = [(steps, slope * steps) for slope in (1.0, 1.1, 3.0, 3.1)]
    over_seeds, over_bases = trend(series), trend(series, [0, 0, 1, 1])
    assert over_bases.estimate == pytest.approx(over_seeds.estimate)
    assert over_bases.low < 0 < over_seeds.low
