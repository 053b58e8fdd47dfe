"""Tests that claims share: what setups show about a quantity, a metric or a plan."""

import math
from collections.abc import Iterable, Mapping
from math import isfinite

import numpy as np
from scipy import stats

from r1zero.report.claims.base import Configured, Evidence, Setups
from r1zero.report.claims.findings import (
    Expected,
    Finding,
    certain,
    diverged,
    first_unlogged,
    logged_files,
    name_of,
    of_pair,
    of_setup,
    of_trend,
    series,
)
from r1zero.report.claims.quantities import Quantity
from r1zero.report.claims.selection import pairs
from r1zero.report.statistics.intervals import CONFIDENCE, Interval
from r1zero.report.statistics.measures import Group
from r1zero.settings import RunSettings, resolve_run


def change(
    setups: Setups,
    quantity: Quantity,
    expected: Expected,
    *,
    given: Mapping[Quantity, Expected] | None = None,
) -> Evidence:
    """Whether a held-out quantity of each setup lies where it is expected.

    Args:
        setups: The setups.
        quantity: What is measured, from step 0 to the last evaluated step.
        expected: Where the claim puts it.
        given: Other quantities that have to be settled, or the setup is left out.

    """
    findings, left_out = [], []
    for group in setups.groups:
        if unmet := _first_unmet(of_setup(group, q, e) for q, e in (given or {}).items()):
            left_out.append(unmet)
        else:
            findings.append(of_setup(group, quantity, expected))
    return Evidence(tuple(findings), left_out=tuple(left_out))


def contrast(
    setups: Setups,
    quantity: Quantity,
    expected: Expected,
    *,
    given_first: Expected | None = None,
    expected_second: Expected | None = None,
) -> Evidence:
    """Whether the difference of a quantity between two setups, first minus second, is as expected.

    Args:
        setups: The setups, among which pairs are looked for, and how those of a pair differ.
        quantity: What is measured on the held-out problems.
        expected: Where the claim puts the difference.
        given_first: Where the quantity of the first setup has to lie, or the pair is left out.
        expected_second: Where the claim puts the quantity of the second setup.

    """
    compared = pairs(setups.arms, setups.groups)
    findings, left_out = [], []
    for first, second in compared:
        if given_first and (unmet := _first_unmet([of_setup(first, quantity, given_first)])):
            left_out.append(unmet)
            continue
        findings.append(of_pair(first, second, quantity, expected))
        if expected_second:
            findings.append(of_setup(second, quantity, expected_second))
    missing = "" if compared else f"pair of setups that differ in {setups.arms} alone"
    return Evidence(tuple(findings), missing, tuple(left_out))


def trends(
    setups: Setups,
    metrics: Mapping[str, Expected],
    *,
    given: Mapping[str, Expected] | None = None,
    starts_at: Mapping[str, float] | None = None,
    tolerance: float = 0.0,
) -> Evidence:
    """Whether the trends of what the trainer logged are as expected.

    Args:
        setups: The setups.
        metrics: Where the claim puts the change of metrics of `metrics.jsonl`, in their own units.
        given: Changes of metrics that have to be settled, or the setup is left out.
        starts_at: Values of metrics at the first step.
        tolerance: Largest difference from `starts_at`.

    """
    given, starts_at = given or {}, starts_at or {}
    findings: list[Finding] = []
    left_out = []
    missing = ""
    for group in setups.groups:
        if absent := first_unlogged(group, [*metrics, *given, *starts_at]):
            missing = f"run that logs {absent}"
        elif unmet := _first_unmet(of_trend(group, key, e) for key, e in given.items()):
            left_out.append(unmet)
        else:
            findings += [of_trend(group, key, item) for key, item in metrics.items()]
            findings += [_starts(group, key, at, tolerance) for key, at in starts_at.items()]
    return Evidence(tuple(findings), missing, tuple(left_out))


def _starts(group: Group, metric: str, wanted: float, tolerance: float) -> Finding:
    """Whether a metric has the wanted value at the first step, in all seeds.

    A training that diverged leaves it open: where it begins to is not known.
    """
    found = [float(series(result, metric)[1][0]) for result in group.runs]
    furthest = max(found, key=lambda value: abs(value - wanted))
    broken = diverged(group)
    return certain(
        name_of(group),
        f"{metric} at the first step",
        None if broken else abs(furthest - wanted) <= tolerance,
        broken or f"{furthest:.1e}",
        *logged_files(group),
    )


def bounds(
    setups: Setups, limits: Mapping[str, tuple[float, float]], *, fewest_steps: int
) -> Evidence:
    """Whether metrics of the trainer stay between a least and a greatest value at every step.

    A value outside contradicts it. If there is none, a training that diverged leaves it open, since
    not all metrics are logged where the loss is not finite, and so do too few logged steps.

    Args:
        setups: The setups.
        limits: Least and greatest value of metrics of `metrics.jsonl`.
        fewest_steps: Fewest logged steps of each run.

    """
    findings = []
    missing = ""
    quantity = f"bounds of {' and '.join(limits)}"
    for group in setups.groups:
        if absent := first_unlogged(group, limits):
            missing = f"run that logs {absent}"
            continue
        outside, logged = "", []
        for result in group.runs:
            logged.append(min(len(series(result, metric)[0]) for metric in limits))
            for metric, (low, high) in limits.items():
                for step, value in zip(*series(result, metric), strict=True):
                    if not (low <= value <= high or outside) and isfinite(value):
                        outside = f"{metric} is {value:.3g} at step {step}, seed {result.run.seed}"
        broken = diverged(group)
        is_so = False if outside else None if broken or min(logged) < fewest_steps else True
        figures = outside or broken or f"{sum(logged)} logged steps"
        findings.append(certain(name_of(group), quantity, is_so, figures, *logged_files(group)))
    return Evidence(tuple(findings), missing)


def _first_unmet(preconditions: Iterable[Finding]) -> Finding | None:
    return next((finding for finding in preconditions if finding.settled != "yes"), None)


def published_run(recipe: str, configured: Configured) -> RunSettings:
    """A recipe as it was published."""
    return resolve_run(recipe, scale="paper", backend="trl", seed=0, folder=configured.folder)


def gpus_of(group: Group) -> int | None:
    """GPUs that all runs of a setup were trained on; None if the runs differ."""
    found = {result.model.gpus for result in group.runs}
    return found.pop() if len(found) == 1 else None


def time_ratio(one: Group, other: Group) -> Interval:
    """Training time of the second setup relative to the first.

    Welch's interval for the difference of the logarithms, over the seeds.
    """
    base, ours = (np.log([run.model.train_seconds for run in g.runs]) for g in (one, other))
    estimate = math.exp(float(ours.mean() - base.mean()))
    if min(len(ours), len(base)) < 2:
        return Interval(estimate, math.nan, math.nan)
    test = stats.ttest_ind(ours, base, equal_var=False)
    limits = test.confidence_interval(CONFIDENCE)
    low, high = math.exp(limits.low), math.exp(limits.high)
    return Interval(estimate, low, high, float(test.df), seed_share=1.0)
