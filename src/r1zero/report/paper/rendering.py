"""Tables and figures as files: CSV, Markdown, LaTeX; SVG, PDF, PNG."""

import io
import re

import altair as alt
import typst
import vl_convert

from r1zero.core.formatting import visible
from r1zero.report.paper.document import Table
from r1zero.report.paper.text import markdown_table, table_text

# Pixels per pixel of the SVG, for screens of high density.
_PNG_SCALE = 2
# Characters of the report that need a command in LaTeX; `tabulate` escapes those of its markup.
_LATEX = {
    "−": "$-$",
    "–": "--",
    "→": r"$\to$",
    "×": r"$\times$",
    "±": r"$\pm$",
    "Δ": r"$\Delta$",
}


def to_csv(table: Table) -> str:
    """The raw numbers, comma-separated, with one header line."""
    return table.data.write_csv()


def to_markdown(table: Table) -> str:
    """The shown cells, for GitHub."""
    return markdown_table(table.headings, table.rows, table.numeric)


def to_latex(table: Table) -> str:
    r"""The shown cells as a booktabs `tabular`, to be `\input` into a paper."""
    cells = [[visible(cell).replace("\n", " ") for cell in row] for row in table.rows]
    text = table_text(table.headings, cells, table.numeric, "latex_booktabs")
    for character, command in _LATEX.items():
        text = text.replace(character, command)
    return f"% needs \\usepackage{{booktabs}}\n{text}"


def to_text(table: Table) -> str:
    """The shown cells in columns, for the terminal."""
    cells = [[visible(cell) for cell in row] for row in table.rows]
    return table_text(table.headings, cells, table.numeric, "plain")


def to_svg(chart: alt.TopLevelMixin) -> str:
    """Render as SVG; the same chart gives the same bytes."""
    stream = io.StringIO()
    chart.save(stream, format="svg")
    return _with_stable_ids(stream.getvalue())


def svg_to_png(svg: str) -> bytes:
    """Render an SVG as PNG, at twice its size."""
    return bytes(vl_convert.svg_to_png(svg, scale=_PNG_SCALE))


def svg_to_pdf(svg: str) -> bytes:
    """Render an SVG as a PDF page of its size.

    Typst does it, because the PDF writer of vl-convert orders its objects at random.
    """
    source = (
        "#set page(width: auto, height: auto, margin: 0pt)\n"
        '#image(bytes(sys.inputs.svg), format: "svg")'
    )
    rendered = typst.compile(source.encode(), format="pdf", sys_inputs={"svg": svg}, timestamp=0)
    assert isinstance(rendered, bytes)
    return rendered


def _with_stable_ids(svg: str) -> str:
    """Renumber clip paths from 0, since the renderer numbers them across figures."""
    order: dict[str, str] = {}

    def renumbered(match: re.Match[str]) -> str:
        return match[1] + order.setdefault(match[2], f"clip{len(order)}")

    return re.sub(r'(id="|url\(#)(clip\d+)\b', renumbered, svg)
