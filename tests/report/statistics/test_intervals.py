import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from one_seed import clustered_mean, paired_delta
from r1zero.report.statistics.intervals import (
    Interval,
    Outcomes,
    hierarchical_delta,
    hierarchical_mean,
    two_sample_delta,
    verdict,
)
from r1zero.report.statistics.trends import trend


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


def test_one_sample_a_problem_gives_the_published_limits_of_a_share() -> None:
    # Newcombe 1998, Statistics in Medicine 17:857, table I, method 3 (Wilson without continuity
    # correction): 81 of 263 are 0.2553 to 0.3662, and 15 of 148 are 0.0624 to 0.1605. Student's
    # quantile in place of the normal one widens them by half a percent of their width.
    for solved, of, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605)):
        interval = clustered_mean((np.arange(of) < solved).astype(np.float64)[:, None])
        assert interval.estimate == pytest.approx(solved / of)
        assert interval.low == pytest.approx(low, abs=0.0015)
        assert interval.high == pytest.approx(high, abs=0.0015)


def test_nothing_solved_is_not_nothing_to_solve() -> None:
    none = np.zeros((50, 4))
    interval = clustered_mean(none)
    assert interval.low == interval.estimate == 0.0
    # The rule of three says 3 / 50 one-sided.
    assert interval.high == pytest.approx(0.075, abs=0.005)
    assert clustered_mean(1 - none).low == pytest.approx(0.925, abs=0.005)
    change = paired_delta(none, none)
    assert change.low < -0.05
    assert change.high > 0.05


def test_shares_stay_between_0_and_1_and_differences_do_not() -> None:
    values = np.zeros((20, 1))
    values[0] = 1.0
    assert clustered_mean(values).low > 0
    # As a difference, one problem that changed settles nothing.
    assert clustered_mean(values, differences=True).low < 0


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
    once, copied = clustered_mean(values), clustered_mean(np.repeat(values, 4, axis=1))
    assert (copied.low, copied.high) == pytest.approx((once.low, once.high))


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
    lengths = 100 * outcomes
    assert hierarchical_delta([lengths] * 3, [lengths] * 3) == Interval(0.0, 0.0, 0.0)
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


SHAPED = np.zeros((3, 1))


@pytest.mark.parametrize(
    "call",
    [
        lambda: paired_delta(SHAPED, np.zeros((2, 1))),
        lambda: clustered_mean(np.zeros(3)),
        lambda: clustered_mean(np.zeros((0, 2))),
        lambda: hierarchical_delta([SHAPED] * 2, [SHAPED]),
        lambda: hierarchical_mean([SHAPED, np.zeros((2, 1))]),
        lambda: two_sample_delta([SHAPED], [np.zeros((2, 1))] * 2),
    ],
)
def test_shapes_are_checked(call: Callable[[], Interval]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        call()


@settings(max_examples=60, deadline=None)
@given(paired_outcomes())
def test_interval_holds_the_estimate_and_turns_with_its_sign(
    pair: tuple[Outcomes, Outcomes],
) -> None:
    base, trained = pair
    forth, back = paired_delta(base, trained), paired_delta(trained, base)
    assert forth.low <= forth.estimate <= forth.high
    assert forth.estimate == pytest.approx((trained - base).mean(), abs=1e-9)
    close = pytest.approx(
        (-back.estimate, -back.high, -back.low),
        rel=1e-6,
        abs=1e-6 * (1 + abs(trained - base).max()),
    )
    assert (forth.estimate, forth.low, forth.high) == close


def test_equal_seeds_say_no_more_than_one() -> None:
    base, trained = np.random.default_rng(0).integers(0, 2, (2, 40, 3)).astype(np.float64)
    many = hierarchical_delta([base] * 5, [trained] * 5)
    one = paired_delta(base, trained)
    assert (many.estimate, many.low, many.high) == pytest.approx((one.estimate, one.low, one.high))


def test_seeds_that_differ_by_more_than_sampling_have_the_interval_of_their_means() -> None:
    # Next to nothing varies but the seeds: Student's interval of three means.
    noise = np.random.default_rng(0).normal(0, 1e-3, (3, 200, 1))
    means = np.array([100.0, 130.0, 145.0])
    interval = hierarchical_mean(list(means[:, None, None] + noise))
    half = 4.302653 * means.std(ddof=1) / math.sqrt(3)
    assert interval.estimate == pytest.approx(125.0, abs=1e-3)
    assert interval.high - interval.estimate == pytest.approx(half, rel=1e-3)
    assert interval.estimate - interval.low == pytest.approx(half, rel=1e-3)


def test_a_single_run_is_given_the_spread_between_the_other_runs() -> None:
    generator = np.random.default_rng(0)
    noise = generator.normal(0, 1e-3, (4, 200, 1))
    several = [100.0 + noise[0], 130.0 + noise[1], 145.0 + noise[2]]
    alone = [200.0 + noise[3]]
    interval = two_sample_delta(several, alone)
    half = 4.302653 * np.array([100.0, 130.0, 145.0]).std(ddof=1) * math.sqrt(1 / 3 + 1)
    assert interval.estimate == pytest.approx(75.0, abs=1e-3)
    assert interval.high - interval.estimate == pytest.approx(half, rel=1e-3)
    back = two_sample_delta(alone, several)
    assert (back.low, back.high) == pytest.approx((-interval.high, -interval.low))


def test_two_groups_of_seeds_have_the_interval_of_welch() -> None:
    generator = np.random.default_rng(0)
    first, second = generator.normal(100, 10, 5), generator.normal(130, 10, 4)
    noise = generator.normal(0, 1e-4, (9, 300, 1))
    runs = list(np.concatenate([first, second])[:, None, None] + noise)
    interval = two_sample_delta(runs[:5], runs[5:])
    welch = stats.ttest_ind(second, first, equal_var=False).confidence_interval()
    assert (interval.low, interval.high) == pytest.approx((welch.low, welch.high), rel=1e-3)


@pytest.mark.parametrize(
    ("low", "high", "above", "below", "within"),
    [
        (0.02, 0.04, "yes", "no", "no"),
        (-0.04, -0.02, "no", "yes", "no"),
        (-0.005, 0.005, "no", "no", "yes"),
        (-0.02, 0.02, "unsettled", "unsettled", "unsettled"),
        (0.005, 0.02, "unsettled", "no", "unsettled"),
        (math.nan, math.nan, "unsettled", "unsettled", "unsettled"),
    ],
)
def test_verdict(low: float, high: float, above: str, below: str, within: str) -> None:
    interval = Interval((low + high) / 2, low, high)
    assert verdict(interval, low=0.01) == above
    assert verdict(interval, high=-0.01) == below
    assert verdict(interval, low=-0.01, high=0.01) == within


def test_trend_is_the_change_from_the_first_to_the_last_step() -> None:
    steps = np.arange(10, 210, 5)
    noise = np.random.default_rng(0).normal(0, 1, len(steps))
    interval = trend([(steps, 300 + 0.5 * steps + noise)])
    assert interval.estimate == pytest.approx(0.5 * 195, abs=1.5)
    assert interval.low < 97.5 < interval.high
    assert interval.high - interval.low < 25
    exact = trend([(steps, 300 + 0.5 * steps)])
    assert (exact.low, exact.high) == pytest.approx((97.5, 97.5))
    assert trend([(steps, np.full(len(steps), 7.0))]).settled is False


def test_a_metric_that_rises_and_then_stays_has_a_settled_trend() -> None:
    steps = np.arange(50)
    noise = np.random.default_rng(0).normal(0, 8, len(steps))
    assert trend([(steps, 45 + 75 * (1 - np.exp(-steps / 10)) + noise)]).low > 0


def test_trend_over_seeds_has_the_interval_of_their_changes() -> None:
    steps = np.arange(5)
    series = [(steps, slope * steps) for slope in (1.0, 2.0, 3.0)]
    interval = trend(series)
    assert interval.estimate == pytest.approx(8.0)
    assert interval.high - 8.0 == pytest.approx(4.302653 * 4 / math.sqrt(3), rel=1e-4)


def test_a_series_too_short_for_its_noise_has_no_limits() -> None:
    interval = trend([(np.arange(9), np.arange(9.0))])
    assert interval.estimate == pytest.approx(8.0)
    assert math.isnan(interval.low)
    assert verdict(interval, low=0) == "unsettled"
    assert math.isnan(trend([(np.array([5]), np.array([1.0]))]).low)
    with pytest.raises(ValueError):  # noqa: PT011
        trend([(np.arange(3), np.arange(4.0))])


def test_one_run_against_one_has_no_limits() -> None:
    generator = np.random.default_rng(3)
    runs = [(generator.random((100, 2)) < rate).astype(float) for rate in (0.2, 0.6)]
    interval = two_sample_delta(runs[:1], runs[1:])
    assert interval.estimate == pytest.approx(runs[1].mean() - runs[0].mean())
    assert verdict(interval, low=0) == "unsettled"
