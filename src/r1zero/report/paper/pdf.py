"""`report.pdf`: the paper, set by Typst with the fonts that it ships.

Text is passed to the template as data, so that no completion and no setting is read as markup.
Writing systems that Typst's own fonts lack are set in a font of the machine, if it has one.
"""

import json
import math
import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import typst

from r1zero.core.formatting import visible
from r1zero.report.paper.document import Contents, Figure, Part, Sample, Table

# Width in pixels of a figure that fills the text width; smaller figures keep their scale.
_FULL_WIDTH = 760
# Identifiers and paths have no spaces; they may break after these characters.
_BREAKABLE = re.compile(r"(?<=[_/=])(?=\w)")
_LONG_WORD = re.compile(r"(\S{48})(?=\S)")
_MAY_BREAK = "\u200b"
# A column with a longer cell than this wraps.
_LONG_CELL = 40


def pdf(contents: Contents, svgs: Mapping[str, str]) -> bytes:
    """Render a report; the same contents give the same bytes.

    Args:
        contents: Contents of the report.
        svgs: Each figure as SVG, by its name.

    """
    data = {
        "title": visible(contents.title),
        "abstract": [visible(sentence) for sentence in contents.abstract],
        "parts": [_part(part, svgs) for part in contents.parts],
    }
    rendered = typst.compile(
        files("r1zero.report.paper").joinpath("report.typ").read_bytes(),
        format="pdf",
        sys_inputs={"contents": json.dumps(data)},
        timestamp=0,
    )
    assert isinstance(rendered, bytes)
    return rendered


def _part(part: Part, svgs: Mapping[str, str]) -> dict[str, Any]:
    return {
        "anchor": part.anchor,
        "title": visible(part.title),
        "paragraphs": [visible(paragraph) for paragraph in part.paragraphs],
        "tables": [_table(table) for table in part.tables],
        "figures": [_figure(figure, svgs[figure.name]) for figure in part.figures],
        "samples": [_sample(sample) for sample in part.samples],
    }


def _table(table: Table) -> dict[str, Any]:
    return {
        "title": visible(table.title),
        "caption": visible(table.caption),
        "headings": [visible(heading) for heading in table.headings],
        "rows": [[_breakable(cell) for cell in row] for row in table.rows],
        "numeric": sorted(table.numeric),
        "widths": [_width(table, column) for column in range(len(table.headings))],
    }


def _width(table: Table, column: int) -> float | None:
    """Relative width of a column of long text; None for a column that is as wide as its cells."""
    lengths = [len(row[column]) for row in table.rows]
    if column in table.numeric or max(lengths, default=0) <= _LONG_CELL:
        return None
    # The square root makes columns of more text wider without starving the others.
    return round(math.sqrt(sum(lengths) / len(lengths)), 2)


def _figure(figure: Figure, svg: str) -> dict[str, Any]:
    width = re.search(r'<svg[^>]* width="([\d.]+)"', svg)
    return {
        "title": visible(figure.title),
        "caption": visible(figure.caption),
        "svg": svg,
        "share": min(1.0, float(width[1]) / _FULL_WIDTH) if width else 1.0,
    }


def _sample(sample: Sample) -> dict[str, Any]:
    return {
        "title": visible(sample.title),
        "completion": _LONG_WORD.sub(rf"\1{_MAY_BREAK}", visible(sample.completion)),
        "notes": [visible(note) for note in sample.notes],
    }


def _breakable(cell: str) -> str:
    """Let long words break: within identifiers and paths after `_`, `/`, `=`, else anywhere."""
    return _LONG_WORD.sub(rf"\1{_MAY_BREAK}", _BREAKABLE.sub(_MAY_BREAK, visible(cell)))
