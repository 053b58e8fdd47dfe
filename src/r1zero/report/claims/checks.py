"""Tests that claims share: what setups show about a quantity, a metric or a plan."""

import math
from collections.abc import Iterable, Mapping

import numpy as np
from scipy import stats

from r1zero.plan.cost import disk_of
from r1zero.plan.layout import Layout
from r1zero.plan.machine import find_machine
from r1zero.plan.search import lay_out
from r1zero.report.claims.base import Configured, Evidence, Setups
from r1zero.report.claims.findings import (
    Expected,
    Finding,
    bounded,
    certain,
    first_unlogged,
    first_values,
    held,
    logged_files,
    name_of,
    of_pair,
    of_setup,
    of_trend,
)
from r1zero.report.claims.quantities import Quantity
from r1zero.report.claims.selection import Arms, pairs
from r1zero.report.statistics.intervals import CONFIDENCE, Interval
from r1zero.report.statistics.measures import Group
from r1zero.settings import Hardware, RunSettings, resolve_run
from r1zero.settings.sources import HubModel


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
        preconditions = (of_setup(group, q, e) for q, e in (given or {}).items())
        if unmet := _first_unmet(preconditions):
            left_out.append(unmet)
        else:
            findings.append(of_setup(group, quantity, expected))
    return Evidence(tuple(findings), left_out=tuple(left_out))


def contrast(
    setups: Setups,
    arms: Arms,
    quantity: Quantity,
    expected: Expected,
    *,
    given_first: Expected | None = None,
    expected_second: Expected | None = None,
) -> Evidence:
    """Whether the difference of a quantity between two setups, first minus second, is as expected.

    Args:
        setups: The setups, among which pairs are looked for.
        arms: How the setups of a pair differ; in everything else they are the same.
        quantity: What is measured on the held-out problems.
        expected: Where the claim puts the difference.
        given_first: Where the quantity of the first setup has to lie, or the pair is left out.
        expected_second: Where the claim puts the quantity of the second setup.

    """
    compared = pairs(arms, setups.groups)
    findings, left_out = [], []
    for first, second in compared:
        if given_first and (unmet := _first_unmet([of_setup(first, quantity, given_first)])):
            left_out.append(unmet)
            continue
        findings.append(of_pair(first, second, quantity, expected))
        if expected_second:
            findings.append(of_setup(second, quantity, expected_second))
    missing = "" if compared else f"pair of setups that differ in {arms} alone"
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
            findings += [
                first_values(group, metric, value, tolerance) for metric, value in starts_at.items()
            ]
    return Evidence(tuple(findings), missing, tuple(left_out))


def bounds(setups: Setups, limits: Mapping[str, tuple[float, float]]) -> Evidence:
    """Whether metrics of the trainer stay between a least and a greatest value at every step."""
    findings = []
    missing = ""
    for group in setups.groups:
        if absent := first_unlogged(group, limits):
            missing = f"run that logs {absent}"
        else:
            findings.append(bounded(group, limits))
    return Evidence(tuple(findings), missing)


def _first_unmet(preconditions: Iterable[Finding]) -> Finding | None:
    return next((finding for finding in preconditions if finding.settled != "yes"), None)


def checkpoint_size(
    configured: Configured, recipe: str, *, gpus: int, gpu: str, over_gb: float
) -> Evidence:
    """Whether all checkpoints of a recipe at scale paper exceed a size, by its plan.

    Args:
        configured: The configuration.
        recipe: The recipe.
        gpus: GPUs that it is planned for.
        gpu: Their kind, such as `h100-80g`.
        over_gb: The size in 10^9 bytes.

    """
    run = _published(recipe, configured)
    source = configured.sources.models.get(run.model)
    architecture = source.architecture if isinstance(source, HubModel) else None
    hardware = Hardware(gpus=gpus, gpu=gpu)
    layout = lay_out(run, find_machine(hardware), architecture, hardware)
    subject = f"{recipe} on {gpus} x {gpu}"
    if architecture is None or not isinstance(layout, Layout):
        return Evidence(missing=f"plan of {subject}")
    disk = disk_of(run, layout, architecture)
    each, size = (disk.weights + disk.optimizer) / 1e9, disk.everything / 1e9
    finding = certain(
        subject,
        "size of all checkpoints",
        size > over_gb,
        f"{disk.checkpoints} checkpoints of {each:.1f} GB are {size:.0f} GB",
        configured.folder / "recipes" / f"{recipe}.yaml",
        configured.table,
    )
    return Evidence((finding,))


def scaling(
    setups: Setups, fewer: str, more: str, *, gpus: float, steps: float, time: Expected
) -> Evidence:
    """Steps and training time of a recipe on more GPUs, relative to those on fewer.

    Args:
        setups: The setups, among which the two recipes are looked for.
        fewer: Recipe on fewer GPUs.
        more: Recipe on more GPUs.
        gpus: Ratio of the numbers of GPUs.
        steps: Ratio of the optimizer steps that the claim says.
        time: Where the claim puts the ratio of the training times.

    """
    found = {group.run.recipe: group for group in reversed(setups.groups)}
    if fewer not in found or more not in found:
        planned = [_published(name, setups.configured).sizes.max_steps for name in (fewer, more)]
        counts = " and ".join(f"{count:,}" for count in planned)
        return Evidence(missing=f"pair of {fewer} and {more} (planned: {counts} steps)")
    one, other = found[fewer], found[more]
    on_one, on_other = _gpus(one), _gpus(other)
    if on_one is None or on_other != gpus * on_one:
        return Evidence(missing=f"pair of these on {gpus:g} times the GPUs")
    subject = f"{name_of(other)} beside {name_of(one)}"
    files = logged_files(one) + logged_files(other)
    before, after = (group.settings["sizes.max_steps"] for group in (one, other))
    counted = certain(
        subject, "optimizer steps", after == steps * before, f"{before} become {after}", *files
    )
    ratio = _time_ratio(one, other)
    timed = held(subject, "training time", ratio, time, files, unit="times")
    return Evidence((counted, timed))


def _published(recipe: str, configured: Configured) -> RunSettings:
    """A recipe as it was published."""
    return resolve_run(recipe, scale="paper", backend="trl", seed=0, folder=configured.folder)


def _gpus(group: Group) -> int | None:
    """GPUs that all runs of a setup were trained on; None if the runs differ."""
    found = {result.model.gpus for result in group.runs}
    return found.pop() if len(found) == 1 else None


def _time_ratio(one: Group, other: Group) -> Interval:
    """Training time of the second setup relative to the first.

    Welch's interval for the difference of the logarithms, over the seeds.
    """
    base, ours = (np.log([run.model.train_seconds for run in g.runs]) for g in (one, other))
    estimate = math.exp(float(ours.mean() - base.mean()))
    if min(len(ours), len(base)) < 2:
        return Interval(estimate, math.nan, math.nan)
    limits = stats.ttest_ind(ours, base, equal_var=False).confidence_interval(CONFIDENCE)
    return Interval(estimate, math.exp(limits.low), math.exp(limits.high))
