"""Numbers, durations, sizes, lists and untrusted text, as people read them."""

import math
import re
from collections.abc import Iterable, Sequence

# Control characters but newline and tab, characters that reorder or hide text, lone surrogates.
INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\ud800-\udfff\ufeff\ufff9-\ufffb]|[\U000e0000-\U000e007f]"
)


def duration(seconds: float) -> str:
    """Format a time in hours, minutes and seconds: `2h05m`, `3m07s`, `12s`."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes:02d}m"
    return f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"


def size(count: float) -> str:
    """Format a number of bytes in units of powers of 1000: `1.2 GB`."""
    for unit in ("B", "kB", "MB"):
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.2f} GB"


def shortlist(names: Sequence[str], most: int = 8) -> str:
    """Join the first names by commas, and count the others: `a, b and 3 more`."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


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
    return INVISIBLE.sub("\ufffd", text.replace("\r\n", "\n"))
