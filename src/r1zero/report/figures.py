"""The figures: learning curves on held-out problems, and what the trainer logged.

Colours are those of Okabe & Ito (2008), told apart by colour-blind readers. The background is
white, so that the figures read the same on a light and on a dark page.
"""

import io
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import altair as alt
import polars as pl

from r1zero.report.inputs import Run, RunResults
from r1zero.report.statistics import clustered_mean

PALETTE = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#555555"]
SHAPES = ["circle", "square", "triangle-up", "diamond", "triangle-down", "cross"]
FONT = "Helvetica Neue, Helvetica, Arial, Liberation Sans, sans-serif"

ACCURACY_REWARD = "rewards/correct/mean"
LENGTH = "completions/mean_length"
# Title with unit of each metric of the trainer, in reading order.
TRAINING_PANELS = {
    "reward": "Reward, all terms",
    ACCURACY_REWARD: "Correctness reward",
    "rewards/format/mean": "Format reward",
    LENGTH: "Mean length (tokens)",
    "kl": "KL to the reference (nats)",
    "entropy": "Entropy (nats per token)",
    "completions/clipped_ratio": "Cut at length limit (%)",
    "frac_reward_zero_std": "Groups of equal reward (%)",
}
_PERCENT = {"completions/clipped_ratio", "frac_reward_zero_std"}

# Together with axes and margins, about the 800 pixels that a README is wide.
_PANEL_WIDTH, _PANEL_HEIGHT = 325, 215
_SMALL_WIDTH, _SMALL_HEIGHT, _COLUMNS = 148, 100, 4
# The learning curve shows training metrics as moving means over this share of the steps.
_SMOOTHED_SHARE = 0.05
# Runs stand this share of the steps apart, all of them together not more than the second.
_APART, _APART_AT_MOST = 0.012, 0.036

Row: TypeAlias = dict[str, Any]
Names: TypeAlias = Mapping[Run, str]


def learning_curve(runs: Sequence[RunResults]) -> alt.VConcatChart:
    """Held-out accuracy and completion length over training; one row of panels per suite."""
    names = series_names(runs)
    window = max(1, round(_SMOOTHED_SHARE * max(result.training_steps for result in runs)))
    rows = []
    for suite in sorted({suite.name for result in runs for suite in result.suites}):
        members = [item for item in runs if any(suite == found.name for found in item.suites)]
        reward = training_lines(members, names, ACCURACY_REWARD, 100, window)
        accuracy = _panel(
            f"Accuracy on {suite}",
            "accuracy, correctness reward (%)" if reward else "accuracy (%)",
            held_out_points(members, names, suite, "correct", 100),
            reward,
            names,
        )
        length = _panel(
            f"Completion length on {suite}",
            "mean length (tokens)",
            held_out_points(members, names, suite, "length", 1),
            training_lines(members, names, LENGTH, 1, window),
            names,
        )
        rows.append(alt.hconcat(accuracy, length, spacing=28))
    smoothing = f", moving mean over {window} logged steps" if window > 1 else ""
    note = [
        "Points: held-out problems, 95 % bootstrap interval over problems; step 0: the base model.",
        f"Light lines: the completions sampled in training{smoothing}.",
    ]
    return _styled(alt.vconcat(*rows, spacing=24), _title(runs, names), note)


def training(runs: Sequence[RunResults]) -> alt.VConcatChart:
    """Small multiples of what the trainer logged; metrics that no run has are left out."""
    names = series_names(runs)
    found = {
        title: lines
        for metric, title in TRAINING_PANELS.items()
        if (lines := training_lines(runs, names, metric, 100 if metric in _PERCENT else 1))
    }
    panels = [
        _small_panel(title, lines, names, bottom=index + _COLUMNS >= len(found))
        for index, (title, lines) in enumerate(found.items())
    ]
    grid = alt.concat(*panels, columns=_COLUMNS, spacing=16)
    note = ["Logged by the trainer: means over the completions of each optimizer step."]
    return _styled(alt.vconcat(grid), _title(runs, names), note)


def series_names(runs: Sequence[RunResults]) -> dict[Run, str]:
    """Name the coloured series of each run: its recipe, with the backend if there are several."""
    several = len({result.run.backend for result in runs}) > 1
    return {
        result.run: f"{result.run.recipe} ({result.run.backend})" if several else result.run.recipe
        for result in runs
    }


def held_out_points(
    runs: Sequence[RunResults], names: Names, suite: str, field: str, factor: float
) -> list[Row]:
    """Mean of a field with its interval, times `factor`, at each evaluated step of each run.

    `shown_step` sets the runs a little apart, so that the error bars of one step don't cover each
    other.
    """
    found = [(result.run, item) for result in runs for item in result.suites if item.name == suite]
    last = max(item.trained.step for _, item in found)
    apart = last * min(_APART, _APART_AT_MOST / max(1, len(found) - 1))
    rows = []
    for index, (run, item) in enumerate(found):
        for evaluation in item.evaluations:
            interval = clustered_mean(evaluation.outcomes(field))
            limits = [
                limit if math.isfinite(limit) else interval.estimate
                for limit in (interval.low, interval.high)
            ]
            rows.append(
                {
                    "series": names[run],
                    "seed": run.seed,
                    "step": evaluation.step,
                    "shown_step": evaluation.step + apart * (index - (len(found) - 1) / 2),
                    "value": interval.estimate * factor,
                    "low": limits[0] * factor,
                    "high": limits[1] * factor,
                }
            )
    return rows


def training_lines(
    runs: Sequence[RunResults], names: Names, metric: str, factor: float, window: int = 1
) -> list[Row]:
    """One metric of the trainer, times `factor`, as a centred moving mean over `window` entries.

    Empty where no run has the metric.
    """
    smoothed = pl.col("value").rolling_mean(window, min_samples=1, center=True)
    return [
        {
            "series": names[result.run],
            "seed": result.run.seed,
            "step": step,
            "value": value * factor,
        }
        for result in runs
        for step, value in result.training.filter(pl.col("metric") == metric)
        .select("step", smoothed)
        .iter_rows()
    ]


def to_svg(chart: alt.VConcatChart) -> str:
    """Render as SVG: the same chart gives the same bytes."""
    stream = io.StringIO()
    chart.save(stream, format="svg")
    return _with_stable_ids(stream.getvalue())


def to_png(chart: alt.VConcatChart) -> bytes:
    """Render as PNG at twice the size, for screens of high density."""
    stream = io.BytesIO()
    chart.save(stream, format="png", scale_factor=2)
    return stream.getvalue()


def _with_stable_ids(svg: str) -> str:
    """Renumber clip paths from 0: within a process, the renderer counts on between figures."""
    order: dict[str, str] = {}

    def renumbered(match: re.Match[str]) -> str:
        return match[1] + order.setdefault(match[2], f"clip{len(order)}")

    return re.sub(r'(id="|url\(#)(clip\d+)\b', renumbered, svg)


def _title(runs: Sequence[RunResults], names: Names) -> str:
    """Name the only series in the title; a legend names several."""
    distinct = set(names.values())
    subject = distinct.pop() if len(distinct) == 1 else "R1-Zero replication"
    return f"{subject}, scale {runs[0].run.scale}"


def _panel(
    title: str, unit: str, points: list[Row], lines: list[Row], names: Names
) -> alt.LayerChart:
    """Points with error bars and a line per run, over the light lines of the training metric."""
    top = max([row["high"] for row in points] + [row["value"] for row in lines]) or 1
    y = alt.Y("value:Q", title=unit, scale=alt.Scale(domain=[0, top], nice=5))
    seeds = sorted({run.seed for run in names})
    shape = alt.Shape(
        "seed:O",
        scale=alt.Scale(domain=seeds, range=SHAPES),
        legend=alt.Legend(title="seed") if len(seeds) > 1 else None,
    )
    held_out = alt.Chart(alt.InlineData(values=points)).encode(
        x=_steps("shown_step", "optimizer step"), color=_color(names), detail="seed:O"
    )
    layers: list[alt.Chart] = [
        held_out.mark_line(strokeWidth=1.5).encode(y=y),
        held_out.mark_rule(strokeWidth=1.2).encode(y=alt.Y("low:Q", title=unit), y2="high:Q"),
        held_out.mark_point(filled=True, size=42 if len(names) < 5 else 26, opacity=1).encode(
            y=y, shape=shape
        ),
    ]
    if lines:
        behind = alt.Chart(alt.InlineData(values=lines)).encode(
            x=_steps("step", "optimizer step"), y=y, color=_color(names), detail="seed:O"
        )
        layers.insert(0, behind.mark_line(strokeWidth=1.2, opacity=0.35))
    return alt.LayerChart(layer=layers, width=_PANEL_WIDTH, height=_PANEL_HEIGHT, title=title)


def _small_panel(title: str, lines: list[Row], names: Names, *, bottom: bool) -> alt.Chart:
    heading = alt.TitleParams(title, fontSize=11, fontWeight="normal", frame="group")
    chart = alt.Chart(
        alt.InlineData(values=lines), width=_SMALL_WIDTH, height=_SMALL_HEIGHT, title=heading
    )
    panel: alt.Chart = chart.mark_line(strokeWidth=1.1, opacity=0.7).encode(
        x=_steps("step", "optimizer step" if bottom else None, ticks=4),
        y=alt.Y("value:Q", title=None, axis=alt.Axis(tickCount=4), scale=alt.Scale(nice=4)),
        color=_color(names),
        detail="seed:O",
    )
    return panel


def _steps(field: str, title: str | None, ticks: int = 6) -> alt.X:
    return alt.X(
        f"{field}:Q",
        title=title,
        axis=alt.Axis(grid=False, tickCount=ticks),
        scale=alt.Scale(nice=False, padding=6),
    )


def _color(names: Names) -> alt.Color:
    series = sorted(set(names.values()))
    return alt.Color(
        "series:N",
        scale=alt.Scale(domain=series, range=PALETTE),
        legend=alt.Legend(title="recipe", symbolOpacity=1, columns=4) if len(series) > 1 else None,
    )


def _styled(chart: alt.VConcatChart, title: str, note: list[str]) -> alt.VConcatChart:
    """Set fonts, white background and legends, with `title` and `note` above the panels."""
    heading = alt.TitleParams(title, subtitle=note, fontSize=14, anchor="start", offset=12)
    styled: alt.VConcatChart = (
        chart.properties(background="white", padding=12, title=heading)
        .configure(font=FONT)
        .configure_view(stroke=None)
        .configure_title(
            anchor="start",
            fontSize=12,
            color="#111",
            subtitleFontSize=11,
            subtitleColor="#555",
            subtitlePadding=5,
        )
        .configure_axis(
            labelFontSize=11,
            titleFontSize=11,
            titleFontWeight="normal",
            labelColor="#333",
            titleColor="#333",
            gridColor="#ececec",
            domainColor="#888",
            tickColor="#888",
            tickSize=4,
        )
        .configure_legend(
            orient="bottom",
            labelFontSize=11,
            titleFontSize=11,
            titleOrient="left",
            symbolSize=50,
        )
    )
    return styled
