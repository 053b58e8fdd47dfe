"""`index.html`: the report as one page that loads nothing from a network, with a rollout browser.

The page has the same parts as the PDF. Charts are drawn by Vega, whose scripts are part of the
page; completions are unpacked and filtered by the page's own scripts. All text of a report is
untrusted: the template escapes it, and the scripts set it as text only. A content security policy
forbids anything that is not part of the page, and `eval`; Vega interprets its expressions instead.
"""

import base64
import hashlib
import json
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.resources import files as package_files
from typing import Any

import vl_convert
from jinja2 import Environment, StrictUndefined

from r1zero.core.formatting import INVISIBLE
from r1zero.report.page import browser
from r1zero.report.page.charts import PICKED, interactive
from r1zero.report.paper.document import Contents, Figure, Table
from r1zero.report.results.inputs import RunResults

_STYLES = ("page.css", "rollouts.css")
_SCRIPTS = ("page.js", "charts.js", "rollouts.js", "list.js", "detail.js", "follow.js", "main.js")
# Characters of a table's cell that fit on one line, even on a phone.
_SHORT = 28


def page(contents: Contents, runs: Sequence[RunResults], *, browser_mb: float = 15) -> bytes:
    """Render a report; the same contents and files give the same bytes.

    Args:
        contents: Contents of the report.
        runs: Runs whose completions the rollout browser shows.
        browser_mb: Largest size of the completions in megabytes (10^6 bytes, gzipped).
    """
    packed = browser.pack(runs, megabytes=browser_mb)
    style, script, vega = "".join(map(_asset, _STYLES)), _script(), _vega()
    figures = {item.name: _figure_data(item) for item in contents.figures}
    environment = Environment(
        autoescape=True, finalize=_seen, trim_blocks=True, undefined=StrictUndefined
    )
    text = environment.from_string(_asset("page.html")).render(
        contents=contents,
        kind=_kind,
        begins_block=_begins_block,
        share=_share(packed),
        policy=_policy(style, [vega, script]),
        style=style,
        figures=_json({"picked": PICKED, "figures": figures}),
        rollouts=base64.b64encode(packed.data).decode(),
        vega=vega,
        script=script,
    )
    return text.encode()


def _seen(value: object) -> object:
    """A visible mark in place of each hidden character of untrusted text."""
    if not isinstance(value, str) or hasattr(value, "__html__"):
        return value  # a number, or markup of the template itself
    return INVISIBLE.sub(lambda found: f"⟨U+{ord(found[0]):04X}⟩", value)


def _kind(table: Table, column: int, cell: str) -> str:
    """Attribute with the class of a cell. Only long texts may break into lines."""
    if column in table.numeric:
        return ' class="number"'
    return ' class="short"' if len(cell) <= _SHORT else ""


def _begins_block(table: Table, row: int) -> bool:
    """Whether the first cell differs from the row above, if first cells repeat at all."""
    first = [cells[0] for cells in table.rows]
    return row > 0 and len(set(first)) < len(first) and first[row] != first[row - 1]


def _figure_data(figure: Figure) -> dict[str, Any]:
    chart = interactive(figure.chart)
    return {"spec": chart.spec, "series": chart.series, "title": chart.title}


def _share(packed: browser.Packed) -> str:
    if not packed.found:
        return "No completions were kept."
    if packed.kept == packed.found:
        return f"All {packed.found:,} completions that were kept are here."
    return (
        f"{packed.kept:,} of {packed.found:,} completions that were kept are here"
        f" ({packed.kept / packed.found:.1%}), to keep the page small: of a training, groups"
        " evenly over its steps; of evaluations, the same problems at every checkpoint."
    )


def _json(value: Any) -> str:
    """JSON that can neither end its script element nor begin a comment in it."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")


def _policy(style: str, scripts: Iterable[str]) -> str:
    hashes = " ".join(_hash(script) for script in scripts)
    return (
        f"default-src 'none'; script-src {hashes}; style-src {_hash(style)};"
        " base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _asset(name: str) -> str:
    return package_files("r1zero.report.page").joinpath("assets", name).read_text(encoding="utf-8")


def _script() -> str:
    """All scripts as one, whose names are not visible to other scripts."""
    return f"(() => {{\n'use strict';\n{''.join(map(_asset, _SCRIPTS))}}})();\n"


@cache
def _vega() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script that can be embedded in a page."""
    bundle: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return bundle.replace("</script", "<\\/script").replace("<!--", "<\\!--")
