"""The section on the weights of a separate generator: whether vLLM had those of the trainer."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import polars as pl

from r1zero.core.formatting import listed, plural
from r1zero.report.paper import figures
from r1zero.report.paper.document import Figure, Part, Table
from r1zero.report.results.inputs import Run, RunResults
from r1zero.report.statistics.measures import Group

_NUMERIC = {
    *("seed", "checks", "largest difference", "at step", "tolerance", "of the completions"),
}


class _Trace(NamedTuple):
    """What a run logged; differences of log-probabilities are in nats per token."""

    result: RunResults
    checks: int
    largest: float
    step: int
    """Step of the largest difference."""
    tolerance: float
    """Lowest that was in force; NaN where the run did not log it."""
    completions: float
    """Largest mean difference of a step's completions; NaN where it was not logged."""


def weight_sync(groups: Sequence[Group], names: Mapping[Run, str]) -> Part | None:
    """Make the section; None if no run has a generator that weights are sent to."""
    traces = [found for group in groups for run in group.runs if (found := _trace(run))]
    if not traces:
        return None
    traced = {each.result.run for each in traces}
    members = [group for group in groups if any(run.run in traced for run in group.runs)]
    worst = max(traces, key=lambda each: each.largest)
    tolerances = listed(_nats(each.tolerance) for each in traces)
    text = (
        f"vLLM generated the rollouts of {listed(names[each.result.run] for each in traces)}. It"
        " gets the weights of the trainer before it generates. In"
        f" {plural(sum(each.checks for each in traces), 'check')} the trainer held vLLM's"
        " log-probabilities of fixed prompts against its own. The largest mean difference was"
        f" {_nats(worst.largest)} nats per token ({names[worst.result.run]}, seed"
        f" {worst.result.run.seed}, step {worst.step}); a training stops above the tolerance,"
        f" {tolerances}."
    )
    files = tuple(each.result.model.metrics for each in traces)
    figure = Figure(
        name="weight_sync",
        title="Log-probabilities of vLLM and of the trainer",
        caption=(
            "Mean absolute difference of log-probabilities: points on fixed prompts, light lines on"
            " the completions of each step. Dashed: the tolerance, above which a training stops."
        ),
        chart=figures.weight_sync(members, dict(names)),
        files=files,
    )
    return Part(
        "weight-sync", "Weights of the generator", (text,), (_table(traces, names),), (figure,)
    )


def _trace(result: RunResults) -> _Trace | None:
    checks = _logged(result, figures.SYNC_DIFFERENCE).sort("value", "step")
    if checks.is_empty():
        return None
    step, largest = checks.row(-1)
    tolerance = _logged(result, figures.SYNC_TOLERANCE)["value"].min()
    completions = _logged(result, figures.SAMPLING_DIFFERENCE)["value"].max()
    return _Trace(
        result,
        checks.height,
        largest,
        step,
        math.nan if tolerance is None else float(tolerance),  # type: ignore[arg-type]
        math.nan if completions is None else float(completions),  # type: ignore[arg-type]
    )


def _logged(result: RunResults, metric: str) -> pl.DataFrame:
    """Steps and values of a metric."""
    found = (pl.col("metric") == metric) & pl.col("value").is_finite()
    return result.training.filter(found).select("step", "value")


def _table(traces: Sequence[_Trace], names: Mapping[Run, str]) -> Table:
    return Table.of(
        "weight_sync",
        "Checks of the generator's weights",
        "Differences are means of absolute differences of log-probabilities, in nats per token: on"
        " the fixed prompts of the checks, and on the completions of the step where they are"
        " largest.",
        [
            {
                "recipe": names[each.result.run],
                "seed": str(each.result.run.seed),
                "checks": str(each.checks),
                "largest difference": _nats(each.largest),
                "at step": str(each.step),
                "tolerance": _nats(each.tolerance),
                "of the completions": _nats(each.completions),
            }
            for each in traces
        ],
        [
            {
                **each.result.run.setup,
                "seed": each.result.run.seed,
                "checks": each.checks,
                "largest_difference": each.largest,
                "step": each.step,
                "tolerance": each.tolerance,
                "completions_difference": each.completions,
            }
            for each in traces
        ],
        numeric=_NUMERIC,
        files=(each.result.model.metrics for each in traces),
    )


def _nats(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3g}"
