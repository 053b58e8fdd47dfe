"""The figures: learning curves, what the trainer logged, pass@k, and changes with their intervals.

Colours are those of Okabe & Ito (2008) and Tol (2021, "muted"), which colour-blind readers can tell
apart. The background is white, so that the figures look the same in print and on any page.
"""

from collections.abc import Sequence

import altair as alt

from r1zero.report.claims.findings import measured
from r1zero.report.paper.figure_data import (
    Names,
    Row,
    held_out_points,
    limits_of,
    pass_points,
    seed_points,
    share_right,
    smoothing,
    training_bands,
)
from r1zero.report.statistics.measures import Group, conditional

PALETTE = [
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#555555"),
    *("#882255", "#999933", "#332288", "#44AA99", "#661100"),
]
FONT = "Helvetica Neue, Helvetica, Arial, Liberation Sans, sans-serif"

BY_CHANCE = "by_chance"
LENGTH = "completions/mean_length"
SYNC_DIFFERENCE = "sampling/weight_sync_difference"
SYNC_TOLERANCE = "sampling/weight_sync_tolerance"
SAMPLING_DIFFERENCE = "sampling/sampling_logp_difference/mean"
# Title with unit of each metric of the trainer, in reading order.
TRAINING_PANELS = {
    "reward": "Total reward",
    "rewards/correct/mean": "Correctness reward",
    "rewards/format/mean": "Format reward",
    LENGTH: "Mean length (tokens)",
    "kl": "KL to the reference (nats)",
    "entropy": "Entropy (nats per token)",
    "completions/clipped_ratio": "Cut at length limit (%)",
    "frac_reward_zero_std": "Zero-variance groups (%)",
}
_PERCENT = {"completions/clipped_ratio", "frac_reward_zero_std"}

# With axes and margins, a row of panels has about the width of a README, 800 pixels.
_PANEL_WIDTH, _PANEL_HEIGHT = 325, 200
_SMALL_WIDTH, _SMALL_HEIGHT, _COLUMNS = 148, 100, 4
_BAR_HEIGHT, _BAR_WIDTH = 22, 420
# More series than this are drawn with bars, since their bands would cover each other.
_MOST_BANDS = 4


def learning_curve(groups: Sequence[Group], names: Names) -> alt.VConcatChart:
    """Held-out accuracy and completion length over training; one row of panels per suite."""
    rows = []
    color = _color(groups, names)
    for suite in dict.fromkeys(name for group in groups for name in group.suites):
        members = [group for group in groups if suite in group.suites]
        window = smoothing(members)
        right = share_right(members, names, window)
        accuracy = _panel(
            f"Accuracy on {suite}",
            "accuracy, right in training (%)" if right else "accuracy (%)",
            held_out_points(members, names, suite, "accuracy"),
            seed_points(members, names, suite, "accuracy"),
            right,
            color,
            held_out_points(members, names, suite, BY_CHANCE)
            if has_random_search(members, suite)
            else [],
        )
        length = _panel(
            f"Completion length on {suite}",
            "mean length (tokens)",
            held_out_points(members, names, suite, "mean_length"),
            seed_points(members, names, suite, "mean_length"),
            training_bands(members, names, LENGTH, 1, window),
            color,
        )
        rows.append(alt.hconcat(accuracy, length, spacing=28))
    return styled(alt.vconcat(*rows, spacing=24))


def has_random_search(groups: Sequence[Group], suite: str | None = None) -> bool:
    """Whether every evaluation of a suite, or of any, says how far random search gets."""
    suites = [suite] if suite else {name for group in groups for name in group.suites}
    return any(
        all(
            conditional(item, BY_CHANCE) is not None
            for group in groups
            for found in group.of_suite(name)
            for item in found.evaluations
        )
        for name in suites
    )


def training(groups: Sequence[Group], names: Names) -> alt.VConcatChart:
    """Small multiples of the trainer's metrics; those that no run has are left out."""
    color = _color(groups, names)
    found = {
        title: bands
        for metric, title in TRAINING_PANELS.items()
        if (bands := training_bands(groups, names, metric, 100 if metric in _PERCENT else 1))
    }
    panels = [
        _small_panel(title, bands, color, bottom=index + _COLUMNS >= len(found))
        for index, (title, bands) in enumerate(found.items())
    ]
    return styled(alt.vconcat(alt.concat(*panels, columns=_COLUMNS, spacing=16)))


def agreement(groups: Sequence[Group]) -> alt.VConcatChart:
    """Held-out accuracy and length, KL and reward by step, of one recipe on several backends."""
    names = {result.run: group.run.backend for group in groups for result in group.runs}
    color = _color(groups, names)
    suite = measured(groups[0])[0].name
    found = {
        "Held-out accuracy (%)": held_out_points(groups, names, suite, "accuracy"),
        "Held-out length (tokens)": held_out_points(groups, names, suite, "mean_length"),
        TRAINING_PANELS["kl"]: training_bands(groups, names, "kl", 1),
        TRAINING_PANELS["reward"]: training_bands(groups, names, "reward", 1),
    }
    panels = [
        _small_panel(title, rows, color, bottom=True) for title, rows in found.items() if rows
    ]
    return styled(alt.vconcat(alt.concat(*panels, columns=_COLUMNS, spacing=16)))


def weight_sync(groups: Sequence[Group], names: Names) -> alt.VConcatChart:
    """Differences of log-probabilities between generator and trainer, and their tolerance."""
    title = "difference (nats per token)"
    color = _color(groups, names)

    def drawn(metric: str) -> alt.Chart:
        rows = training_bands(groups, names, metric, 1)
        # A logarithm has no place for 0.
        shown = [row for row in rows if row["value"] > 0]
        y = alt.Y("value:Q", title=title, scale=alt.Scale(type="log"))
        chart = alt.Chart(alt.InlineData(values=shown))
        return chart.encode(x=_steps("step"), y=y, color=color)

    checks = drawn(SYNC_DIFFERENCE)
    layers: list[alt.Chart] = [
        drawn(SAMPLING_DIFFERENCE).mark_line(strokeWidth=1.1, opacity=0.35),
        checks.mark_line(strokeWidth=1.4),
        checks.mark_point(filled=True, size=28, opacity=1),
        drawn(SYNC_TOLERANCE).mark_line(strokeWidth=1.2, strokeDash=[4, 3]),
    ]
    return styled(alt.vconcat(alt.LayerChart(layer=layers, width=_BAR_WIDTH, height=_PANEL_HEIGHT)))


def pass_at_k(groups: Sequence[Group], names: Names) -> alt.VConcatChart | None:
    """pass@k of base and trained model; None if no suite has several samples."""
    panels = []
    color = _color(groups, names)
    for suite in dict.fromkeys(name for group in groups for name in group.suites):
        members = [group for group in groups if suite in group.suites]
        points = pass_points(members, names, suite)
        if points:
            panels.append(_pass_panel(suite, points, color))
    if not panels:
        return None
    return styled(alt.vconcat(alt.concat(*panels, columns=2, spacing=28)))


def changes(groups: Sequence[Group], names: Names) -> alt.VConcatChart:
    """Change of accuracy of every recipe and suite, with its interval."""
    several = len({suite for group in groups for suite in group.suites}) > 1
    rows = []
    for group in groups:
        for suite in group.suites:
            found = group.change(suite, "accuracy")
            named = f"{names[group.run]}, {suite}" if several else names[group.run]
            limits = limits_of(found.delta, 100)
            rows.append({"place": named, "value": found.delta.estimate * 100, **limits})
    return styled(alt.vconcat(_forest(rows, "change of accuracy (percentage points)")))


def styled(chart: alt.VConcatChart) -> alt.VConcatChart:
    """Set fonts, white background and legends."""
    found: alt.VConcatChart = (
        chart.properties(background="white", padding=8)
        .configure(font=FONT)
        .configure_view(stroke=None)
        .configure_axis(
            labelFontSize=10,
            titleFontSize=11,
            titleFontWeight="normal",
            gridColor="#e6e6e6",
            domainColor="#666666",
            tickColor="#666666",
        )
        .configure_title(fontSize=12, fontWeight="bold", anchor="start", frame="group")
        .configure_legend(
            orient="bottom",
            labelFontSize=11,
            titleFontSize=11,
            titleFontWeight="normal",
            titleOrient="left",
            labelLimit=260,
            symbolSize=60,
        )
    )
    return found


def _panel(
    title: str,
    unit: str,
    points: list[Row],
    seeds: list[Row],
    bands: list[Row],
    color: alt.Color,
    dashed: Sequence[Row] = (),
) -> alt.LayerChart:
    """Means with intervals, over the seeds' own lines and the light lines of the training."""
    top = (
        max(
            [row["high"] for row in points] + [row["value"] for row in (*bands, *dashed)], default=1
        )
        or 1
    )
    y = alt.Y("value:Q", title=unit, scale=alt.Scale(domain=[0, top], nice=5))
    low = alt.Y("low:Q", title=unit)
    few = len({row["series"] for row in points}) <= _MOST_BANDS
    step = "step" if few else "shown_step"
    held_out = alt.Chart(alt.InlineData(values=points)).encode(x=_steps(step), color=color)
    spread = held_out.mark_area(opacity=0.16) if few else held_out.mark_rule(strokeWidth=1.1)
    layers: list[alt.Chart] = [
        spread.encode(y=low, y2="high:Q"),
        held_out.mark_line(strokeWidth=1.8).encode(y=y),
        held_out.mark_point(filled=True, size=36 if few else 24, opacity=1).encode(y=y),
    ]
    if seeds:
        one = alt.Chart(alt.InlineData(values=seeds)).encode(
            x=_steps("step"), y=y, color=color, detail="seed:O"
        )
        layers.insert(1, one.mark_line(strokeWidth=0.7, opacity=0.55))
    if bands:
        behind = alt.Chart(alt.InlineData(values=bands)).encode(x=_steps("step"), y=y, color=color)
        layers.insert(0, behind.mark_line(strokeWidth=1.1, opacity=0.35))
    if dashed:
        compared = alt.Chart(alt.InlineData(values=list(dashed))).encode(
            x=_steps("step"), y=y, color=color
        )
        layers.append(compared.mark_line(strokeWidth=1.4, strokeDash=[4, 3]))
    return alt.LayerChart(layer=layers, width=_PANEL_WIDTH, height=_PANEL_HEIGHT, title=title)


def _small_panel(title: str, bands: list[Row], color: alt.Color, *, bottom: bool) -> alt.LayerChart:
    heading = alt.TitleParams(title, fontSize=11, fontWeight="normal", frame="group")
    drawn = alt.Chart(alt.InlineData(values=bands)).encode(
        x=_steps("step", "optimizer step" if bottom else None, ticks=4),
        color=color,
    )
    axis = alt.Axis(tickCount=4)
    low = alt.Y("low:Q", title=None, axis=axis, scale=alt.Scale(nice=4, zero=False))
    layers: list[alt.Chart] = [
        drawn.mark_line(strokeWidth=1.1, opacity=0.85).encode(
            y=alt.Y("value:Q", title=None, axis=axis, scale=alt.Scale(nice=4, zero=False))
        )
    ]
    if any(row["low"] < row["high"] for row in bands):
        layers.insert(0, drawn.mark_area(opacity=0.2).encode(y=low, y2="high:Q"))
    return alt.LayerChart(layer=layers, width=_SMALL_WIDTH, height=_SMALL_HEIGHT, title=heading)


def _pass_panel(suite: str, points: list[Row], color: alt.Color) -> alt.LayerChart:
    top = max(row["high"] for row in points) or 1
    title = "pass@k (%)"
    ks = sorted({row["k"] for row in points})
    drawn = alt.Chart(alt.InlineData(values=points)).encode(
        x=alt.X(
            "k:Q",
            title="k (samples)",
            axis=alt.Axis(grid=False, values=ks, labelOverlap=False),
            scale=alt.Scale(type="log", base=2, domain=[ks[0], ks[-1]], padding=6),
        ),
        color=color,
        detail="model:N",
    )
    y = alt.Y("value:Q", title=title, scale=alt.Scale(domain=[0, top], nice=5))
    dash = alt.StrokeDash(
        "model:N",
        scale=alt.Scale(domain=["trained", "base"], range=[[1, 0], [4, 3]]),
        legend=alt.Legend(title="model", symbolType="stroke", symbolSize=400),
    )
    layers: list[alt.Chart] = [
        drawn.mark_area(opacity=0.13).encode(y=alt.Y("low:Q", title=title), y2="high:Q"),
        drawn.mark_line(strokeWidth=1.6).encode(y=y, strokeDash=dash),
        drawn.mark_point(filled=True, size=28, opacity=1).encode(y=y),
    ]
    return alt.LayerChart(
        layer=layers, width=_PANEL_WIDTH, height=_PANEL_HEIGHT, title=f"pass@k on {suite}"
    )


def _forest(rows: list[Row], title: str) -> alt.LayerChart:
    drawn = alt.Chart(alt.InlineData(values=rows)).encode(
        y=alt.Y("place:N", title=None, sort=None, axis=alt.Axis(grid=False, labelLimit=300))
    )
    x = alt.X("value:Q", title=title)
    color = PALETTE[0]
    layers: list[alt.Chart] = [
        alt.Chart(alt.InlineData(values=[{"zero": 0}]))
        .mark_rule(color="#999999", strokeDash=[3, 3])
        .encode(x=alt.X("zero:Q", title=title)),
        drawn.mark_rule(strokeWidth=1.6, color=color).encode(
            x=alt.X("low:Q", title=title), x2="high:Q"
        ),
        drawn.mark_point(filled=True, size=48, opacity=1, color=color).encode(x=x),
    ]
    return alt.LayerChart(layer=layers, width=_BAR_WIDTH, height=_BAR_HEIGHT * len(rows))


def _steps(field: str, title: str | None = "optimizer step", ticks: int = 6) -> alt.X:
    return alt.X(
        f"{field}:Q",
        title=title,
        axis=alt.Axis(grid=False, tickCount=ticks, tickMinStep=1),
        scale=alt.Scale(nice=False, padding=6),
    )


def _color(groups: Sequence[Group], names: Names) -> alt.Color:
    """One colour for each series of a figure, the same in all its panels."""
    series = sorted({names[group.run] for group in groups})
    colors = [PALETTE[index % len(PALETTE)] for index in range(len(series))]
    return alt.Color(
        "series:N",
        scale=alt.Scale(domain=series, range=colors),
        legend=alt.Legend(title=None, symbolOpacity=1, columns=4) if len(series) > 1 else None,
    )
