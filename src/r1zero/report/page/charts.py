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
    units = list(_units(spec))
    colors = [color for unit in units if (color := _color(unit))]
    # A chart with two colour scales keeps the legends that Vega draws.
    own = bool(colors) and all(color["scale"] == colors[0]["scale"] for color in colors)
    series: tuple[tuple[str, str], ...] = ()
    title = ""
    if own:
        scale, legend = colors[0]["scale"], colors[0].get("legend") or {}
        series = tuple(zip(map(str, scale["domain"]), scale["range"], strict=True))
        title = str(legend.get("title") or "")
    hover = sum(_points(unit, spec) for unit in units) <= _MOST_HOVER_POINTS
    for unit in units:
        _change(unit, own_legend=own, hover=hover)
    spec.setdefault("params", []).append({"name": PICKED, "value": None})
    spec.setdefault("config", {})["mark"] = {"tooltip": True}
    return Interactive(spec, series, title)


def _units(spec: Spec) -> Iterator[Spec]:
    """All single views of a specification."""
    if "mark" in spec:
        yield spec
    for key in _COMPOSED:
        for part in spec.get(key, []):
            yield from _units(part)


def _color(unit: Spec) -> Spec | None:
    """The colour encoding of a unit, if it lists its series and colours."""
    color: Spec = unit["encoding"].get("color", {})
    listed = {"domain", "range"} <= color.get("scale", {}).keys()
    return color if listed and color["type"] == "nominal" else None


def _points(unit: Spec, spec: Spec) -> int:
    """Number of values that a line draws."""
    if unit["mark"]["type"] != "line":
        return 0
    data = unit.get("data") or spec.get("data") or {}
    return len(data.get("values") or spec.get("datasets", {}).get(data.get("name"), []))


def _change(unit: Spec, *, own_legend: bool, hover: bool) -> None:
    """Give a unit points to hover over; fade its marks while another series is picked."""
    mark, encoding = unit["mark"], unit["encoding"]
    color = _color(unit) if own_legend else None
    if color:
        color["legend"] = None
    point = {"type": "point", "filled": True, "size": _HOVER_SIZE, "opacity": 0}
    seen = {key: value for key, value in encoding.items() if key not in ("opacity", "order")}
    if color and "opacity" not in encoding:
        field = color["field"].replace("\\", "\\\\").replace('"', '\\"')
        test = f'{PICKED} === null || datum["{field}"] === {PICKED}'
        shown = {"test": test, "value": mark.get("opacity", 1)}
        encoding["opacity"] = {"condition": shown, "value": _FADED}
    if hover and mark["type"] == "line":
        del unit["mark"], unit["encoding"]
        unit["layer"] = [{"mark": mark, "encoding": encoding}, {"mark": point, "encoding": seen}]
