"""Numbers and untrusted text as a reader sees them: pure functions for reports and terminals."""

import math
import re
from collections.abc import Iterable

HIDDEN = re.compile(
    # Control characters except newline and tab, marks that reorder or hide text, lone surrogates.
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\ud800-\udfff\ufeff\ufff9-\ufffb]|[\U000e0000-\U000e007f]"
)
"""Characters that a reader would not see, or that change the order of those around them."""


def number(value: float) -> str:
    """Format with one decimal and a real minus sign; NaN is a dash."""
    return "–" if math.isnan(value) else f"{value:.1f}".replace("-", "−")


def signed(value: float) -> str:
    """Format with one decimal and a sign, except for `0.0`; NaN is a dash."""
    if math.isnan(value):
        return "–"
    text = f"{value:+.1f}"
    return "0.0" if float(text) == 0 else text.replace("-", "−")


def count(value: float) -> str:
    """Format a large number in three digits: `48.6 M`."""
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e4, " k")):
        if abs(value) >= size:
            return f"{value / (1000 if unit == ' k' else size):.3g}{unit}"
    return f"{value:.0f}"


def plural(n: int, noun: str) -> str:
    """Give `1 seed`, `3 seeds`."""
    return f"{n} {noun}{'' if n == 1 else 's'}"


def listed(items: Iterable[object]) -> str:
    """Join distinct items in order: `a, b and c`."""
    found = list(dict.fromkeys(str(item) for item in items))
    return found[0] if len(found) == 1 else f"{', '.join(found[:-1])} and {found[-1]}"


def visible(text: str) -> str:
    """Untrusted text with a replacement mark (U+FFFD) for each hidden character."""
    return HIDDEN.sub("\ufffd", text.replace("\r\n", "\n"))
