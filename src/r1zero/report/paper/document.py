"""Contents of a report before it is rendered: parts with text, tables and figures.

`sections` makes them from the results; `pdf` and `html` render them and add nothing of their own.
All text is plain and untrusted: a renderer escapes it, or passes it as data.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import altair as alt
import polars as pl

from r1zero.report.statistics.intervals import Interval

# Decimals of raw numbers: finer than any evaluation resolves, and the same on every machine.
_DECIMALS = 6


@dataclass(frozen=True)
class Table:
    """A table: raw numbers for reuse, and the cells that are shown."""

    name: str
    """File stem in `tables/`."""
    title: str
    caption: str
    """One or two sentences: meaning of a row, units, intervals."""
    data: pl.DataFrame
    """Raw numbers, as the CSV file holds them."""
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    """Shown cells: one for each heading."""
    numeric: frozenset[int]
    """Shown columns that are aligned right."""
    files: tuple[Path, ...]
    """Files its numbers come from."""

    @classmethod
    def of(
        cls,
        name: str,
        title: str,
        caption: str,
        rows: Sequence[Mapping[str, str]],
        data: Sequence[Mapping[str, Any]],
        *,
        numeric: Collection[str] = (),
        files: Iterable[Path],
        exact: bool = False,
    ) -> Self:
        """Make a table from cells and raw numbers by row.

        Args:
            name: File stem.
            title: Title.
            caption: Caption.
            rows: Shown cells by heading; all rows have the same headings.
            data: Raw numbers by column; NaN becomes null, an empty field in CSV.
            numeric: Headings of the columns that are aligned right.
            files: Files the numbers come from.
            exact: Keep all decimals, as of settings.

        """
        frame = pl.DataFrame(data, infer_schema_length=None)
        if not exact:
            floats = pl.selectors.float()
            frame = frame.with_columns(floats.fill_nan(None).round(_DECIMALS))
        headings = tuple(rows[0]) if rows else ()
        return cls(
            name,
            title,
            caption,
            frame,
            headings,
            tuple(tuple(row.values()) for row in rows),
            frozenset(index for index, heading in enumerate(headings) if heading in numeric),
            tuple(dict.fromkeys(files)),
        )


def limits(interval: Interval | None, name: str = "delta") -> dict[str, float | None]:
    """Raw numbers of an interval: the estimate under a name, and `delta_low` and `delta_high`."""
    if interval is None:
        return {name: None, "delta_low": None, "delta_high": None}
    return {name: interval.estimate, "delta_low": interval.low, "delta_high": interval.high}


@dataclass(frozen=True)
class Figure:
    """A figure: a chart in a light theme, on white."""

    name: str
    """File stem in `figures/`."""
    title: str
    caption: str
    chart: alt.TopLevelMixin
    files: tuple[Path, ...]
    """Files its numbers come from."""


@dataclass(frozen=True)
class Sample:
    """A completion that was chosen by a rule."""

    title: str
    """The rule by which it was chosen, and the run, suite and step that it is from."""
    completion: str
    notes: tuple[str, ...]
    """Problem, length, and what else is known about it."""


@dataclass(frozen=True)
class Part:
    """A section, the same in PDF and HTML: text, then its tables, figures and samples."""

    anchor: str
    title: str
    paragraphs: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()
    samples: tuple[Sample, ...] = ()


@dataclass(frozen=True)
class Contents:
    """A whole report."""

    title: str
    abstract: tuple[str, ...]
    """Sentences."""
    parts: tuple[Part, ...]

    @property
    def tables(self) -> tuple[Table, ...]:
        """All tables, in reading order."""
        return tuple(table for part in self.parts for table in part.tables)

    @property
    def figures(self) -> tuple[Figure, ...]:
        """All figures, in reading order."""
        return tuple(figure for part in self.parts for figure in part.figures)
