"""Charts of the page: the figures' Vega-Lite, with a tooltip on each mark and series to single out.

The figures are drawn for paper. Here each unit of a chart is given what a screen adds: lines get
invisible points that show their values, and all marks of a coloured series fade while another one
is picked. The legend of the series is left to the page, whose buttons can be reached by keyboard
and wrap on a phone.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import altair as alt

Spec: TypeAlias = dict[str, Any]

# The signal that holds the picked series, null for none.
PICKED = "picked_series"
_FADED = 0.08
_COMPOSED = ("layer", "hconcat", "vconcat", "concat")
# What belongs to the marks of a unit; all else (data, size, title) to the place where it stands.
_OF_MARKS = ("mark", "encoding")
_HOVER_SIZE = 90
# Points of more lines than that would be slow to draw, and too near to each other to be hit.
_MOST_HOVER_POINTS = 4000


@dataclass(frozen=True)
class Interactive:
    """A Vega-Lite specification, and its series with their colours; none without colour."""

    spec: Spec
    series: tuple[tuple[str, str], ...]
    title: str


def interactive(chart: alt.TopLevelMixin) -> Interactive:
    """Make the chart of a figure one for the screen."""
    spec: Spec = chart.to_dict()
    legends = [color for unit in _units(spec) if (color := _own_legend(unit))]
    # Two ways of colouring in one chart need the legends that Vega draws.
    if any(color["scale"] != legends[0]["scale"] for color in legends):
        legends = []
    hover = sum(_points(unit, spec) for unit in _units(spec)) <= _MOST_HOVER_POINTS
    changed = _changed(spec, bool(legends), hover)
    changed["params"] = [*spec.get("params", []), {"name": PICKED, "value": None}]
    changed["config"] = {**spec.get("config", {}), "mark": {"tooltip": True}}
    if not legends:
        return Interactive(changed, (), "")
    scale, legend = legends[0]["scale"], legends[0].get("legend") or {}
    colors = [scale["range"][index % len(scale["range"])] for index in range(len(scale["domain"]))]
    series = tuple(zip(map(str, scale["domain"]), colors, strict=True))
    return Interactive(changed, series, str(legend.get("title") or ""))


def _units(spec: Spec) -> Iterator[Spec]:
    """All single views of a specification."""
    parts = [part for key in _COMPOSED for part in spec.get(key, [])]
    if isinstance(spec.get("spec"), dict):
        parts.append(spec["spec"])
    if "mark" in spec:
        yield spec
    for part in parts:
        yield from _units(part)


def _own_legend(unit: Spec) -> Spec | None:
    """The colour of a unit, if it has a field, names and colours, so that a page can list them."""
    color = unit.get("encoding", {}).get("color")
    if not isinstance(color, dict) or "field" not in color:
        return None
    scale = color.get("scale") or {}
    listed = isinstance(scale.get("domain"), list) and isinstance(scale.get("range"), list)
    return color if listed and color.get("type") == "nominal" else None


def _points(unit: Spec, spec: Spec) -> int:
    """How many values a unit draws, where they stand in the specification."""
    data = unit.get("data") or spec.get("data") or {}
    values = data.get("values") or spec.get("datasets", {}).get(data.get("name"), [])
    return len(values) if _mark(unit)["type"] == "line" else 0


def _changed(spec: Spec, legend: bool, hover: bool) -> Spec:
    """Copy a specification with all its units changed."""
    copy = dict(spec)
    for key in _COMPOSED:
        if key in copy:
            copy[key] = [_changed(part, legend, hover) for part in copy[key]]
    if isinstance(copy.get("spec"), dict):
        copy["spec"] = _changed(copy["spec"], legend, hover)
    return _changed_unit(copy, legend, hover) if "mark" in copy else copy


def _changed_unit(unit: Spec, legend: bool, hover: bool) -> Spec:
    mark, encoding = _mark(unit), dict(unit.get("encoding", {}))
    layers = [{"mark": mark, "encoding": _fading(mark, encoding, legend)}]
    if hover and mark["type"] == "line":
        point = {"type": "point", "filled": True, "size": _HOVER_SIZE, "opacity": 0}
        seen = {key: value for key, value in encoding.items() if key not in ("opacity", "order")}
        if legend and _own_legend(unit):
            seen["color"] = {**encoding["color"], "legend": None}
        layers.append({"mark": point, "encoding": seen})
    place = {key: value for key, value in unit.items() if key not in _OF_MARKS}
    return {**place, **layers[0]} if len(layers) == 1 else {**place, "layer": layers}


def _fading(mark: Spec, encoding: Spec, legend: bool) -> Spec:
    """Fade the marks of all series but the picked one; the page shows the legend."""
    color = _own_legend({"encoding": encoding})
    if not legend or color is None:
        return encoding
    faded = {**encoding, "color": {**color, "legend": None}}
    if "opacity" not in encoding:
        field = color["field"].replace("\\", "\\\\").replace('"', '\\"')
        test = f'{PICKED} === null || datum["{field}"] === {PICKED}'
        shown = {"test": test, "value": mark.get("opacity", 1)}
        faded["opacity"] = {"condition": shown, "value": _FADED}
    return faded


def _mark(unit: Spec) -> Spec:
    mark = unit["mark"]
    return {"type": mark} if isinstance(mark, str) else dict(mark)
