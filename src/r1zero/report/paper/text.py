"""Values of the report as a reader sees them, and Markdown tables."""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from tabulate import tabulate

from r1zero.core.formatting import number, signed, visible
from r1zero.report.results.inputs import Provenance
from r1zero.report.statistics.intervals import Interval
from r1zero.report.statistics.measures import Change, factor

# Enough of a hash to recognise it; report.json and the CSV files have the whole hash.
_SHORT = 12


def interval(found: Interval, times: float = 1) -> str:
    """Give `+1.5 [+0.3, +2.8]`; limits that do not exist are dashes."""
    low, high = signed(found.low * times), signed(found.high * times)
    return f"{signed(found.estimate * times)} [{low}, {high}]"


def arrow(change: Change) -> str:
    """Give `23.8 → 61.2`, the values of base and trained model."""
    times = factor(change.measure)
    return f"{number(change.base * times)} → {number(change.trained * times)}"


def delta(change: Change) -> str:
    """Give the difference of a change with its interval."""
    return interval(change.delta, factor(change.measure))


def duration(seconds: float) -> str:
    """Give seconds in the unit that reads best: `95 s`, `5.0 min`, `3.2 h`."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def setting(value: Any) -> str:
    """Format the value of a setting as its recipe would write it, rewards by weight and name."""
    if isinstance(value, list):
        return ", ".join(map(setting, value))
    if isinstance(value, dict) and "name" in value:
        weight = value.get("weight", 1)
        return value["name"] if weight == 1 else f"{weight:g} × {value['name']}"
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)


def short(checksum: str) -> str:
    """The start of a hash."""
    return checksum[:_SHORT]


def hardware(found: Mapping[str, Any]) -> str:
    """Name the machine: `Some CPU, 2 cores, 23.5 GiB`, then whatever else is known."""
    words = {"cpu": "{}", "cores": "{} cores", "memory_gib": "{} GiB"}
    return ", ".join(words.get(key, f"{key} {{}}").format(value) for key, value in found.items())


def versions(found: Provenance) -> str:
    """Packages with their versions, by name."""
    return ", ".join(f"{name} {version}" for name, version in sorted(found.versions.items()))


def markdown_table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], numeric: Collection[int] = ()
) -> str:
    """Render a GitHub table; the columns in `numeric` are aligned right.

    Cells are untrusted: what Markdown or HTML would read as markup is shown as it is.
    """
    cells = [[_escaped(text) for text in row] for row in rows]
    return table_text([_escaped(text) for text in headings], cells, numeric, "pipe")


def table_text(
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    numeric: Collection[int],
    style: str,
) -> str:
    """Render cells in a style of `tabulate`; the columns in `numeric` are aligned right."""
    align = ["right" if place in numeric else "left" for place in range(len(headings))]
    rendered: str = tabulate(rows, headings, tablefmt=style, colalign=align, disable_numparse=True)
    return rendered + "\n"


def _escaped(text: str) -> str:
    flat = visible(text).replace("\n", " ")
    escaped = re.sub(r"([\\`*_\[\]|~])", r"\\\1", flat)
    return escaped.replace("&", "&amp;").replace("<", "&lt;")
