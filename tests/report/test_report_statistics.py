import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r1zero.report.statistics import Interval, Outcomes, clustered_mean, paired_delta

QUICK = 500


@st.composite
def paired_outcomes(draw: st.DrawFn) -> tuple[Outcomes, Outcomes]:
    n_problems, n_samples = draw(st.integers(2, 12)), draw(st.integers(1, 4))
    value = st.one_of(st.integers(0, 1), st.integers(0, 2000))
    column = st.lists(value, min_size=n_problems * n_samples, max_size=n_problems * n_samples)
    shape = n_problems, n_samples
    return (
        np.array(draw(column), dtype=np.float64).reshape(shape),
        np.array(draw(column), dtype=np.float64).reshape(shape),
    )


def test_estimates_are_means() -> None:
    base = np.array([[0.0, 1.0], [0.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    trained = np.array([[1.0, 1.0], [0.0, 1.0], [1.0, 1.0], [1.0, 0.0]])
    assert clustered_mean(base).estimate == 0.5
    assert paired_delta(base, trained).estimate == 0.25


def test_percentiles_of_a_case_computed_by_hand() -> None:
    # Two problems, deltas 0 and 1: the resampled means are 0, 0.5, 1 with odds 1 : 2 : 1.
    interval = paired_delta(np.zeros((2, 1)), np.array([[0.0], [1.0]]))
    assert interval == Interval(0.5, 0.0, 1.0)


def test_large_sample_agrees_with_the_normal_interval() -> None:
    generator = np.random.default_rng(0)
    difference = generator.normal(1.0, 2.0, 2000)
    base = generator.normal(0.0, 1.0, (2000, 1))
    interval = paired_delta(base, base + difference[:, None])
    half = 1.96 * difference.std() / math.sqrt(2000)
    assert interval.low == pytest.approx(difference.mean() - half, abs=0.05 * half)
    assert interval.high == pytest.approx(difference.mean() + half, abs=0.05 * half)


def test_clustering_widens_the_interval() -> None:
    # Four copies of each sample say no more about other problems than one.
    values = (np.random.default_rng(0).random((200, 1)) < 0.5).astype(np.float64)
    assert clustered_mean(np.repeat(values, 4, axis=1)) == clustered_mean(values)


def test_pairing_narrows_the_interval() -> None:
    generator = np.random.default_rng(0)
    base = (generator.random((300, 1)) < 0.5).astype(np.float64)
    trained = np.where(generator.random((300, 1)) < 0.05, 1.0, base)
    shuffled = generator.permutation(trained)
    paired, unpaired = paired_delta(base, trained), paired_delta(base, shuffled)
    assert paired.high - paired.low < 0.5 * (unpaired.high - unpaired.low)


def test_equal_outcomes_give_an_interval_without_width() -> None:
    outcomes = np.random.default_rng(0).random((30, 3))
    assert paired_delta(outcomes, outcomes) == Interval(0.0, 0.0, 0.0)
    tenths = clustered_mean(np.full((30, 3), 0.1))
    assert tenths.low == tenths.estimate == tenths.high == pytest.approx(0.1)
    assert not paired_delta(outcomes, outcomes).settled


def test_one_problem_gives_no_interval() -> None:
    interval = paired_delta(np.array([[0.0, 0.0]]), np.array([[1.0, 0.0]]))
    assert interval.estimate == 0.5
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)
    assert not interval.settled


def test_settled_means_that_zero_is_outside() -> None:
    assert Interval(0.2, 0.1, 0.3).settled
    assert Interval(-0.2, -0.3, -0.1).settled
    assert not Interval(0.1, 0.0, 0.3).settled


def test_shapes_are_checked() -> None:
    with pytest.raises(ValueError, match="not paired"):
        paired_delta(np.zeros((3, 1)), np.zeros((2, 1)))
    with pytest.raises(ValueError, match="n_problems, n_samples"):
        clustered_mean(np.zeros(3))
    with pytest.raises(ValueError, match="n_problems, n_samples"):
        clustered_mean(np.zeros((0, 2)))


@settings(max_examples=60, deadline=None)
@given(paired_outcomes())
def test_interval_holds_the_estimate_and_turns_with_its_sign(
    pair: tuple[Outcomes, Outcomes],
) -> None:
    base, trained = pair
    forth = paired_delta(base, trained, resamples=QUICK)
    back = paired_delta(trained, base, resamples=QUICK)
    assert forth.low <= forth.estimate <= forth.high
    assert forth.estimate == pytest.approx((trained - base).mean(), abs=1e-9)
    close = pytest.approx(
        (-back.estimate, -back.high, -back.low),
        rel=1e-6,
        abs=1e-6 * (1 + abs(trained - base).max()),
    )
    assert (forth.estimate, forth.low, forth.high) == close


def test_intervals_cover_the_truth_at_their_nominal_rate() -> None:
    generator = np.random.default_rng(1)
    covered, repetitions = 0, 300
    for _ in range(repetitions):
        # Problems differ in difficulty; training lifts each solve rate by a tenth on average.
        solve_rate = generator.uniform(0.0, 0.8, (200, 1))
        lift = generator.uniform(0.0, 0.2, (200, 1))
        base = (generator.random((200, 2)) < solve_rate).astype(np.float64)
        trained = (generator.random((200, 2)) < solve_rate + lift).astype(np.float64)
        interval = paired_delta(base, trained, resamples=QUICK)
        covered += interval.low <= 0.1 <= interval.high
    assert 0.90 <= covered / repetitions <= 0.98
