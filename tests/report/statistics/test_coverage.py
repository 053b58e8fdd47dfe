"""How often intervals hold the truth, where the truth is known; `pytest -s` prints the tables."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import optimize, stats
from scipy.signal import lfilter

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

# With 1,000 replicates a coverage of 95 % is measured to ±0.7 % (one standard error).
REPLICATES = 1000
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(80)
# Standard deviations of logits: problems, and each problem's own answer to each training.
PROBLEM, INTERACTION = 1.5, 0.5
SIDES = ({"low": 0.0}, {"high": 0.0})


def share(logit: float, variance: float) -> float:
    """Mean of the logistic function over logits of this mean and variance."""
    values = 1 / (1 + np.exp(-(logit + NODES * math.sqrt(variance))))
    return float(WEIGHTS @ values / WEIGHTS.sum())


def logit_of(wanted: float, variance: float) -> float:
    """Mean logit at which `share` is as wanted."""
    return float(optimize.brentq(lambda logit: share(logit, variance) - wanted, -12, 12))


def outcomes(
    generator: np.random.Generator, logits: NDArray[np.float64], n_samples: int
) -> Outcomes:
    """Binary outcomes [n_problems, n_samples] of problems with these logits."""
    rates = 1 / (1 + np.exp(-logits[:, None]))
    return (generator.random((len(logits), n_samples)) < rates).astype(np.float64)


def coverage(
    interval: Callable[[], Interval], truth: float, replicates: int = REPLICATES
) -> tuple[float, float]:
    """Share of intervals that hold the truth, and that say falsely that it is larger."""
    drawn = [interval() for _ in range(replicates)]
    held = np.mean([one.low <= truth <= one.high for one in drawn])
    above = np.mean([verdict(one, low=truth) == "yes" for one in drawn])
    return float(held), float(above)


@pytest.mark.parametrize("n_problems", [50, 128, 512])
@pytest.mark.parametrize("accuracy", [0.05, 0.2, 0.5, 0.8, 0.95])
def test_accuracy_of_one_sample_a_problem(accuracy: float, n_problems: int) -> None:
    # Without simulation: the number of solved problems is binomial.
    held = 0.0
    for solved in range(n_problems + 1):
        interval = clustered_mean((np.arange(n_problems) < solved).astype(np.float64)[:, None])
        if interval.low <= accuracy <= interval.high:
            held += float(stats.binom.pmf(solved, n_problems, accuracy))
    print(f"\naccuracy {accuracy}, {n_problems} problems × 1: {held:.3f}")
    assert 0.93 <= held <= 0.97


@pytest.mark.parametrize("accuracy", [0.05, 0.2, 0.5, 0.8, 0.95])
@pytest.mark.parametrize("n_problems", [50, 512])
def test_accuracy_of_several_samples_a_problem(accuracy: float, n_problems: int) -> None:
    generator = np.random.default_rng(4)

    def interval() -> Interval:
        rates = generator.beta(1.5 * accuracy, 1.5 * (1 - accuracy), n_problems)
        return clustered_mean(generator.binomial(4, rates)[:, None] / 4)

    held, _ = coverage(interval, accuracy, 3000)
    print(f"\naccuracy {accuracy}, {n_problems} problems × 4: {held:.3f}")
    assert 0.93 <= held <= 0.97


@pytest.mark.parametrize(("n_problems", "n_samples"), [(50, 1), (50, 4), (256, 1)])
@pytest.mark.parametrize(("before", "after"), [(0.3, 0.3), (0.5, 0.9)])
def test_change_with_one_seed(before: float, after: float, n_problems: int, n_samples: int) -> None:
    generator = np.random.default_rng(8)
    logits = [math.log(rate / (1 - rate)) for rate in (before, after)]
    base_share = share(logits[0], PROBLEM**2)
    trained_share = share(logits[1], PROBLEM**2 + INTERACTION**2)

    def interval() -> Interval:
        problem = generator.normal(0, PROBLEM, n_problems)
        own = generator.normal(0, INTERACTION, n_problems)
        base = outcomes(generator, logits[0] + problem, n_samples)
        return paired_delta(base, outcomes(generator, logits[1] + problem + own, n_samples))

    held, above = coverage(interval, trained_share - base_share)
    print(f"\n{before} → {after}, {n_problems} problems × {n_samples}: {held:.3f}")
    assert 0.93 <= held <= 0.97
    assert above <= 0.05


@pytest.mark.parametrize("n_seeds", [3, 5, 8])
@pytest.mark.parametrize(
    ("seed_effect", "n_problems", "n_samples"),
    [(0.0, 50, 4), (0.15, 128, 1), (0.4, 50, 4)],
)
def test_change_over_seeds_and_problems(
    n_seeds: int, seed_effect: float, n_problems: int, n_samples: int
) -> None:
    generator = np.random.default_rng(5)
    before, after = -3.0, -1.5
    rest = INTERACTION**2 + seed_effect**2
    truth = share(after, PROBLEM**2 + rest) - share(before, PROBLEM**2)
    mean_truth = share(after, PROBLEM**2 + rest)
    means = []

    def interval() -> Interval:
        problem = generator.normal(0, PROBLEM, n_problems)
        # Trained models find other problems hard than the base does.
        turned = 0.8 * problem + 0.6 * generator.normal(0, PROBLEM, n_problems)
        base = outcomes(generator, before + problem, n_samples)
        trained = []
        for effect in generator.normal(0, seed_effect, n_seeds):
            own = generator.normal(0, INTERACTION, n_problems)
            trained.append(outcomes(generator, after + turned + effect + own, n_samples))
        means.append(hierarchical_mean(trained))
        return hierarchical_delta([base] * n_seeds, trained)

    held, above = coverage(interval, truth)
    mean_held = np.mean([one.low <= mean_truth <= one.high for one in means])
    case = f"{n_seeds} seeds of {seed_effect}, {n_problems} problems × {n_samples}"
    print(f"\n{case}: change {held:.3f}, mean {mean_held:.3f}")
    assert 0.93 <= held <= 0.97
    # The upper bound has room for the error of 1,000 replicates.
    assert 0.93 <= mean_held <= 0.975
    assert above <= 0.05


@pytest.mark.parametrize("n_problems", [128, 512])
@pytest.mark.parametrize("seed_effect", [0.3, 0.5, 1.0])
def test_three_seeds_near_the_floor(seed_effect: float, n_problems: int) -> None:
    """Shares of 2 % that become 6 %: three seeds that are low by chance look alike by chance."""
    generator = np.random.default_rng(11)
    rest = INTERACTION**2 + seed_effect**2
    before, after = logit_of(0.02, PROBLEM**2), logit_of(0.06, PROBLEM**2 + rest)

    def interval() -> Interval:
        problem = generator.normal(0, PROBLEM, n_problems)
        base = outcomes(generator, before + problem, 4)
        trained = []
        for effect in generator.normal(0, seed_effect, 3):
            own = generator.normal(0, INTERACTION, n_problems)
            trained.append(outcomes(generator, after + problem + effect + own, 4))
        return hierarchical_delta([base] * 3, trained)

    held, above = coverage(interval, 0.04)
    print(f"\n3 seeds of {seed_effect}, {n_problems} problems × 4, 2 → 6 %: {held:.3f}")
    # 92 %, less the error of 1,000 replicates where seeds differ more than any that were seen.
    assert held >= (0.92 if seed_effect < 1 else 0.911)
    assert above <= 0.05


@pytest.mark.parametrize("seed_effect", [0.4, 1.0])
@pytest.mark.parametrize(("n_first", "n_second"), [(1, 3), (3, 3), (5, 3), (1, 8)])
def test_no_difference_between_two_groups(n_first: int, n_second: int, seed_effect: float) -> None:
    generator = np.random.default_rng(6)

    def interval() -> Interval:
        problem = generator.normal(-1, PROBLEM, 100)
        runs = []
        for effect in generator.normal(0, seed_effect, n_first + n_second):
            own = generator.normal(0, INTERACTION, 100)
            runs.append(outcomes(generator, problem + effect + own, 2))
        return two_sample_delta(runs[:n_first], runs[n_first:])

    held, above = coverage(interval, 0.0)
    print(f"\n{n_first} against {n_second} runs that differ by {seed_effect}: {held:.3f}")
    assert 0.93 <= held <= 0.97
    assert above <= 0.05


def test_no_difference_on_the_border_of_a_margin() -> None:
    generator = np.random.default_rng(7)
    answers = []
    for _ in range(REPLICATES):
        base = generator.random((200, 4)) < 0.4
        trained = generator.random((200, 4)) < 0.45
        interval = paired_delta(base.astype(np.float64), trained.astype(np.float64))
        answers.append(verdict(interval, low=-0.05, high=0.05))
    print(f"\nwithin the margin that is the truth: {answers.count('yes') / REPLICATES:.3f}")
    assert answers.count("yes") <= 0.05 * REPLICATES


@pytest.mark.parametrize("noise_beside", [0.0, 2.0])
@pytest.mark.parametrize("correlation", [0.0, 0.8, 0.95, 1.0])
@pytest.mark.parametrize("n_steps", [20, 48, 450])
def test_noise_without_a_trend(correlation: float, n_steps: int, noise_beside: float) -> None:
    generator = np.random.default_rng(9)
    drawn = generator.normal(size=(REPLICATES, n_steps + 100))
    noise = lfilter([1.0], [1.0, -correlation], drawn)
    noise += noise_beside * generator.normal(size=noise.shape)
    steps = np.arange(1, n_steps + 1)
    found = [trend([(steps, series[100:])]) for series in noise]
    rises, falls = (np.mean([verdict(one, **side) == "yes" for one in found]) for side in SIDES)
    print(f"\nautocorrelation {correlation} + {noise_beside}, {n_steps}: {rises:.3f}, {falls:.3f}")
    # 2.5 %, and twice the error of 1,000 replicates.
    assert max(rises, falls) <= 0.035


def test_noise_without_a_trend_in_several_seeds() -> None:
    generator = np.random.default_rng(10)
    noise = lfilter([1.0], [1.0, -0.8], generator.normal(size=(REPLICATES, 3, 140)))[:, :, 100:]
    steps = np.arange(40)
    found = [trend([(steps, series) for series in seeds]).settled for seeds in noise]
    assert 0.03 <= np.mean(found) <= 0.07
