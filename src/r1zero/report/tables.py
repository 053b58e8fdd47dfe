"""The main table: each run before and after training, on each suite, with an interval.

One table of numbers (`main_table`) is rendered as CSV, Markdown, LaTeX and for the terminal.
"""

import math
from collections.abc import Sequence, Set
from dataclasses import dataclass

import polars as pl
from rich.markup import escape
from rich.table import Table

from r1zero.report.inputs import RunResults, SuiteResults
from r1zero.report.statistics import Interval, paired_delta


@dataclass(frozen=True)
class Metric:
    """A measure of an evaluation: its name, the field of the problems, how it is shown."""

    name: str
    field: str
    label: str
    factor: float


METRICS = (
    Metric("accuracy", "correct", "accuracy (%)", 100),
    Metric("lenient_accuracy", "lenient", "lenient accuracy (%)", 100),
    Metric("format", "format", "format (%)", 100),
    Metric("mean_length", "length", "mean length (tokens)", 1),
    Metric("truncated", "truncated", "truncated (%)", 100),
)

COLUMNS = {
    "recipe": pl.String,
    "backend": pl.String,
    "seed": pl.Int64,
    "suite": pl.String,
    "metric": pl.String,
    "n_problems": pl.Int64,
    "n_samples": pl.Int64,
    "base": pl.Float64,
    "trained": pl.Float64,
    "delta": pl.Float64,
    "delta_low": pl.Float64,
    "delta_high": pl.Float64,
}
# Finer than any evaluation resolves, and coarse enough that every machine writes the same digits.
_DECIMALS = 6

HEADINGS = ("recipe", "backend", "seed", "suite", "metric", "base", "trained")
INTERVAL = "delta [95 % interval]"


def main_table(runs: Sequence[RunResults]) -> pl.DataFrame:
    """One row per run × suite × metric with the columns `COLUMNS`.

    Shares (accuracy, format, truncated) are between 0 and 1, lengths in tokens. Base is step 0,
    trained the last evaluated step. The limits are null where one problem gives no interval.
    """
    rows = [
        _row(result, suite, metric)
        for result in runs
        for suite in result.suites
        for metric in METRICS
    ]
    return (
        pl.DataFrame(rows, schema=COLUMNS, orient="row")
        .with_columns(pl.selectors.float().fill_nan(None))
        .with_columns(pl.selectors.float().round(_DECIMALS))
    )


def _row(result: RunResults, suite: SuiteResults, metric: Metric) -> tuple[object, ...]:
    base, trained = suite.base.outcomes(metric.field), suite.trained.outcomes(metric.field)
    delta = paired_delta(base, trained)
    return (
        result.run.recipe,
        result.run.backend,
        result.run.seed,
        suite.name,
        metric.name,
        *base.shape,
        float(base.mean()),
        float(trained.mean()),
        delta.estimate,
        delta.low,
        delta.high,
    )


def to_csv(table: pl.DataFrame) -> str:
    """Comma-separated, one header line."""
    return table.write_csv()


def to_markdown(table: pl.DataFrame) -> str:
    """Render for GitHub, with a verdict on each accuracy."""
    rows = [[*_cells(row), _delta(row), verdict(row)] for row in table.iter_rows(named=True)]
    return markdown_table([*HEADINGS, INTERVAL, "accuracy"], rows, numeric={2, 5, 6, 7})


def to_latex(table: pl.DataFrame) -> str:
    r"""Render as a booktabs `tabular`, to be `\input` into a paper."""
    lines = [
        "% needs \\usepackage{booktabs}",
        r"\begin{tabular}{llrllrrr}",
        r"\toprule",
        _latex_row([*HEADINGS, INTERVAL]),
        r"\midrule",
    ]
    previous: tuple[object, ...] = ()
    for row in table.iter_rows(named=True):
        group = tuple(row[key] for key in HEADINGS[:4])
        if previous and group != previous:
            lines.append(r"\addlinespace")
        lines.append(_latex_row([*_cells(row), _delta(row)]))
        previous = group
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def to_terminal(table: pl.DataFrame) -> Table:
    """Render for the terminal, without the columns that say the same in every row."""
    constant = {key for key in ("backend", "suite") if table[key].n_unique() == 1}
    shown = [index for index, key in enumerate(HEADINGS) if key not in constant]
    rendered = Table(box=None, pad_edge=False)
    for index in shown:
        rendered.add_column(HEADINGS[index], justify="right" if index in {2, 5, 6} else "left")
    rendered.add_column("delta, 95 % interval", justify="right")
    for row in table.iter_rows(named=True):
        cells = _cells(row)
        rendered.add_row(*(escape(cells[index]) for index in shown), escape(_delta(row)))
    return rendered


def verdict(row: dict[str, object]) -> str:
    """Whether a change of accuracy is settled; empty for the other metrics."""
    if row["metric"] != "accuracy":
        return ""
    low, high = row["delta_low"], row["delta_high"]
    if low is None or high is None:
        return "not settled: one problem gives no interval"
    delta = Interval(_number(row["delta"]), _number(low), _number(high))
    if not delta.settled:
        return "not settled: the interval contains 0"
    return "better" if delta.low > 0 else "worse"


def markdown_table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], numeric: Set[int] = frozenset()
) -> str:
    """Render a GitHub table; the columns in `numeric` are aligned right."""
    marks = ["---:" if index in numeric else "---" for index in range(len(headings))]
    lines = [headings, marks, *([cell.replace("|", r"\|") for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _cells(row: dict[str, object]) -> list[str]:
    """Identify a row and give its base and trained value, as text."""
    metric = _metric(row)
    values = [f"{_number(row[key]) * metric.factor:.1f}" for key in ("base", "trained")]
    return [*(str(row[key]) for key in HEADINGS[:4]), metric.label, *values]


def _delta(row: dict[str, object]) -> str:
    """Give `+1.5 [+0.3, +2.8]`, or without limits where there are none."""
    factor = _metric(row).factor
    estimate = signed(_number(row["delta"]) * factor)
    if row["delta_low"] is None or row["delta_high"] is None:
        return f"{estimate} [–, –]"
    low, high = (signed(_number(row[key]) * factor) for key in ("delta_low", "delta_high"))
    return f"{estimate} [{low}, {high}]"


def signed(value: float) -> str:
    """One decimal, always with a sign (a real minus), except for 0.0."""
    text = f"{value:+.1f}"
    return "0.0" if float(text) == 0 else text.replace("-", "−")


def _metric(row: dict[str, object]) -> Metric:
    return next(metric for metric in METRICS if metric.name == row["metric"])


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


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
    }
    return "".join(escapes.get(character, character) for character in text)
