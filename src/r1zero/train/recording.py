"""What a training leaves, whatever its backend: the contract of the trainer's process.

A backend reports to a `Recorder`, which writes these files into the folder of checkpoints:

- `metrics.jsonl`: one object per optimizer step. Every backend has `step`, `loss`, `grad_norm`,
  `learning_rate` and `step_time` (seconds); and, in steps that draw rollouts, `reward`,
  `completions/mean_length` and `completions/tokens_of_all_draws` (tokens per completion of the
  batch, with groups that were drawn anew). Further keys are copied to trackers and reports.
- `rollouts/step-<step>.parquet`: every completion of a step, within a budget.
- `failures.jsonl`: completions that a reward function could not score.
- `checkpoint-<step>/checkpoint.json`: the seal of a complete checkpoint, with checksums.

It answers with what the guards decide (`r1zero.train.guards`): whether to save after a step, and
whether to end.
"""

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import polars as pl

from r1zero.core.files import atomic_path
from r1zero.settings import RunSettings
from r1zero.train import checkpoints, metrics
from r1zero.train.guards import Guards, Verdict

BUDGET_MB = 200.0
MOST_FAILURES = 1000


class Recorder:
    """Writes the files of one training. Only the main process of a backend has one.

    Args:
        folder: Folder of checkpoints.
        config_hash: Hash of the run's configuration, for the seals.
        optimizer_states: Patterns of the files of a checkpoint that are only needed to resume.
        max_steps: Optimizer steps of the whole run.
        save_steps: Steps between checkpoints that are kept. Others only serve to resume.
        shared_steps: Optimizer steps that share rollouts.
        resumed: Step that training goes on from. Records of later steps are deleted, because these
            steps are about to be done again.
        keep_states: Number of last checkpoints that keep their optimizer states; None for all.

    """

    def __init__(
        self,
        folder: Path,
        *,
        config_hash: str,
        optimizer_states: Sequence[str],
        max_steps: int,
        save_steps: int = 1,
        shared_steps: int = 1,
        resumed: int = 0,
        keep_states: int | None = None,
    ) -> None:
        self.folder, self.config_hash = folder, config_hash
        self.max_steps, self.save_steps = max_steps, save_steps
        self.optimizer_states, self.keep_states = optimizer_states, keep_states
        self.rollouts = RolloutFolder(folder / "rollouts", resumed=resumed)
        self.failures = Failures(folder / "failures.jsonl", resumed=resumed)
        self.guards = Guards(
            folder, max_steps=max_steps, resumed=resumed, shared_steps=shared_steps
        )
        self._started = (resumed, time.monotonic())

    @classmethod
    def of(
        cls,
        run: Mapping[str, Any],
        settings: RunSettings,
        folder: Path,
        *,
        optimizer_states: Sequence[str],
        resume: Path | None,
        keep_states: int | None,
    ) -> Self:
        """The recorder of a run.

        Args:
            run: Content of its run.json.
            settings: Its settings.
            folder: Folder of checkpoints.
            optimizer_states: See the class.
            resume: Checkpoint that training goes on from.
            keep_states: See the class.

        """
        return cls(
            folder,
            config_hash=run["config_hash"],
            optimizer_states=optimizer_states,
            max_steps=settings.sizes.max_steps,
            save_steps=settings.sizes.save_steps,
            shared_steps=settings.algorithm.shared_steps,
            resumed=checkpoints.step_of(resume) if resume else 0,
            keep_states=keep_states,
        )

    def start(self) -> None:
        """Start the clocks, when the first step begins."""
        self._started = (self._started[0], time.monotonic())
        self.guards.start()

    def step(self, row: Mapping[str, float], *, saves: bool) -> Verdict:
        """Append the metrics of a step, print a line of progress, and decide what comes next.

        Args:
            row: `step` and its metrics. A metric without a value is left out of the mapping.
            saves: Whether a checkpoint is due after it.

        """
        metrics.append(self.folder / "metrics.jsonl", dict(row))
        first, since = self._started
        pace = (time.monotonic() - since) / (row["step"] - first)
        print(_progress(row, self.max_steps, pace), flush=True)
        return self.guards.after_step(row, saves=saves)

    def checkpoint(self, step: int) -> None:
        """Seal `checkpoint-<step>`, once every process has written its files into it."""
        checkpoint = self.folder / f"checkpoint-{step}"
        checkpoints.seal(checkpoint, self.config_hash)
        self.guards.saved(checkpoint)
        # What an attempt saved at its end has served once there is a later one.
        for other, path in checkpoints.sealed(self.folder).items():
            if other < step and other % self.save_steps:
                shutil.rmtree(path)
        if self.keep_states is not None:
            checkpoints.prune_optimizer_states(self.folder, self.keep_states, self.optimizer_states)


def _progress(row: Mapping[str, float], steps: int, pace: float) -> str:
    """A line for people; steps that use the rollouts of an earlier one have no reward."""
    left = int((steps - row["step"]) * pace)
    shown = {"reward": "reward={:.3f} ", "completions/mean_length": "length={:.0f} "}
    return (
        f"step={row['step']}/{steps} "
        + "".join(text.format(row[key]) for key, text in shown.items() if key in row)
        + f"step_time={row['step_time']:.1f}s eta={left // 60}m{left % 60:02d}s"
    )


class RolloutFolder:
    """The folder of a run's rollouts, one Parquet file for each step that draws any.

    When the files outgrow the budget, every second step is deleted, then every second of those
    left. So the kept steps cover the whole run evenly; the first and the last are always there.
    """

    def __init__(self, folder: Path, *, budget_mb: float = BUDGET_MB, resumed: int = 0) -> None:
        """Go on in `folder` after step `resumed`; files of later steps are deleted."""
        self.folder, self.budget = folder, budget_mb * 1e6
        for step, path in steps(folder).items():
            if step > resumed:
                path.unlink()
        self._stride = _stride(list(steps(folder)))

    def write(self, rows: pl.DataFrame) -> None:
        """Write the rollouts of one step, and delete steps if the budget is exceeded.

        Args:
            rows: One row a completion: `step`, the optimizer step that it was drawn for, from 1;
                `draw`, 0 or the number of the draw that replaced zero-variance groups;
                `problem_id`, `prompt`, `completion`; `length` in tokens; whether it is
                `truncated`; `rewards/<name>` of each reward function before its weight; `reward`,
                `advantage`; whether it is `in_loss`.

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
    """The rollout files of a folder by step, ascending."""
    return {int(path.stem.removeprefix("step-")): path for path in sorted(folder.glob("step-*"))}


def collect(folder: Path, out: Path) -> None:
    """Join the rollout files of a folder into one, in the order of the steps."""
    paths = list(steps(folder).values())
    rows = pl.scan_parquet(paths) if paths else pl.LazyFrame()
    with atomic_path(out) as temporary:
        rows.sink_parquet(temporary)


def _stride(kept: list[int]) -> int:
    """The largest power of 2 that divides the gaps between steps, except that to the last."""
    stride = 1
    while len(kept) > 2 and all((step - kept[0]) % (2 * stride) == 0 for step in kept[:-1]):
        stride *= 2
    return stride


class Failures:
    """Completions that a reward function could not score, as JSON lines: the first thousand."""

    def __init__(self, path: Path, *, resumed: int = 0) -> None:
        """Go on in `path` after step `resumed`; lines of later steps are deleted."""
        self.path = path
        metrics.keep_until(path, resumed)
        self._left = MOST_FAILURES - len(metrics.read(path))

    def add(self, rows: Sequence[dict[str, Any]]) -> None:
        """Write failures, each with `step`, `term`, `problem`, `problem_id`, `completion`."""
        written = rows[: self._left]
        self._left -= len(written)
        with self.path.open("a", encoding="utf-8") as stream:
            stream.writelines(json.dumps(row) + "\n" for row in written)
