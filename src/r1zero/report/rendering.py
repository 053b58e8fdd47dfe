"""Tables and figures as files: CSV, Markdown, LaTeX; SVG, PDF, PNG."""

import io
import re
from collections.abc import Sequence

import altair as alt
import polars as pl
import typst
import vl_convert
from rich.markup import escape
from rich.table import Table as TerminalTable

from r1zero.report.document import Table
from r1zero.report.text import markdown_table, visible

# Pixels per pixel of the SVG, for screens of high density.
_PNG_SCALE = 2


def to_csv(table: Table) -> str:
    """The raw numbers, comma-separated, with one header line."""
    return table.data.write_csv()


def to_markdown(table: Table) -> str:
    """The shown cells, for GitHub."""
    return markdown_table(table.headings, table.rows, table.numeric)


def to_latex(table: Table) -> str:
    r"""The shown cells as a booktabs `tabular`, to be `\input` into a paper."""
    columns = "".join("r" if i in table.numeric else "l" for i in range(len(table.headings)))
    lines = [
        "% needs \\usepackage{booktabs}",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        _latex_row(table.headings),
        r"\midrule",
        *(_latex_row(row) for row in table.rows),
    ]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def to_terminal(table: Table) -> TerminalTable:
    """The shown cells, for the terminal."""
    rendered = TerminalTable(box=None, pad_edge=False)
    for index, heading in enumerate(table.headings):
        rendered.add_column(heading, justify="right" if index in table.numeric else "left")
    for row in table.rows:
        rendered.add_row(*(escape(visible(cell)) for cell in row))
    return rendered


def rounded(data: pl.DataFrame, decimals: int = 6) -> pl.DataFrame:
    """Round to digits that every machine writes alike, finer than any evaluation resolves.

    NaN, which CSV can't tell from text, becomes an empty field.
    """
    floats = pl.selectors.float()
    return data.with_columns(floats.fill_nan(None)).with_columns(floats.round(decimals))


def to_svg(chart: alt.TopLevelMixin) -> str:
    """Render as SVG: the same chart gives the same bytes."""
    stream = io.StringIO()
    chart.save(stream, format="svg")
    return _with_stable_ids(stream.getvalue())


def svg_to_png(svg: str) -> bytes:
    """Render an SVG as PNG, at twice its size."""
    return bytes(vl_convert.svg_to_png(svg, scale=_PNG_SCALE))


def svg_to_pdf(svg: str) -> bytes:
    """Render an SVG as a PDF page of its size.

    By Typst, because the PDF writer of vl-convert orders its objects at random.
    """
    source = (
        "#set page(width: auto, height: auto, margin: 0pt)\n"
        '#image(bytes(sys.inputs.svg), format: "svg")'
    )
    rendered = typst.compile(source.encode(), format="pdf", sys_inputs={"svg": svg}, timestamp=0)
    assert isinstance(rendered, bytes)
    return rendered


def _with_stable_ids(svg: str) -> str:
    """Renumber clip paths from 0: within a process, the renderer counts on between figures."""
    order: dict[str, str] = {}

    def renumbered(match: re.Match[str]) -> str:
        return match[1] + order.setdefault(match[2], f"clip{len(order)}")

    return re.sub(r'(id="|url\(#)(clip\d+)\b', renumbered, svg)


def _latex_row(cells: Sequence[str]) -> str:
    return " & ".join(_latex_text(cell) for cell in cells) + r" \\"


def _latex_text(text: str) -> str:
    escapes = {
        "\\": r"\textbackslash{}",
        **{character: f"\\{character}" for character in "&%$#_{}"},
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "−": "$-$",
        "–": "--",
        "→": r"$\to$",
        "×": r"$\times$",
        "±": r"$\pm$",
        "Δ": r"$\Delta$",
        "\n": " ",
    }
    return "".join(escapes.get(character, character) for character in visible(text))
