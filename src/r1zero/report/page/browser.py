"""Data of the rollout browser: completions of training and evaluation, thinned to a budget.

If they exceed the budget, whole groups are left out. Of a training, the groups that stay are spread
evenly over its steps and include the first and the last; of evaluations, whole problems stay, so
that they can be followed through all checkpoints. All runs have an equal share of the budget; what
one run does not need goes to the others.
"""

import gzip
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from r1zero.core.errors import UserError
from r1zero.report.results.inputs import RunResults
from r1zero.report.statistics.measures import groups_of, names_of

# Expected ratio of compression of rollouts, for the first guess at how much fits.
_PACKED = 6
# Largest ratio of unpacked size to budget, so that the memory of a phone suffices.
_UNPACKED_AT_MOST = 12
# If less than this share of the budget is filled, more groups are tried.
_FILLED = 0.85
_ATTEMPTS = 6
_LEVEL = 6
_DECIMALS = 4
_TERM = "rewards/"
_AGAIN = "delete it and make it again"

_NUMBERS = {
    "step": pl.Int64,
    "draw": pl.Int64,
    "sample": pl.Int64,
    "length": pl.Int64,
    "truncated": pl.Int8,
    "right": pl.Int8,
    "lenient": pl.Int8,
    "format": pl.Int8,
    "reward": pl.Float64,
    "advantage": pl.Float64,
    "in_loss": pl.Int8,
}
# Columns of text, written as indices into the list of all distinct texts.
_TEXTS = dict.fromkeys(
    ("problem_id", "prompt", "completion", "decoding", "extracted", "reason"), pl.String
)


@dataclass(frozen=True)
class Packed:
    """The data, and which share of the completions it holds."""

    data: bytes
    """Gzipped JSON."""
    kept: int
    """Completions in the data."""
    found: int
    """Completions of all files."""


@dataclass(frozen=True)
class _Source:
    """Completions of one run: of its training, or of its evaluations on one suite."""

    run: int
    suite: str | None
    files: tuple[tuple[int, Path], ...]
    """Step and file; the file of a training has a column with the steps instead."""
    groups: pl.DataFrame
    """One row per group that is kept or left out as a whole: its keys, `rows`, `bytes`."""


def files(runs: Sequence[RunResults]) -> list[Path]:
    """List the files that `pack` reads: rollouts and completions, if a run has them."""
    return [path for result in runs for _, found in _files(result) for _, path in found]


def pack(runs: Sequence[RunResults], *, megabytes: float) -> Packed:
    """Collect the completions of all runs in at most `megabytes` (10^6 bytes) of gzipped JSON.

    The JSON has `runs` (names), `sources` (`run` and `suite`, which is null for the training),
    `texts`, and `columns` with one entry per completion, null for unknown values. Columns of text
    hold indices into `texts`. At least one group of each run is kept.
    """
    sources = list(_sources(runs))
    found = sum(int(source.groups["rows"].sum()) for source in sources)
    total = sum(int(source.groups["bytes"].sum()) for source in sources)
    budget = megabytes * 1e6
    limit = min(float(total), budget * _PACKED)
    best, quality = Packed(b"", 0, found), (-1, 0.0)
    for _ in range(_ATTEMPTS):
        kept = _kept(sources, limit)
        content = _content(runs, kept)
        raw = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
        data = gzip.compress(raw, _LEVEL, mtime=0)
        size = max(len(data), len(raw) / _UNPACKED_AT_MOST)
        rows = len(content["columns"]["step"])
        # Prefer what fits; then the most completions, or else the smallest size.
        if (reached := (1, float(rows)) if size <= budget else (0, -size)) > quality:
            best, quality = Packed(data, rows, found), reached
        if size <= budget and (limit >= total or size >= _FILLED * budget):
            break
        limit = min(float(total), limit * 0.95 * budget / size)
    return best


def _files(result: RunResults) -> Iterator[tuple[str | None, tuple[tuple[int, Path], ...]]]:
    """Suite (None for the training) and its files with their steps."""
    rollouts = result.model.source.with_name("rollouts.parquet")
    if rollouts.exists():
        yield None, ((0, rollouts),)
    for suite in result.suites:
        kept = [(item.step, item.completions) for item in suite.evaluations if item.completions]
        if kept:
            yield suite.name, tuple(kept)


def _sources(runs: Sequence[RunResults]) -> Iterator[_Source]:
    for place, result in enumerate(runs):
        for suite, found in _files(result):
            keys = ["problem_id"] if suite else ["step", "problem_id"]
            scanned = [_scan(path, keys) for _, path in found]
            rows = [frame.select(*keys, "completion") for frame in scanned if frame is not None]
            if not rows:
                continue
            groups = (
                pl.concat(rows)
                .group_by(keys, maintain_order=True)
                .agg(rows=pl.len(), bytes=pl.col("completion").str.len_bytes().sum())
                # A file of long completions may be larger than the memory.
                .collect(engine="streaming")
            )
            yield _Source(place, suite, found, groups)


def _scan(path: Path, keys: Sequence[str]) -> pl.LazyFrame | None:
    """Open a file of completions, or raise `UserError`.

    Returns None for a file without columns, which a training without rollouts leaves.
    """
    try:
        frame = pl.scan_parquet(path)
        found = frame.collect_schema().names()
    except FileNotFoundError:
        raise UserError("no such file", where=str(path), hint=_AGAIN) from None
    except pl.exceptions.PolarsError as error:
        message = f"not a Parquet file: {str(error).splitlines()[0]}"
        raise UserError(message, where=str(path), hint=_AGAIN) from None
    missing = [name for name in (*keys, "completion") if name not in found]
    if found and missing:
        raise UserError(f"no column {missing[0]}", where=str(path), hint=_AGAIN)
    return frame if found else None


def _kept(sources: Sequence[_Source], limit: float) -> list[_Source]:
    """Keep about `limit` bytes of completions in all."""
    by_run: Counter[int] = Counter()
    for source in sources:
        by_run[source.run] += int(source.groups["bytes"].sum())
    most = _shared_out(list(by_run.values()), limit)
    shares = {run: most / max(1, needed) for run, needed in by_run.items()}
    return [
        replace(item, groups=item.groups[evenly(len(item.groups), shares[item.run])])
        for item in sources
    ]


def _shared_out(needs: Sequence[int], limit: float) -> float:
    """The most that each may have, so that together they use `limit`, or less if that suffices."""
    left = limit
    for done, need in enumerate(sorted(needs)):
        if need * (len(needs) - done) > left:
            return left / (len(needs) - done)
        left -= need
    return float(max(needs, default=0))


def evenly(count: int, share: float) -> list[int]:
    """Indices of a share of `count` items, evenly spaced, including the first and the last."""
    if share >= 1:
        return list(range(count))
    places = np.linspace(0, count - 1, max(min(2, count), int(count * share)))
    return list(dict.fromkeys(places.round().astype(int).tolist()))


def _content(runs: Sequence[RunResults], sources: Sequence[_Source]) -> dict[str, Any]:
    names = names_of(groups_of(runs))
    frames = [pl.DataFrame(schema={"source": pl.Int32, **_NUMBERS, **_TEXTS})]
    frames += [_rows(source).with_columns(source=place) for place, source in enumerate(sources)]
    rows = pl.concat(frames, how="diagonal")
    terms = [name for name in rows.columns if name.startswith(_TERM)]
    places: dict[str, int] = {}
    columns: dict[str, Sequence[float | None]] = {
        name: _numbers(rows[name]) for name in ["source", *_NUMBERS, *terms]
    }
    columns |= {name: _places(rows[name], places) for name in _TEXTS}
    return {
        "runs": [f"{names[result.run]}, seed {result.run.seed}" for result in runs],
        "sources": [{"run": source.run, "suite": source.suite} for source in sources],
        "texts": list(places),
        "columns": columns,
    }


def _rows(source: _Source) -> pl.DataFrame:
    """Completions of the groups that are kept, in the order of the files."""
    keys = ["problem_id"] if source.suite else ["step", "problem_id"]
    kept = source.groups.select(keys).lazy()
    frames = []
    for step, path in source.files:
        if (scanned := _scan(path, keys)) is None:
            continue
        columns = scanned.collect_schema().names()
        frame = scanned.join(kept, on=keys, how="semi", maintain_order="left")
        if source.suite:
            frame = frame.with_columns(step=pl.lit(step))
        correct = "correct" if source.suite else f"{_TERM}correct"
        if correct in columns:
            frame = frame.with_columns(right=(pl.col(correct) > 0).cast(pl.Int8))
        frames.append(_typed(frame.collect(engine="streaming")))
    return pl.concat(frames, how="diagonal")


def _typed(rows: pl.DataFrame) -> pl.DataFrame:
    """Only the columns of the browser; those that a file lacks are null."""
    terms = [name for name in rows.columns if name.startswith(_TERM)]
    wanted = {**_NUMBERS, **_TEXTS, **dict.fromkeys(terms, pl.Float64)}
    return rows.select(
        (pl.col(name) if name in rows.columns else pl.lit(None)).cast(kind).alias(name)
        for name, kind in wanted.items()
    )


def _numbers(values: pl.Series) -> list[float | None]:
    if not values.dtype.is_float():
        return values.to_list()
    finite = values.set(~values.is_finite().fill_null(False), None).round(_DECIMALS)
    return [
        int(value) if value is not None and value.is_integer() else value
        for value in finite.to_list()
    ]


def _places(values: Iterable[str | None], places: dict[str, int]) -> list[int | None]:
    """The index of each text in the list of all texts, to which new texts are added."""
    return [None if text is None else places.setdefault(text, len(places)) for text in values]
