"""Findings: a number of a setup, or of a pair of setups, compared with what a claim says of it."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

from scipy import stats

from r1zero.core.formatting import signed
from r1zero.report.claims.quantities import Quantity, Values
from r1zero.report.results.inputs import RunResults, SuiteResults
from r1zero.report.statistics.intervals import (
    CONFIDENCE,
    Interval,
    Outcomes,
    hierarchical_delta,
    hierarchical_mean,
    two_sample_delta,
    verdict,
)
from r1zero.report.statistics.measures import Group, per_base
from r1zero.report.statistics.settling import Settling, settling
from r1zero.report.statistics.trends import Series, trend

FEWEST_SEEDS = 3
"""Training seeds that an empirical verdict is judged on, unless a claim needs more."""

_UNDEFINED = Interval(math.nan, math.nan, math.nan)


class Expected(NamedTuple):
    """Where a claim puts a number. It is settled if the whole 95 % interval lies there."""

    low: float
    high: float


def above(border: float) -> Expected:
    """The number is larger than the border."""
    return Expected(border, math.inf)


def below(border: float) -> Expected:
    """The number is smaller than the border."""
    return Expected(-math.inf, border)


def within(border: float) -> Expected:
    """The number lies between minus and plus the border, a test of equivalence."""
    return Expected(-border, border)


@dataclass(frozen=True)
class Finding:
    """What one setup, or one pair of setups, shows about a claim."""

    subject: str
    quantity: str
    settled: Literal["yes", "no", "unsettled"]
    against: float
    """One-sided p-value of what is claimed: small if the data speak for the opposite."""
    figures: str
    """The numbers in words."""
    files: tuple[Path, ...]
    interval: Interval | None = None
    """In `unit`; None for a number without sampling error."""
    unit: str = ""
    n_seeds: int = 0
    """Seeds, or bases if there are several, of the smaller setup; 0 for what no training decides.
    """
    setups: tuple[Group, ...] = ()
    """Setups that it is about."""
    settles: Settling | None = None
    """What would settle it if it is not; None if that cannot be computed."""


def held(
    subject: str,
    quantity: str,
    interval: Interval,
    expected: Expected,
    files: tuple[Path, ...],
    *,
    unit: str = "",
    factor: float = 1,
    undefined: str = "undefined",
    setups: tuple[Group, ...] = (),
) -> Finding:
    """Compare a number with where a claim puts it.

    Args:
        subject: The setup, or the pair of setups.
        quantity: What is measured, in words.
        interval: The number with its interval.
        expected: Where the claim puts it.
        files: Files that it comes from.
        unit: Unit of the finding.
        factor: Multiplier from the number to the unit.
        undefined: Text that is shown if there is no estimate.
        setups: Setups that it is about; it rests on as many seeds as the smaller one has.

    """
    n_seeds = min((group.units for group in setups), default=0)
    several_bases = any(group.units < len(group.runs) for group in setups)
    scaled = replace(
        interval,
        estimate=interval.estimate * factor,
        low=interval.low * factor,
        high=interval.high * factor,
    )
    return Finding(
        subject,
        quantity,
        verdict(interval, low=expected.low, high=expected.high),
        _against(interval, expected),
        undefined if math.isnan(interval.estimate) else _figures(scaled, unit),
        files,
        scaled,
        unit,
        n_seeds,
        setups,
        # More seeds on the same bases do not help as much as these would.
        None
        if several_bases
        else settling(
            interval, low=expected.low, high=expected.high, seeds=n_seeds, fewest=FEWEST_SEEDS
        ),
    )


def certain(subject: str, quantity: str, is_so: bool | None, figures: str, *files: Path) -> Finding:
    """A finding without sampling error: what was computed or logged is as claimed, or is not.

    With None it cannot be said, as of a training that diverged.
    """
    settled: Literal["yes", "no", "unsettled"] = "no" if is_so is False else "yes"
    if is_so is None:
        settled = "unsettled"
    return Finding(subject, quantity, settled, float(is_so is not False), figures, files)


def _against(interval: Interval, expected: Expected) -> float:
    """One-sided p-value of what is claimed: 2.5 % if the interval just lies beyond the border.

    It is that of Student's distribution, with the interval's degrees of freedom and the error that
    the limit on the side of the border shows.
    """
    if math.isnan(interval.low) or math.isnan(interval.high):
        return 1.0
    # How far the estimate lies beyond the border that is nearest to it.
    below_it, above_it = expected.low - interval.estimate, interval.estimate - expected.high
    beyond = max(below_it, above_it)
    upwards = (below_it > 0) if below_it > above_it else (above_it < 0)
    error = interval.high - interval.estimate if upwards else interval.estimate - interval.low
    if error == 0:
        return float(beyond <= 0)
    quantile = stats.t.isf((1 - CONFIDENCE) / 2, interval.df)
    return float(stats.t.sf(beyond / error * quantile, interval.df))


def _figures(interval: Interval, unit: str) -> str:
    shown = signed if unit else _signed_digits
    estimate = f"{shown(interval.estimate)} {unit}".rstrip()
    if math.isnan(interval.low) or math.isnan(interval.high):
        return f"{estimate}, without an interval"
    return f"{estimate} [{shown(interval.low)}, {shown(interval.high)}]"


def _signed_digits(value: float) -> str:
    """Three digits with a sign, since metrics of the trainer may have any size."""
    return f"{value:+.3g}".replace("-", "−")


def name_of(group: Group) -> str:
    """The recipe or variant, with the backend unless that is TRL."""
    run = group.run
    return run.recipe if run.backend == "trl" else f"{run.recipe} ({run.backend})"


def measured(group: Group) -> list[SuiteResults]:
    """Results on the test rows of the setup's own dataset, or on its first suite; one per seed."""
    own = group.settings.get("dataset")
    return group.of_suite(own if own in group.suites else group.suites[0])


def of_setup(group: Group, quantity: Quantity, expected: Expected) -> Finding:
    """A held-out quantity of a setup, over its seeds and the problems."""
    found = _values(group, quantity)
    runs = [result.run for result in group.runs]
    starts = [start for _, start in found if start is not None]
    ends = per_base(runs, [end for end, _ in found]) if found else []
    starts = per_base(runs, starts) if starts else []
    interval = _UNDEFINED
    if starts:
        interval = hierarchical_delta(starts, ends)
    elif ends:
        interval = hierarchical_mean(ends, differences=quantity.linearised)
    name, words, files = name_of(group), quantity.words, measured_files(group)
    return held(
        name,
        words,
        interval,
        expected,
        files,
        unit=quantity.unit,
        factor=100,
        setups=(group,),
    )


def of_pair(first: Group, second: Group, quantity: Quantity, expected: Expected) -> Finding:
    """A held-out quantity of the first setup minus that of the second, on the same problems."""
    ours, theirs = _values(first, quantity), _values(second, quantity)
    interval = _UNDEFINED
    if ours and theirs:
        differences = quantity.linearised or ours[0][1] is not None
        interval = two_sample_delta(
            _combined(second, theirs), _combined(first, ours), differences=differences
        )
    return held(
        f"{name_of(first)} minus {name_of(second)}",
        f"difference in {quantity.words}",
        interval,
        expected,
        measured_files(first) + measured_files(second),
        unit=quantity.unit,
        factor=100,
        setups=(first, second),
    )


def _values(group: Group, quantity: Quantity) -> list[Values]:
    """Values of each seed; empty if the quantity is undefined for any of them."""
    found = [quantity.measure(suite) for suite in measured(group)]
    whole = [value for value in found if value is not None]
    return whole if len(whole) == len(found) else []


def _combined(group: Group, found: Sequence[Values]) -> list[Outcomes]:
    """Values of each seed or base minus those to subtract, if there are any."""
    runs = [result.run for result in group.runs]
    return per_base(runs, [end if start is None else end - start for end, start in found])


def of_trend(group: Group, metric: str, expected: Expected) -> Finding:
    """Change of a metric of the trainer from the first to the last step, along its trend.

    A training that diverged has none, whatever its metrics were before.
    """
    words = diverged(group)
    interval = (
        _UNDEFINED
        if words
        else trend(
            [series(run, metric) for run in group.runs], [run.run.base_seed for run in group.runs]
        )
    )
    what, files = f"trend of {metric}", logged_files(group)
    return held(
        name_of(group),
        what,
        interval,
        expected,
        files,
        undefined=words or "undefined",
        setups=(group,),
    )


def diverged(group: Group) -> str:
    """Which training of a setup diverged, and where; empty if none did."""
    found = (f"{run.diverged}, seed {run.run.seed}" for run in group.runs if run.diverged)
    return next(found, "")


def series(result: RunResults, metric: str) -> Series:
    """Steps and values of a metric, ordered by step; empty if it was not logged."""
    rows = result.training.filter(result.training["metric"] == metric).sort("step")
    return rows["step"].to_numpy(), rows["value"].to_numpy()


def first_unlogged(group: Group, metrics: Iterable[str]) -> str | None:
    """The first of some metrics that not all runs of a setup logged."""
    for metric in metrics:
        if any(not len(series(result, metric)[0]) for result in group.runs):
            return metric
    return None


def logged_files(group: Group) -> tuple[Path, ...]:
    """Files of the trainings of a setup."""
    return tuple(path for run in group.runs for path in (run.model.source, run.model.metrics))


def measured_files(group: Group) -> tuple[Path, ...]:
    """Files of the models of a setup and of their evaluations."""
    models = tuple(run.model.source for run in group.runs)
    return models + tuple(item.source for suite in measured(group) for item in suite.evaluations)
