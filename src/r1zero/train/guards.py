"""Guards of a training: it ends ahead of its time limit, and says when something goes wrong.

`r1zero train` and the trainer are different processes, often with a launcher between them that
passes no signal on. They share two files in the folder of checkpoints:

- `limits.json`, from `r1zero train` to the trainer: when this attempt has to end, and why. It is
  written again when a signal moves the end to now.
- `heartbeat.json`, from the trainer: its last step, and why it has ended early.

After each step the main process of the trainer takes a `Verdict`, in which all processes share:
whether to save now, and whether to end. A training ends early only where a resumed one ends with
the same weights, so not between steps that share rollouts.
"""

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from r1zero.core.errors import UserError
from r1zero.core.files import read_json, write_json
from r1zero.train import metrics
from r1zero.train.collapse import CollapseWatch

_LIMITS, _HEARTBEAT = "limits.json", "heartbeat.json"
# What saving a checkpoint takes at least, and until one was written for each of its bytes.
_SAVE_SECONDS, _SAVED_BYTES_PER_SECOND = 5.0, 100e6
# Allowances: steps vary in length, and a checkpoint is followed by metrics and rollouts.
_LONGER_STEP, _LARGER_CHECKPOINT = 1.5, 1.1


@dataclass(frozen=True)
class Limits:
    """What an attempt at a training is told."""

    ends_at: float | None = None
    """When the trainer has to have ended, in seconds since 1970; None for no limit."""
    cause: str = "time limit"
    """Why it has to end then."""
    checkpoint_bytes: int = 0
    """Estimated size of a checkpoint; 0 if there is no estimate."""
    on_collapse: Literal["warn", "stop"] = "warn"
    """What signs of a collapse lead to."""

    def write(self, folder: Path) -> None:
        """Tell the trainer of a folder of checkpoints."""
        write_json(folder / _LIMITS, asdict(self))


class Verdict(NamedTuple):
    """What a trainer does after a step."""

    save: bool
    stop: bool


def shared(verdict: Verdict | None) -> Verdict:
    """The verdict of the main process, in every process of a trainer."""
    from accelerate.utils import broadcast_object_list

    verdicts: list[Verdict] = broadcast_object_list([verdict])
    return verdicts[0]


class Guards:
    """Decides after each step whether a training saves and goes on.

    Args:
        folder: Folder of checkpoints.
        max_steps: Optimizer steps of the whole run.
        resumed: Step that training goes on from.
        shared_steps: Optimizer steps that share rollouts.

    """

    def __init__(
        self, folder: Path, *, max_steps: int, resumed: int = 0, shared_steps: int = 1
    ) -> None:
        self.folder, self.max_steps, self.shared_steps = folder, max_steps, shared_steps
        self._collapse = CollapseWatch(metrics.read(folder / "metrics.jsonl"))
        self._step, self._since = resumed, time.monotonic()
        self._step_seconds, self._save_seconds, self._saved_bytes = 0.0, 0.0, 0
        self._limits, self._version = Limits(), (0, 0)

    def start(self) -> None:
        """Start the clock, when the first step begins."""
        self._since = time.monotonic()
        self._beat()

    def after_step(self, row: Mapping[str, float], *, saves: bool) -> Verdict:
        """Decide after a step.

        Args:
            row: `step` and its metrics.
            saves: Whether a checkpoint is due.

        """
        self._step, self._step_seconds = int(row["step"]), self._longest(self._step_seconds)
        limits, stopped = self._told(), None
        signs = self._collapse.look(row)
        if signs:
            print(f"warning: step {self._step}: {signs}", flush=True)
            if limits.on_collapse == "stop":
                saves, stopped = False, signs
        if not stopped and self._has_to_end(limits):
            saves, stopped = True, limits.cause
        lacking = self._lacking_space() if saves else None
        if lacking:
            saves, stopped = False, lacking
        self._beat(stopped)
        return Verdict(saves, stop=stopped is not None)

    def saved(self, checkpoint: Path) -> None:
        """Learn from a checkpoint how long it takes, and how large it is."""
        self._save_seconds = self._longest(self._save_seconds)
        files = [path for path in checkpoint.rglob("*") if path.is_file()]
        self._saved_bytes = sum(path.stat().st_size for path in files)

    def _longest(self, before: float) -> float:
        """The longer of a duration and that since the last call."""
        since, self._since = self._since, time.monotonic()
        return max(before, self._since - since)

    def _told(self) -> Limits:
        """The limits, read again whenever they have been written."""
        path = self.folder / _LIMITS
        if path.exists():
            version = (path.stat().st_ino, path.stat().st_mtime_ns)
            if version != self._version:
                self._limits, self._version = Limits(**read_json(path)), version
        return self._limits

    def _has_to_end(self, limits: Limits) -> bool:
        """Whether the next chance to end comes too late."""
        if limits.ends_at is None or self._step % self.shared_steps or self._is_last():
            return False
        return time.time() + self._seconds_to_end() > limits.ends_at

    def _is_last(self) -> bool:
        return self._step >= self.max_steps

    def _seconds_to_end(self) -> float:
        """Seconds until the next chance to end, with the checkpoint that is written then."""
        guess = self._limits.checkpoint_bytes / _SAVED_BYTES_PER_SECOND
        saving = max(_SAVE_SECONDS, _LONGER_STEP * (self._save_seconds or guess))
        return _LONGER_STEP * self.shared_steps * self._step_seconds + saving

    def _lacking_space(self) -> str | None:
        """What is wrong if the disk has no room for a checkpoint."""
        size = self._saved_bytes or self._limits.checkpoint_bytes
        free, needed = shutil.disk_usage(self.folder).free, _LARGER_CHECKPOINT * size
        if free >= needed:
            return None
        return f"{free / 1e6:.1f} MB of disk are free, a checkpoint needs {needed / 1e6:.1f} MB"

    def _beat(self, stopped: str | None = None) -> None:
        """Write the heartbeat; `stopped` is why training ends before its last step."""
        content = {
            "step": self._step,
            "time": time.time(),
            "seconds_to_end": self._seconds_to_end(),
            "host": socket.gethostname(),
            "stopped": stopped,
        }
        write_json(self.folder / _HEARTBEAT, content)


def seconds_left_of_job() -> float | None:
    """Seconds until the time limit of the SLURM job that this runs in; None without one."""
    job = os.environ.get("SLURM_JOB_ID")
    if job is None:
        return None
    command = ["squeue", "--noheader", "--jobs", job, "--format", "%L"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as error:
        print(f"warning: the time limit of job {job} is not known: {error}", flush=True)
        return None
    # days-hours:minutes:seconds, of which only the last two are always there; or UNLIMITED.
    found = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", result.stdout.strip())
    if found is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)


def forget(folder: Path) -> None:
    """Delete what an earlier attempt has left."""
    for name in (_LIMITS, _HEARTBEAT):
        (folder / name).unlink(missing_ok=True)


def heartbeat(folder: Path) -> dict[str, Any]:
    """The last heartbeat of this attempt; empty before the first."""
    path = folder / _HEARTBEAT
    return dict(read_json(path)) if path.exists() else {}


def ask_to_end(folder: Path, limits: Limits, cause: str, patience: float) -> float:
    """Ask a trainer to save and to end, if there is time.

    Args:
        folder: Folder of checkpoints.
        limits: What it was told at first.
        cause: Why it has to end.
        patience: Seconds that there are.

    Returns:
        Seconds to wait for it: 0 if it is still loading, or would not be done in time.

    """
    beat = heartbeat(folder)
    if not beat or beat["seconds_to_end"] - (time.time() - beat["time"]) > patience:
        return 0.0
    replace(limits, ends_at=time.time(), cause=cause).write(folder)
    return patience


def check_it_finished(folder: Path, step: int, max_steps: int) -> None:
    """Raise `UserError` if a trainer has ended well, but before its last step."""
    if step < max_steps:
        cause = heartbeat(folder).get("stopped") or "for no reason that is known"
        raise UserError(
            f"training has ended after step {step} of {max_steps}: {cause}",
            where=str(folder),
            hint="started again it goes on from there",
        )
