"""Every rollout of a run in Parquet: a file a step, within a budget, joined at the end."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from r1zero.core.files import atomic_path
from r1zero.train import metrics

BUDGET_MB = 200.0
MOST_FAILURES = 1000


class Recording:
    """The folder of a run's rollouts, one file for each step that made any.

    When the files outgrow the budget, every second step goes, then every second of those left. So
    what is kept covers the whole run evenly; the first and the last step are always there.
    """

    def __init__(self, folder: Path, *, budget_mb: float = BUDGET_MB, resumed: int = 0) -> None:
        """Go on in `folder` after step `resumed`; steps after it are about to be done again."""
        self.folder, self.budget = folder, budget_mb * 1e6
        for step, path in steps(folder).items():
            if step > resumed:
                path.unlink()
        self._stride = _stride(list(steps(folder)))

    def write(self, rows: pl.DataFrame) -> None:
        """Write the rollouts of one step, and thin the steps out if they are over the budget.

        Args:
            rows: One row a completion: `step`, the optimizer step that it was drawn for, from 1;
                `draw`, 0 or which of the draws after it, where equal groups are drawn anew;
                `problem_id`, `prompt`, `completion`; `length` in tokens; whether it is
                `truncated`; `rewards/<term>` before its weight; `reward`, `advantage`; whether it
                is `in_loss`.
        """
        path = self.folder / f"step-{rows['step'][0]:06d}.parquet"
        with atomic_path(path) as temporary:
            rows.write_parquet(temporary)
        self._thin()

    def _thin(self) -> None:
        found = steps(self.folder)
        first, last = min(found), max(found)
        while True:
            for step in set(found) - {first, last}:
                if (step - first) % self._stride:
                    found.pop(step).unlink()
            if len(found) <= 2 or sum(p.stat().st_size for p in found.values()) <= self.budget:
                return
            self._stride *= 2


def steps(folder: Path) -> dict[int, Path]:
    """The files of a folder by their steps, ascending."""
    return {int(path.stem.removeprefix("step-")): path for path in sorted(folder.glob("step-*"))}


def collect(folder: Path, out: Path) -> None:
    """Join the files of a folder into one, in the order of the steps."""
    paths = list(steps(folder).values())
    rows = pl.scan_parquet(paths) if paths else pl.LazyFrame()
    with atomic_path(out) as temporary:
        rows.sink_parquet(temporary)


def _stride(kept: list[int]) -> int:
    """The largest power of 2 that parts the steps, the last aside, which is there in any case."""
    stride = 1
    while len(kept) > 2 and all((step - kept[0]) % (2 * stride) == 0 for step in kept[:-1]):
        stride *= 2
    return stride


class Failures:
    """Completions that a term could not score, as JSON lines; the first thousand of a run."""

    def __init__(self, path: Path, *, resumed: int = 0) -> None:
        """Go on in `path` after step `resumed`; steps after it are about to be done again."""
        self.path = path
        metrics.keep_until(path, resumed)
        self._left = MOST_FAILURES - len(metrics.read(path))

    def add(self, rows: Sequence[dict[str, Any]]) -> None:
        """Write failures: `step`, `reward_function`, `problem`, `problem_id`, `completion`."""
        written = rows[: self._left]
        self._left -= len(written)
        with self.path.open("a", encoding="utf-8") as stream:
            stream.writelines(json.dumps(row) + "\n" for row in written)
