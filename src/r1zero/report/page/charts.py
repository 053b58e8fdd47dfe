"""Charts of the page: the Vega-Lite of the figures with tooltips and highlighting of series.

The figures are drawn for paper. Here lines get invisible points that show their values in a
tooltip, and the marks of a coloured series fade while another series is picked. The page draws the
legend, whose buttons can be reached by keyboard and wrap on a phone.
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
# Keys of a unit that describe its marks. All others (data, size, title) stay with the view.
_OF_MARKS = ("mark", "encoding")
_HOVER_SIZE = 90
# More points would be slow to draw and too close together to point at.
_MOST_HOVER_POINTS = 4000


@dataclass(frozen=True)
class Interactive:
    """A Vega-Lite specification, its coloured series with their colours, and their title."""

    spec: Spec
    series: tuple[tuple[str, str], ...]
    title: str


def interactive(chart: alt.TopLevelMixin) -> Interactive:
    """Turn the chart of a figure into one for the screen."""
    spec: Spec = chart.to_dict()
    legends = [color for unit in _units(spec) if (color := _own_legend(unit))]
    # A chart with two colour scales keeps the legends that Vega draws.
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
    """The colour encoding of a unit, if it lists its series and colours."""
    color = unit.get("encoding", {}).get("color")
    if not isinstance(color, dict) or "field" not in color:
        return None
    scale = color.get("scale") or {}
    listed = isinstance(scale.get("domain"), list) and isinstance(scale.get("range"), list)
    return color if listed and color.get("type") == "nominal" else None


def _points(unit: Spec, spec: Spec) -> int:
    """Number of values that a line draws, if they are part of the specification."""
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
    """Fade the marks of all series but the picked one, and hide the legend."""
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
