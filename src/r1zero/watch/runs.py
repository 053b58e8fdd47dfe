"""What the files of a run say about how it is going.

Files alone: the runs may be on other machines of a cluster that share the file system. So files
vanish, end in half a line, and carry the times of another clock.
"""

import contextlib
import json
import math
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any, Literal, get_args

from r1zero.train import checkpoints
from r1zero.train.metrics import Tail

State = Literal["failed?", "stalled", "training", "evaluating", "waiting", "done"]

# Steps behind what is said of the present pace.
_RECENT = 20
# A run is stalled after this many steps without a line, and no sooner than after these seconds: a
# checkpoint is being saved, or a model loaded.
_STALLED_STEPS, _STALLED_SECONDS = 5, 60.0
# Before its first line, a run loads a model, and vLLM compiles it.
_STARTING_SECONDS = 900.0
# A trainer that ended is silent, and one that begins takes longer than this to its first line.
_QUIET_SECONDS = 10.0
_CONSOLE_BYTES = 20_000


@dataclass(frozen=True)
class Status:
    """A run at one moment. What is not known is None; curves hold no such values."""

    run: str
    """`<scale>/<recipe>/<backend>/seed<seed>`."""
    folder: str
    """The folder whose `results` and `checkpoints` it is in."""
    state: State
    step: int
    max_steps: int | None
    seconds_left: float | None
    """Of a training that goes on, at the mean pace of its last steps."""
    reward: tuple[float, ...]
    """One value a step that made rollouts."""
    length: tuple[float, ...]
    """Mean length of the completions in tokens."""
    kl: float | None
    """Of the last step."""
    checkpoint: int | None
    """Step of the last complete checkpoint."""
    tokens_per_second: float | None
    """Generated tokens over the whole time of the last steps."""
    age: float | None
    """Seconds since the last line of metrics."""
    evaluations_left: int | None
    """Evaluations that a trained run still lacks, of the suites that were begun."""
    disk_needed: float | None
    """Bytes that its checkpoints still need, where the plan knows them."""


class Watched:
    """One run, looked at again and again."""

    def __init__(self, root: Path, run: str) -> None:
        self.root, self.run = root, run
        self._results, self._checkpoints = root / "results" / run, root / "checkpoints" / run
        self._tails = [Tail(path / "metrics.jsonl") for path in (self._checkpoints, self._results)]
        self._rows: list[list[dict[str, Any]]] = [[], []]
        self._seen: tuple[float, float] | None = None

    def look(self) -> Status:
        """How the run is now."""
        resolved, model = _json(self._results / "run.json"), _json(self._results / "model.json")
        owner = _json(self._checkpoints / "run.json")
        wanted = resolved.get("config_hash")
        # What a former configuration left is not this run.
        if wanted not in (None, model.get("config_hash")):
            model = {}
        begun = bool(owner) and wanted in (None, owner.get("identity", {}).get("config_hash"))
        settings = (resolved or owner or model).get("settings", {})
        rows = self._read(finished=bool(model)) if model or begun else []
        recent = [row for row in rows[-_RECENT:] if _number(row, "step_time")]
        times = [row["step_time"] for row in recent]
        last = rows[-1] if rows else {}
        step, most = last.get("step", 0), settings.get("sizes", {}).get("max_steps")
        done = list(checkpoints.sealed(self._checkpoints)) if model or begun else []
        evaluations = [path.parent.name for path in self._results.glob("evaluations/*/step*.json")]
        age = self._age() if begun and not model else None
        lacking = _lacking(settings.get("sizes", {}), evaluations) if model else None
        state: State = self._in_training(age, times)
        if model:
            state = "evaluating" if lacking else "done"
        return Status(
            run=self.run,
            folder=str(self.root),
            state=state,
            step=step,
            max_steps=most,
            seconds_left=(most - step) * fmean(times)
            if most and times and state == "training"
            else None,
            reward=tuple(_curve(rows, "reward")),
            length=tuple(_curve(rows, "completions/mean_length")),
            kl=_number(last, "kl"),
            checkpoint=max(done, default=None),
            tokens_per_second=_pace(recent, settings),
            age=age,
            evaluations_left=lacking,
            disk_needed=None if model else _needed(_json(self._results / "plan/plan.json"), done),
        )

    def _read(self, *, finished: bool) -> list[dict[str, Any]]:
        """Rows of the training; of a finished one those beside its model, which outlive it."""
        place = 1 if finished else 0
        new = self._tails[place].read()
        if new is None:
            self._rows[place], new = [], self._tails[place].read() or []
        rows = self._rows[place]
        for row in new:
            # A training that was cut off does its last steps again.
            while rows and rows[-1]["step"] >= row["step"]:
                rows.pop()
            rows.append(row)
        return rows

    def _age(self) -> float:
        """Seconds since the last line, by our own clock as soon as we saw one come."""
        written = self._written()
        now = time.monotonic()
        if self._seen is None:
            # The clock of the one who wrote may be ahead of ours.
            self._seen = (written, now - max(0.0, time.time() - written))
        elif written != self._seen[0]:
            self._seen = (written, now)
        return now - self._seen[1]

    def _written(self) -> float:
        names = ("metrics.jsonl", "console.log", "run.json")
        return next(filter(None, (_modified(self._checkpoints / name) for name in names)), 0.0)

    def _in_training(self, age: float | None, times: Sequence[float]) -> State:
        if age is None:
            return "waiting"
        if age > _QUIET_SECONDS and self._crashed():
            return "failed?"
        # Written when an attempt begins, which also cuts the metrics off at its checkpoint.
        attempt = _modified(self._checkpoints / "run.json")
        if not times or self._written() - attempt < _QUIET_SECONDS:
            patience = _STARTING_SECONDS
        else:
            patience = max(_STALLED_SECONDS, _STALLED_STEPS * median(times))
        return "training" if age <= patience else "stalled"

    def _crashed(self) -> bool:
        """Whether this attempt's output ends in a traceback, with no step after it."""
        path = self._checkpoints / "console.log"
        if _modified(path) < _modified(self._checkpoints / "run.json"):
            return False
        try:
            with path.open("rb") as stream:
                stream.seek(max(0, stream.seek(0, os.SEEK_END) - _CONSOLE_BYTES))
                text = stream.read()
        except OSError:
            return False
        return text.rfind(b"Traceback (most recent call last)") > text.rfind(b"\nstep=")


class Watch:
    """All runs under some folders, those that come while it watches among them."""

    def __init__(self, folders: Iterable[Path]) -> None:
        self._folders = list(folders)
        self._runs: dict[tuple[Path, str], Watched] = {}

    def look(self) -> list[Status]:
        """How the runs are now, those that need a look first."""
        keys = [(folder, run) for folder in self._folders for run in _runs_of(folder)]
        self._runs = {key: self._runs.get(key) or Watched(*key) for key in keys}
        found = []
        for watched in self._runs.values():
            with contextlib.suppress(OSError):  # moved away while we looked
                found.append(watched.look())
        order = get_args(State)
        return sorted(found, key=lambda status: (order.index(status.state), status.run))


def _lacking(sizes: dict[str, Any], evaluations: Sequence[str]) -> int:
    """How many evaluations are missing until each suite has one of every step.

    Args:
        sizes: The run's.
        evaluations: The suite of each evaluation; suites that were not begun are not known.

    """
    try:
        steps = sizes["max_steps"] // sizes["save_steps"] + 1
    except (KeyError, TypeError, ZeroDivisionError):
        return 0
    return max(0, max(1, len(set(evaluations))) * int(steps) - len(evaluations))


def _runs_of(folder: Path) -> set[str]:
    """Runs with a file that says so; other folders of that depth are none."""
    found = set()
    for place in ("checkpoints", "results"):
        with contextlib.suppress(OSError):
            for path in (folder / place).glob("*/*/*/seed*/run.json"):
                found.add(path.parent.relative_to(folder / place).as_posix())
    return found


def _json(path: Path) -> dict[str, Any]:
    """A JSON object; empty if there is none, or none yet."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _number(row: dict[str, Any], key: str) -> float | None:
    value = row.get(key)
    return value if isinstance(value, int | float) and math.isfinite(value) else None


def _curve(rows: Iterable[dict[str, Any]], key: str) -> list[float]:
    return [value for row in rows if (value := _number(row, key)) is not None]


def _pace(rows: Sequence[dict[str, Any]], settings: dict[str, Any]) -> float | None:
    """Generated tokens a second; steps that use the rollouts of an earlier one generate none."""
    try:
        algorithm = settings["algorithm"]
        at_once = settings["sizes"]["prompts_per_step"] * algorithm["num_generations"]
        at_once *= algorithm.get("updates_per_rollout", 1)
    except (KeyError, TypeError):
        return None
    lengths = _curve(rows, "completions/mean_length")
    return sum(lengths) * at_once / sum(row["step_time"] for row in rows) if lengths else None


def _needed(plan: dict[str, Any], done: Sequence[int]) -> float | None:
    """Bytes of the checkpoints that a run has still to write."""
    disk = plan.get("disk")
    if not disk:
        return None
    states = plan.get("kept_optimizer_states") or disk["checkpoints"]
    left = max(0, disk["checkpoints"] - len(done))
    new_states = min(left, max(0, states - len(done)))
    return float(left * disk["weights"] + new_states * disk["optimizer"])
