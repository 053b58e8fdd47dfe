"""Numbers and untrusted text, as a reader sees them."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from r1zero.core.formatting import INVISIBLE
from r1zero.report.measures import Change, factor
from r1zero.report.statistics import Interval

# Enough of a hash to recognise it; report.json and the CSV files have the whole.
_SHORT = 12


def number(value: float) -> str:
    """One decimal, with a real minus."""
    return "–" if math.isnan(value) else f"{value:.1f}".replace("-", "−")


def signed(value: float) -> str:
    """One decimal, always with a sign (a real minus), except for 0.0."""
    if math.isnan(value):
        return "–"
    text = f"{value:+.1f}"
    return "0.0" if float(text) == 0 else text.replace("-", "−")


def interval(found: Interval, times: float = 1) -> str:
    """Give `+1.5 [+0.3, +2.8]`; the limits are dashes where there are none."""
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


def count(value: float) -> str:
    """Give a large number in three digits: `48.6 M`."""
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e4, " k")):
        if abs(value) >= size:
            return f"{value / (1000 if unit == ' k' else size):.3g}{unit}"
    return f"{value:.0f}"


def setting(value: Any) -> str:
    """A setting as its recipe would write it."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)


def short(checksum: str) -> str:
    """The start of a hash."""
    return checksum[:_SHORT]


def hardware(found: Mapping[str, Any]) -> str:
    """Name the machine in words: `Some CPU, 2 cores, 23.5 GiB`, then whatever else is known."""
    words = {"cpu": "{}", "cores": "{} cores", "memory_gib": "{} GiB"}
    return ", ".join(words.get(key, f"{key} {{}}").format(value) for key, value in found.items())


def visible(text: str) -> str:
    """Untrusted text without the characters that a reader would not see."""
    return INVISIBLE.sub("\ufffd", text.replace("\r\n", "\n"))


def listed(items: Iterable[object]) -> str:
    """Join distinct items in order: `a, b and c`."""
    found = list(dict.fromkeys(str(item) for item in items))
    return found[0] if len(found) == 1 else f"{', '.join(found[:-1])} and {found[-1]}"


def plural(n: int, noun: str) -> str:
    """Give `1 seed`, `3 seeds`."""
    return f"{n} {noun}{'' if n == 1 else 's'}"


def markdown_table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], numeric: Iterable[int] = ()
) -> str:
    """Render a GitHub table; the columns in `numeric` are aligned right.

    Cells are untrusted: what Markdown or HTML would read as markup is shown as it is.
    """
    right = frozenset(numeric)
    marks = ["---:" if index in right else "---" for index in range(len(headings))]
    lines = [[_cell(text) for text in headings], marks]
    lines += [[_cell(text) for text in row] for row in rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _cell(text: str) -> str:
    flat = visible(text).replace("\n", " ")
    escaped = re.sub(r"([\\`*_\[\]|~])", r"\\\1", flat)
    return escaped.replace("&", "&amp;").replace("<", "&lt;")
