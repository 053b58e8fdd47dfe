"""The tests that claims name: what the runs show of a claim, setup by setup."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from scipy import stats

from r1zero.plan.cost import disk_of
from r1zero.plan.layout import Layout
from r1zero.plan.machine import find_machine
from r1zero.plan.search import lay_out
from r1zero.report.claim_findings import (
    Finding,
    Number,
    bounded,
    certain,
    first_values,
    held,
    logged_files,
    of_pair,
    of_setup,
    of_trend,
    unlogged,
)
from r1zero.report.claim_groups import fitting, name_of, pairs, setting
from r1zero.report.inputs import RunResults
from r1zero.report.measures import Group
from r1zero.report.statistics import CONFIDENCE, Interval
from r1zero.settings import Hardware, RunSettings, Sources, load_sources, resolve_run
from r1zero.settings.claims import (
    Change,
    Claim,
    Contrast,
    Disk,
    Logged,
    Scaling,
    Trend,
)
from r1zero.settings.sources import HubModel


@dataclass(frozen=True)
class Evidence:
    """What a test found."""

    findings: tuple[Finding, ...] = ()
    missing: str = ""
    """What there is none of, where there are no findings."""
    left_out: tuple[Finding, ...] = ()
    """What had to be given of setups and was not settled, so that they say nothing."""


@dataclass(frozen=True)
class Configured:
    """The configuration, for claims on what is planned."""

    folder: Path
    """Folder with the recipes."""
    sources: Sources
    table: Path
    """File that the sources stand in."""

    @classmethod
    def of(cls, folder: Path) -> Self:
        """A folder's own."""
        return cls(folder, load_sources(folder), folder / "sources.yaml")


def run_test(claim: Claim, runs: Sequence[RunResults], configured: Configured) -> Evidence:
    """Apply the test of a claim to runs."""
    return _TESTS[claim.test](claim, runs, configured)


def _change(claim: Claim, runs: Sequence[RunResults], _: Configured) -> Evidence:
    options: Change = claim.options
    found, missing = fitting(claim.needs, runs)
    findings, left_out = [], []
    for group in found:
        given = (held(of_setup(group, key), expect) for key, expect in options.given.items())
        if unmet := _first_unmet(given):
            left_out.append(unmet)
        else:
            findings.append(held(of_setup(group, options.quantity), options.expect))
    return Evidence(tuple(findings), missing, tuple(left_out))


def _contrast(claim: Claim, runs: Sequence[RunResults], _: Configured) -> Evidence:
    options: Contrast = claim.options
    found, missing = fitting(claim.needs, runs)
    compared = pairs(options, found)
    findings, left_out = [], []
    for first, second in compared:
        own, other = (of_setup(group, options.quantity) for group in (first, second))
        if options.given_first and (unmet := _first_unmet([held(own, options.given_first)])):
            left_out.append(unmet)
            continue
        findings.append(held(of_pair(first, second, options.quantity), options.expect))
        if options.expect_second:
            findings.append(held(other, options.expect_second))
    if found and not compared:
        missing = f"pair of setups that differ in {_apart(options)} alone"
    return Evidence(tuple(findings), missing, tuple(left_out))


def _apart(options: Contrast) -> str:
    """In words: where the two sides of a contrast differ."""
    apart = [f"{key} ({one} and {options.second[key]})" for key, one in options.first.items()]
    apart += [f"{key} ({value:g} : 1)" for key, value in options.ratio.items()]
    return options.across or " and ".join(apart)


def _trend(claim: Claim, runs: Sequence[RunResults], _: Configured) -> Evidence:
    options: Trend = claim.options
    found, missing = fitting(claim.needs, runs)
    findings, left_out = [], []
    for group in found:
        wanted = [*options.metrics, *options.given, *options.starts_at]
        if absent := next(unlogged(group, wanted), None):
            missing = f"run that logs {absent}"
            continue
        given = (held(of_trend(group, key), expect) for key, expect in options.given.items())
        if unmet := _first_unmet(given):
            left_out.append(unmet)
            continue
        findings += [held(of_trend(group, key), item) for key, item in options.metrics.items()]
        findings += [
            first_values(group, metric, value, options.tolerance)
            for metric, value in options.starts_at.items()
        ]
    return Evidence(tuple(findings), missing, tuple(left_out))


def _logged(claim: Claim, runs: Sequence[RunResults], _: Configured) -> Evidence:
    options: Logged = claim.options
    found, missing = fitting(claim.needs, runs)
    findings = []
    for group in found:
        if absent := next(unlogged(group, list(options.bounds)), None):
            missing = f"run that logs {absent}"
        else:
            findings.append(bounded(group, options.bounds))
    return Evidence(tuple(findings), missing)


def _first_unmet(given: Iterable[Finding]) -> Finding | None:
    return next((finding for finding in given if finding.settled != "yes"), None)


def _disk(claim: Claim, _: Sequence[RunResults], configured: Configured) -> Evidence:
    options: Disk = claim.options
    run = _planned(options.recipe, configured)
    source = configured.sources.models.get(run.model)
    architecture = source.architecture if isinstance(source, HubModel) else None
    hardware = Hardware(gpus=options.gpus, gpu=options.gpu)
    layout = lay_out(run, find_machine(hardware), architecture, hardware)
    subject = f"{options.recipe} on {options.gpus} x {options.gpu}"
    if architecture is None or not isinstance(layout, Layout):
        return Evidence(missing=f"plan of {subject}")
    disk = disk_of(run, layout, architecture)
    each, size = (disk.weights + disk.optimizer) / 1e9, disk.everything / 1e9
    return Evidence(
        (
            certain(
                subject,
                "size of all checkpoints",
                size > options.over_gb,
                f"{disk.checkpoints} checkpoints of {each:.1f} GB are {size:.0f} GB",
                configured.folder / "recipes" / f"{options.recipe}.yaml",
                configured.table,
            ),
        )
    )


def _planned(recipe: str, configured: Configured) -> RunSettings:
    """A recipe as it was published."""
    return resolve_run(recipe, scale="paper", backend="trl", seed=0, folder=configured.folder)


def _scaling(claim: Claim, runs: Sequence[RunResults], configured: Configured) -> Evidence:
    options: Scaling = claim.options
    found, missing = fitting(claim.needs, runs)
    sides = [
        next((group for group in found if group.run.recipe == name), None)
        for name in (options.fewer, options.more)
    ]
    fewer, more = sides
    if fewer is None or more is None:
        planned = (
            _planned(name, configured).sizes.max_steps for name in (options.fewer, options.more)
        )
        counts = " and ".join(f"{count:,}" for count in planned)
        missing = missing or f"pair of {options.fewer} and {options.more}"
        return Evidence(missing=f"{missing} (planned: {counts} steps)")
    cards = _cards(fewer), _cards(more)
    if cards[0] is None or cards[1] != options.cards * cards[0]:
        return Evidence(missing=f"pair of these on {options.cards:g} times the cards")
    steps = [setting(group, "sizes.max_steps") for group in (fewer, more)]
    subject = f"{name_of(more)} beside {name_of(fewer)}"
    files = logged_files(fewer) + logged_files(more)
    counted = certain(
        subject,
        "optimizer steps",
        steps[1] == options.steps * steps[0],
        f"{steps[0]} become {steps[1]}",
        *files,
    )
    timed = Number(subject, "training time", _time_ratio(fewer, more), "times", files)
    return Evidence((counted, held(timed, options.time)))


def _cards(group: Group) -> int | None:
    """GPUs that all runs of a setup trained on; None where they differ."""
    found = {result.model.gpus for result in group.runs}
    return found.pop() if len(found) == 1 else None


def _time_ratio(fewer: Group, more: Group) -> Interval:
    """Training time of one setup in that of another: Welch's interval on logarithms over seeds."""
    ours, theirs = (np.log([run.model.train_seconds for run in g.runs]) for g in (more, fewer))
    estimate = math.exp(float(ours.mean() - theirs.mean()))
    if min(len(ours), len(theirs)) < 2:
        return Interval(estimate, math.nan, math.nan)
    limits = stats.ttest_ind(ours, theirs, equal_var=False).confidence_interval(CONFIDENCE)
    return Interval(estimate, math.exp(limits.low), math.exp(limits.high))


_TESTS: Mapping[str, Callable[[Claim, Sequence[RunResults], Configured], Evidence]] = {
    "change": _change,
    "contrast": _contrast,
    "trend": _trend,
    "logged": _logged,
    "disk": _disk,
    "scaling": _scaling,
}
