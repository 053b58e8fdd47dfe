"""Findings: a number of a setup, or of a pair of them, held against where a claim puts it."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from scipy import stats

from r1zero.report.claim_groups import measured, name_of
from r1zero.report.claim_quantities import QUANTITIES, Values
from r1zero.report.inputs import RunResults
from r1zero.report.measures import Group
from r1zero.report.statistics import (
    CONFIDENCE,
    Interval,
    Outcomes,
    Series,
    hierarchical_delta,
    hierarchical_mean,
    trend,
    two_sample_delta,
    verdict,
)
from r1zero.report.text import signed
from r1zero.settings.claims import Expected, Quantity

NOTHING = Interval(math.nan, math.nan, math.nan)


@dataclass(frozen=True)
class Number:
    """A number with its interval, and what it is of."""

    subject: str
    """The setup, or the pair of them."""
    quantity: str
    """What is measured, in words."""
    interval: Interval
    unit: str
    files: tuple[Path, ...]
    factor: float = 1.0
    """Takes the interval to the unit."""
    undefined: str = "undefined"
    """What is said where there is no estimate."""


@dataclass(frozen=True)
class Finding:
    """What one setup, or one pair, shows of a claim."""

    subject: str
    quantity: str
    settled: Literal["yes", "no", "unsettled"]
    against: float
    """One-sided p-value of the claimed: small where the data speak for its opposite."""
    figures: str
    """The numbers in words."""
    files: tuple[Path, ...]
    interval: Interval | None = None
    """In `unit`; None for what has no sampling error."""
    unit: str = ""


def held(number: Number, expect: Expected) -> Finding:
    """Hold a number against where a claim puts it."""
    interval = number.interval
    wanted, border = _border(interval, expect)
    margin = -border if wanted == "below" else abs(border) if wanted == "within" else border
    scaled = Interval(
        interval.estimate * number.factor,
        interval.low * number.factor,
        interval.high * number.factor,
    )
    return Finding(
        number.subject,
        number.quantity,
        verdict(interval, wanted=wanted, margin=margin),
        _against(interval, wanted, border),
        number.undefined if math.isnan(interval.estimate) else _figures(scaled, number.unit),
        number.files,
        scaled,
        number.unit,
    )


def certain(subject: str, quantity: str, is_so: bool, figures: str, *files: Path) -> Finding:
    """A finding without sampling error: what was computed or logged is as claimed, or is not."""
    settled: Literal["yes", "no"] = "yes" if is_so else "no"
    return Finding(subject, quantity, settled, float(is_so), figures, files)


def _border(
    interval: Interval, expect: Expected
) -> tuple[Literal["above", "below", "within"], float]:
    """On which side the claim puts a number, and of which border: the nearer one for `within`."""
    if expect.within is not None:
        return "within", math.copysign(expect.within, interval.estimate)
    if expect.below is not None:
        return "below", expect.below
    return "above", expect.above or 0.0


def _against(interval: Interval, wanted: str, border: float) -> float:
    """One-sided p-value of the claimed: 2.5 % where the interval just lies beyond the border.

    As if the estimate were normal, with the error that the limit on the side of the border shows.
    """
    if math.isnan(interval.low) or math.isnan(interval.high):
        return 1.0
    beyond = border - interval.estimate
    error = interval.high - interval.estimate if beyond > 0 else interval.estimate - interval.low
    if wanted == "below" or (wanted == "within" and border > 0):
        beyond = -beyond
    if error == 0:
        return float(beyond <= 0)
    return float(stats.norm.sf(beyond / error * stats.norm.isf((1 - CONFIDENCE) / 2)))


def _figures(interval: Interval, unit: str) -> str:
    shown = signed if unit else _signed_digits
    estimate = f"{shown(interval.estimate)} {unit}".rstrip()
    if math.isnan(interval.low) or math.isnan(interval.high):
        return f"{estimate}, without an interval"
    return f"{estimate} [{shown(interval.low)}, {shown(interval.high)}]"


def _signed_digits(value: float) -> str:
    """Three digits with a sign: metrics of the trainer have any size."""
    return f"{value:+.3g}".replace("-", "−")


def of_setup(group: Group, quantity: Quantity) -> Number:
    """A held-out quantity of a setup, over its seeds and the problems; NaN where undefined."""
    about = QUANTITIES[quantity]
    found = _values(group, quantity)
    starts = [start for _, start in found if start is not None]
    ends = [end for end, _ in found]
    if not found:
        interval = NOTHING
    elif starts:
        interval = hierarchical_delta(starts, ends)
    else:
        interval = hierarchical_mean(ends, differences=about.linearised)
    files = measured_files(group)
    return Number(name_of(group), about.words, interval, about.unit, files, about.factor)


def of_pair(first: Group, second: Group, quantity: Quantity) -> Number:
    """The same of one setup minus that of another, on the same problems."""
    about = QUANTITIES[quantity]
    ours, theirs = _values(first, quantity), _values(second, quantity)
    interval = NOTHING
    if ours and theirs:
        differences = about.linearised or ours[0][1] is not None
        interval = two_sample_delta(_taken_off(theirs), _taken_off(ours), differences=differences)
    return Number(
        f"{name_of(first)} minus {name_of(second)}",
        f"difference in {about.words}",
        interval,
        about.unit,
        measured_files(first) + measured_files(second),
        about.factor,
    )


def _values(group: Group, quantity: Quantity) -> list[Values]:
    """Values of each seed; none where the quantity is undefined for any of them."""
    found = [QUANTITIES[quantity].measure(suite) for suite in measured(group)]
    whole = [value for value in found if value is not None]
    return whole if len(whole) == len(found) else []


def _taken_off(found: Sequence[Values]) -> list[Outcomes]:
    return [end if start is None else end - start for end, start in found]


def of_trend(group: Group, metric: str) -> Number:
    """Change of a metric of the trainer from the first to the last step, along its trend.

    A training that diverged has none, however it went before.
    """
    quantity, files = f"trend of {metric}", logged_files(group)
    if words := _diverged(group):
        return Number(name_of(group), quantity, NOTHING, "", files, undefined=words)
    found = [series(result, metric) for result in group.runs]
    return Number(name_of(group), quantity, trend(found), "", files)


def first_values(group: Group, metric: str, wanted: float, tolerance: float) -> Finding:
    """Whether a metric has a value at the first step, in all seeds."""
    found = [float(series(result, metric)[1][0]) for result in group.runs]
    furthest = max(found, key=lambda value: abs(value - wanted))
    return certain(
        name_of(group),
        f"{metric} at the first step",
        not _diverged(group) and abs(furthest - wanted) <= tolerance,
        f"{furthest:.1e}",
        *logged_files(group),
    )


def bounded(group: Group, bounds: dict[str, tuple[float, float]]) -> Finding:
    """Whether metrics keep their bounds at every logged step of all seeds.

    A training that diverged doesn't: metrics that are no number aren't logged.
    """
    steps = 0
    outside = _diverged(group)
    for result, metric in ((result, metric) for result in group.runs for metric in bounds):
        low, high = bounds[metric]
        for step, value in zip(*series(result, metric), strict=True):
            steps += metric == next(iter(bounds))
            if not (low <= value <= high or outside):
                outside = f"{metric} is {value:.3g} at step {step}, seed {result.run.seed}"
    figures = outside or f"{steps} logged steps"
    quantity = f"bounds of {' and '.join(bounds)}"
    return certain(name_of(group), quantity, not outside, figures, *logged_files(group))


def _diverged(group: Group) -> str:
    """Which training of a setup diverged, and where; empty if none did."""
    found = (f"{run.diverged}, seed {run.run.seed}" for run in group.runs if run.diverged)
    return next(found, "")


def series(result: RunResults, metric: str) -> Series:
    """Steps and values of a metric, in the order of the steps; empty where it wasn't logged."""
    rows = result.training.filter(result.training["metric"] == metric).sort("step")
    return rows["step"].to_numpy(), rows["value"].to_numpy()


def unlogged(group: Group, metrics: Sequence[str]) -> Iterator[str]:
    """Metrics that some run of a setup did not log."""
    for metric in metrics:
        if any(not len(series(result, metric)[0]) for result in group.runs):
            yield metric


def logged_files(group: Group) -> tuple[Path, ...]:
    """Files of the trainings of a setup."""
    return tuple(path for run in group.runs for path in (run.model.source, run.model.metrics))


def measured_files(group: Group) -> tuple[Path, ...]:
    """Files of the evaluations of a setup, and of the models that they are of."""
    models = tuple(run.model.source for run in group.runs)
    return models + tuple(item.source for suite in measured(group) for item in suite.evaluations)
