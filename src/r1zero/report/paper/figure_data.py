"""The rows that the figures draw: series by step or by k, with their intervals."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import polars as pl

from r1zero.report.results.inputs import Run
from r1zero.report.statistics.intervals import Interval, hierarchical_mean
from r1zero.report.statistics.measures import Group, factor, per_base, runs_of, values
from r1zero.rewards.functions import known_reward_functions

# Training metrics in learning curves are moving means over this share of the steps.
_SMOOTHED_SHARE = 0.05
# Distance between the bars of a step as a share of the steps, and the most for all bars of a step.
_APART, _APART_AT_MOST = 0.012, 0.036
# Points of a line of the trainer's metrics, more than it has pixels.
_MOST_POINTS = 400

Row: TypeAlias = dict[str, Any]
Names: TypeAlias = Mapping[Run, str]


def smoothing(groups: Sequence[Group]) -> int:
    """Number of logged steps in the moving means of a learning curve."""
    steps = max(result.training_steps for group in groups for result in group.runs)
    return max(1, round(_SMOOTHED_SHARE * steps))


def held_out_points(groups: Sequence[Group], names: Names, suite: str, measure: str) -> list[Row]:
    """Mean of a measure over seeds and problems, with its interval, at each evaluated step.

    `shown_step` shifts the series a little, so that the bars of one step do not overlap.
    """
    times = factor(measure)
    found = [(group, group.means(suite, measure)) for group in groups]
    last = max((step for _, means in found for step in means), default=0)
    apart = last * min(_APART, _APART_AT_MOST / max(1, len(found) - 1))
    return [
        {
            "series": names[group.run],
            "step": step,
            "shown_step": step + apart * (index - (len(found) - 1) / 2),
            "value": mean.estimate * times,
            **limits_of(mean, times),
        }
        for index, (group, means) in enumerate(found)
        for step, mean in means.items()
    ]


def seed_points(groups: Sequence[Group], names: Names, suite: str, measure: str) -> list[Row]:
    """Mean over the problems at each evaluated step, by seed; only for groups of several seeds."""
    return [
        {
            "series": names[group.run],
            "seed": result.run.seeds,
            "step": item.step,
            "value": float(values(item, measure).mean()) * factor(measure),
        }
        for group in groups
        if len(group.runs) > 1
        for result in group.runs
        for found in result.suites
        if found.name == suite
        for item in found.evaluations
    ]


def training_bands(
    groups: Sequence[Group], names: Names, metric: str, times: float, window: int = 1
) -> list[Row]:
    """One metric of the trainer over the seeds: mean, lowest and highest at each step.

    Each seed is first smoothed by a centred moving mean over `window` logged entries. Lines of long
    runs are thinned. Empty if no run has the metric.
    """
    shown = pl.col("value") * times
    return [row for group in groups for row in _bands(group, names, metric, shown, window)]


def share_right(groups: Sequence[Group], names: Names, window: int = 1) -> list[Row]:
    """Right completions of the training in per cent, from the mean of the reward `correct`.

    Runs whose reward is lenient, which accepts an answer anywhere in the completion, are left out:
    they would look better than the strict held-out accuracy that is drawn with them.
    """
    rows = []
    defaults = known_reward_functions()["correct"]
    for group in groups:
        for reward in group.settings.get("rewards", []):
            if reward["name"] != "correct":
                continue
            options = {**defaults, **reward.get("options", {})}
            span = options["right"] - options["wrong"]
            if span and not options["lenient"]:
                shown = (pl.col("value") - options["wrong"]) / span * 100
                rows += _bands(group, names, "rewards/correct/mean", shown, window)
    return rows


def _bands(group: Group, names: Names, metric: str, shown: pl.Expr, window: int) -> list[Row]:
    smoothed = shown.rolling_mean(window, min_samples=1, center=True)
    drawn = (pl.col("metric") == metric) & pl.col("value").is_finite()
    lines = [result.training.filter(drawn).select("step", smoothed) for result in group.runs]
    joined = (
        pl.concat(lines)
        .group_by("step")
        .agg(
            pl.col("value").mean(),
            pl.col("value").min().alias("low"),
            pl.col("value").max().alias("high"),
        )
    )
    return [{"series": names[group.run], **row} for row in _thinned(joined.sort("step"))]


def _thinned(bands: pl.DataFrame) -> list[Row]:
    """At most `_MOST_POINTS` points; if there are more, neighbouring steps are merged."""
    if bands.height <= _MOST_POINTS:
        return bands.to_dicts()
    place = pl.int_range(pl.len()) * _MOST_POINTS // bands.height
    means = pl.col("step", "value").mean()
    limits = pl.col("low").min(), pl.col("high").max()
    return (
        bands.group_by(place.alias("place"), maintain_order=True)
        .agg(means, *limits)
        .drop("place")
        .to_dicts()
    )


def pass_points(groups: Sequence[Group], names: Names, suite: str) -> list[Row]:
    """pass@k with its interval, by k, of base and trained model; empty with one sample."""
    rows = []
    for group in groups:
        larger = [name for name in group.measures(suite) if name.startswith("pass@")]
        for name in ["accuracy", *larger] if larger else []:
            for model in ("base", "trained"):
                found = group.of_suite(suite)
                per_seed = [values(getattr(item, model), name) for item in found]
                mean = hierarchical_mean(per_base(runs_of(found), per_seed))
                rows.append(
                    {
                        "series": names[group.run],
                        "model": model,
                        "k": int(name.partition("@")[2] or 1),
                        "value": mean.estimate * 100,
                        **limits_of(mean, 100),
                    }
                )
    return rows


def limits_of(mean: Interval, times: float) -> Row:
    """Limits to draw, which are the estimate itself if there is no interval."""
    low, high = (
        limit if math.isfinite(limit) else mean.estimate for limit in (mean.low, mean.high)
    )
    return {"low": low * times, "high": high * times}
