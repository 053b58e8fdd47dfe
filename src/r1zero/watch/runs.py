"""The state of runs, from their files alone.

The runs may be on other machines of a cluster that share the file system, so nothing is asked of
their processes, and any file may be missing, or end in half a line.
"""

import contextlib
import json
import math
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from statistics import fmean, median
from typing import Any, Literal, get_args

from r1zero.train import checkpoints
from r1zero.train.metrics import Tail

State = Literal["failed?", "stalled", "training", "evaluating", "waiting", "done"]

# Steps that rates are averaged over.
_RECENT = 20
# A run is stalled after this many steps without a row, and after this many seconds at least:
# saving a checkpoint takes time.
_STALLED_STEPS, _STALLED_SECONDS = 5, 60.0
# Before its first row, an attempt loads its model, and vLLM compiles it.
_STARTING_SECONDS = 900.0
# The first row of an attempt comes later than this.
_SOON_SECONDS = 10.0
_CONSOLE_BYTES = 20_000


@dataclass(frozen=True)
class Status:
    """A run at one moment; what is not known is None."""

    run: str
    """`<scale>/<recipe>/<backend>/seed<seed>`."""
    folder: str
    """The folder whose `results` and `checkpoints` it is in."""
    state: State
    step: int
    max_steps: int | None
    seconds_left: float | None
    """Of the training, at the mean pace of the last steps."""
    reward: float | None
    """Of the last step that generated completions."""
    length: float | None
    """Mean length of that step's completions in tokens."""
    kl: float | None
    """Of the last step."""
    checkpoint: int | None
    """Step of the last complete checkpoint."""
    tokens_per_second: float | None
    """Generated tokens over the whole time of the last steps."""
    age: float | None
    """Seconds since the training began, or wrote its last row."""
    evaluations_left: int | None
    """Evaluations that a trained run still lacks, of the suites that were begun."""


def look(folders: Iterable[Path]) -> list[Status]:
    """The runs under some folders, those that need attention first."""
    found = []
    for folder in folders:
        for run in sorted(_runs_of(folder)):
            with contextlib.suppress(OSError):  # moved away in the meantime
                found.append(status(folder, run))
    order = get_args(State)
    return sorted(found, key=lambda each: order.index(each.state))


def status(folder: Path, run: str) -> Status:
    """The state of one run, from `results/<run>` and `checkpoints/<run>` of a folder."""
    results, saved = folder / "results" / run, folder / "checkpoints" / run
    resolved, model, owner = (
        _object(path) for path in (results / "run.json", results / "model.json", saved / "run.json")
    )
    wanted = resolved.get("config_hash")
    # Files of an earlier configuration do not count.
    trained = bool(model) and wanted in (None, model.get("config_hash"))
    begun = bool(owner) and wanted in (None, owner.get("identity", {}).get("config_hash"))
    settings = (resolved or owner or model).get("settings", {})
    sizes = settings.get("sizes", {})
    # The metrics beside the model outlive the checkpoints.
    log = (results if trained else saved) / "metrics.jsonl"
    rows = _last_rows(log) if trained or begun else []
    last, most = rows[-1] if rows else {}, sizes.get("max_steps")
    pace = [seconds for row in rows if (seconds := _number(row, "step_time"))]
    lacking = _lacking(sizes, results / "evaluations") if trained else None
    state: State
    age = None
    if trained:
        state = "evaluating" if lacking else "done"
    elif begun:
        attempt = _modified(saved / "run.json")  # written when an attempt begins
        written = max(_modified(log), attempt)
        age = max(0.0, time.time() - written)
        if _crashed(saved / "console.log", attempt):
            state = "failed?"
        else:
            state = "training" if age <= _patience(pace, written - attempt) else "stalled"
    else:
        state = "waiting"
    step = last.get("step", 0)
    return Status(
        run=run,
        folder=str(folder),
        state=state,
        step=step,
        max_steps=most,
        seconds_left=(most - step) * fmean(pace) if most and pace and state == "training" else None,
        reward=_last(rows, "reward"),
        length=_last(rows, "completions/mean_length"),
        kl=_number(last, "kl"),
        checkpoint=max(checkpoints.sealed(saved), default=None) if trained or begun else None,
        tokens_per_second=_tokens_per_second(rows, settings),
        age=age,
        evaluations_left=lacking,
    )


def _crashed(console: Path, attempt: float) -> bool:
    """Whether an attempt's output ends in a traceback, with no step after it."""
    if _modified(console) < attempt:
        return False
    with console.open("rb") as stream:
        stream.seek(max(0, stream.seek(0, os.SEEK_END) - _CONSOLE_BYTES))
        text = stream.read()
    return text.rfind(b"Traceback (most recent call last)") > text.rfind(b"\nstep=")


def _patience(pace: Sequence[float], since_start: float) -> float:
    """Seconds without a row after which a training is stalled.

    Args:
        pace: Seconds of each of the last steps.
        since_start: Seconds from the start of the attempt to the last change of its metrics.

    """
    # A resumed training cuts the metrics off at its checkpoint, and then loads its model.
    if not pace or since_start < _SOON_SECONDS:
        return _STARTING_SECONDS
    return max(_STALLED_SECONDS, _STALLED_STEPS * median(pace))


def _lacking(sizes: dict[str, Any], evaluations: Path) -> int:
    """Evaluations that are missing until each suite that was begun has one of every checkpoint."""
    found = [path.parent for path in evaluations.glob("*/step*.json")]
    try:
        steps = sizes["max_steps"] // sizes["save_steps"] + 1
    except (KeyError, TypeError, ZeroDivisionError):
        return 0
    return max(0, max(1, len(set(found))) * int(steps) - len(found))


def _tokens_per_second(rows: Sequence[dict[str, Any]], settings: dict[str, Any]) -> float | None:
    try:
        algorithm = settings["algorithm"]
        completions = settings["sizes"]["prompts_per_step"] * algorithm["num_generations"]
        completions *= algorithm.get("updates_per_rollout", 1)
    except (KeyError, TypeError):
        return None
    # Steps that use the completions of an earlier one have no length.
    lengths = [n for row in rows if (n := _number(row, "completions/mean_length")) is not None]
    seconds = sum(_number(row, "step_time") or 0.0 for row in rows)
    return sum(lengths) * completions / seconds if lengths and seconds else None


def _runs_of(folder: Path) -> set[str]:
    """Runs that have a run.json among their results or their checkpoints."""
    return {
        path.parent.relative_to(folder / part).as_posix()
        for part in ("checkpoints", "results")
        for path in (folder / part).glob("*/*/*/seed*/run.json")
    }


def _last_rows(path: Path) -> Sequence[dict[str, Any]]:
    return _read_rows(path, _modified(path))


@lru_cache(maxsize=4096)
def _read_rows(path: Path, modified: float) -> Sequence[dict[str, Any]]:
    """The last rows of a file, read again when it has been modified."""
    return (Tail(path).read() or [])[-_RECENT:]


def _object(path: Path) -> dict[str, Any]:
    """A JSON object; empty if there is none yet."""
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


def _last(rows: Sequence[dict[str, Any]], key: str) -> float | None:
    return next((n for row in reversed(rows) if (n := _number(row, key)) is not None), None)
