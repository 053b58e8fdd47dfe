"""`index.html`: the report as one page that loads nothing from a network, with a rollout browser.

The page has the same parts as the PDF. Charts are drawn by Vega, whose scripts are part of the
page; completions are unpacked and filtered by the page's own scripts. All text of a report is
untrusted: it is escaped here, and the scripts set it as text only. A content security policy
forbids anything that is not part of the page, and `eval`; Vega interprets its expressions instead.
"""

import base64
import hashlib
import html
import json
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.resources import files as package_files
from pathlib import Path
from string import Template
from typing import Any

import vl_convert

from r1zero.core.formatting import INVISIBLE
from r1zero.report.page import browser
from r1zero.report.page.charts import PICKED, interactive
from r1zero.report.paper.document import Contents, Figure, Part, Sample, Table
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
    style, script = "".join(map(_asset, _STYLES)), _script()
    figures = {item.name: _figure_data(item) for item in contents.figures}
    text = Template(_asset("page.html")).substitute(
        policy=_policy(style, [_vega(), script]),
        title=_text(contents.title),
        abstract=_text(" ".join(contents.abstract)),
        links="\n".join(_link(part.anchor, part.title) for part in contents.parts),
        parts="\n".join(_part(part) for part in contents.parts),
        share=_text(_share(packed)),
        style=style,
        figures=_json({"picked": PICKED, "figures": figures}),
        rollouts=base64.b64encode(packed.data).decode(),
        vega=_vega(),
        script=script,
    )
    return text.encode()


def _part(part: Part) -> str:
    blocks = [
        f'<section id="{_text(part.anchor)}" aria-labelledby="{_text(part.anchor)}-title">',
        f'<h2 id="{_text(part.anchor)}-title">{_text(part.title)}</h2>',
        *(f"<p>{_text(paragraph)}</p>" for paragraph in part.paragraphs),
        *map(_table, part.tables),
        *map(_figure, part.figures),
        *map(_sample, part.samples),
        "</section>",
    ]
    return "\n".join(blocks)


def _table(table: Table) -> str:
    """Render a table in a box of its own that scrolls sideways, by keyboard too."""
    name = f"table-{_text(table.name)}"
    heading = _cells("th", table.headings, table, ' scope="col"')
    rows = "\n".join(
        f"<tr{mark}>{_cells('td', row, table)}</tr>"
        for mark, row in zip(_marks(table.rows), table.rows, strict=True)
    )
    return f"""\
<figure class="table" id="{name}">
<figcaption id="{name}-caption"><b>{_text(table.title)}.</b> {_text(table.caption)}</figcaption>
<div class="scroll" role="region" tabindex="0" aria-labelledby="{name}-caption">
<table>
<thead><tr>{heading}</tr></thead>
<tbody>
{rows}
</tbody>
</table>
</div>
{_files(table.files)}
</figure>"""


def _marks(rows: Sequence[Sequence[str]]) -> list[str]:
    """Mark rows whose first cell differs from the row above, if first cells repeat at all."""
    first = [row[0] for row in rows]
    if len(set(first)) == len(first):
        return [""] * len(first)
    changes = [place > 0 and cell != first[place - 1] for place, cell in enumerate(first)]
    return [' class="other"' if change else "" for change in changes]


def _cells(tag: str, cells: Iterable[str], table: Table, attributes: str = "") -> str:
    """Render a row. Only long texts may break into lines."""

    def kind(place: int, cell: str) -> str:
        short = ' class="short"' if len(cell) <= _SHORT else ""
        return ' class="number"' if place in table.numeric else short

    return "".join(
        f"<{tag}{kind(place, cell)}{attributes}>{_text(cell)}</{tag}>"
        for place, cell in enumerate(cells)
    )


def _figure(figure: Figure) -> str:
    name = f"figure-{_text(figure.name)}"
    return f"""\
<figure class="chart" id="{name}">
<div class="legend" role="group" aria-label="Series of {_text(figure.title)}" hidden></div>
<div class="scroll" role="region" tabindex="0" aria-labelledby="{name}-caption">
<div class="plot" data-figure="{_text(figure.name)}" role="img"
 aria-label="{_text(figure.title)}"></div>
</div>
<figcaption id="{name}-caption"><b>{_text(figure.title)}.</b> {_text(figure.caption)}</figcaption>
{_files(figure.files)}
</figure>"""


def _figure_data(figure: Figure) -> dict[str, Any]:
    chart = interactive(figure.chart)
    return {"spec": chart.spec, "series": chart.series, "title": chart.title}


def _sample(sample: Sample) -> str:
    notes = "".join(f"<li>{_text(note)}</li>" for note in sample.notes)
    return f"""\
<article class="sample">
<h3>{_text(sample.title)}</h3>
<ul class="notes">{notes}</ul>
<pre tabindex="0" aria-label="Completion">{_text(sample.completion)}</pre>
</article>"""


def _files(paths: Sequence[Path]) -> str:
    if not paths:
        return ""
    listed = "".join(f"<li><code>{_text(path.as_posix())}</code></li>" for path in paths)
    count = "1 file" if len(paths) == 1 else f"{len(paths)} files"
    return f'<details class="files"><summary>From {count}</summary><ul>{listed}</ul></details>'


def _link(anchor: str, title: str) -> str:
    return f'<li><a href="#{_text(anchor)}">{_text(title)}</a></li>'


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


def _text(text: str) -> str:
    """Escape for content and attributes, with a visible mark for each hidden character."""
    return html.escape(INVISIBLE.sub(lambda found: f"⟨U+{ord(found[0]):04X}⟩", text))


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
