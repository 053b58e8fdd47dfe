"""Contents of a report before it is rendered: parts with text, tables and figures.

`sections` makes them from the results; `pdf` and `html` render them and add nothing of their own.
All text is plain and untrusted: a renderer escapes it, or passes it as data.
"""

from dataclasses import dataclass
from pathlib import Path

import altair as alt
import polars as pl


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
