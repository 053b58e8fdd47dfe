"""Trackers: copies of metrics.jsonl where people like to look at curves.

`metrics.jsonl` stays the record. Each tracker runs in a process of its own, which reads the record
from its first line whenever a training starts or resumes. Three guarantees follow: a tracker gets
every row, even those that an earlier attempt logged just before it was killed; it draws from no
random number generator of the training; and a tracker that fails or hangs can be reported and
stopped while the training goes on.
"""

import contextlib
import importlib.util
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path

from r1zero.core.errors import UserError, read_secret, redact
from r1zero.core.files import read_json, write_json
from r1zero.settings.workflow import Tracking
from r1zero.train.metrics import Tail
from r1zero.train.tracker_kinds import TRACKERS, TrackedRun, Tracker

# Environment variables with the keys of the online services.
_KEYS = {"swanlab": "SWANLAB_API_KEY", "wandb": "WANDB_API_KEY"}
# Seconds that trackers may take to send their last rows; fewer when the job was stopped.
_PATIENCE, _FAILED_PATIENCE = 120.0, 10.0
_POLL_SECONDS = 1.0
# Exit status of a tracker that has reported its failure itself.
_REPORTED = 3


def require_trackers(tracking: Tracking) -> None:
    """Check that each tracker is installed and has its key, without importing it.

    Raises:
        UserError: A tracker could not start.

    """
    online = tracking.mode == "online"
    for name in tracking.to:
        if online and name == "trackio":
            raise UserError(
                "trackio writes to disk only, because a training uses no hub",
                where="tracking.mode",
                hint="set mode to offline, and run `trackio sync` afterwards",
            )
        spec = importlib.util.find_spec(name)
        # Without an origin it is a folder of that name, such as the one wandb writes to.
        if spec is None or spec.origin is None:
            raise UserError(
                f"{name} is not installed",
                where="tracking.to",
                hint=f"pip install {name} in this environment",
            )
        key = _KEYS.get(name)
        if online and key and read_secret(key) is None:
            raise UserError(
                f"{name} needs its key in the environment to be online",
                where="tracking.mode",
                hint=f"export {key}=..., or set mode to offline",
            )
    if "swanlab" in tracking.to and "SWANLAB_PROJECT" in os.environ:
        raise UserError(
            "SwanLab does not start with this variable set",
            where="environment: SWANLAB_PROJECT",
            hint="unset it; tracking.project names the project",
        )


@contextmanager
def following(tracking: Tracking, run_file: Path, folder: Path) -> Iterator[None]:
    """Let the trackers follow a training while the block runs, then wait for their last rows.

    No failure of a tracker leaves this function: it is printed, and noted for `described`.

    Args:
        tracking: The trackers.
        run_file: The run's run.json.
        folder: The run's folder of checkpoints, with metrics.jsonl.

    """
    spawn = get_context("spawn")
    followers: dict[str, tuple[SpawnProcess, Connection]] = {}
    for name in tracking.to:
        ended, end = spawn.Pipe(duplex=False)
        process = spawn.Process(target=_follow, args=(name, tracking, run_file, folder, ended))
        try:
            process.start()
        except Exception as error:
            _report(folder, name, tracking, f"not started: {error}")
        else:
            followers[name] = process, end
        ended.close()
    failed = True
    try:
        yield
        failed = False
    finally:
        for _, end in followers.values():
            with contextlib.suppress(OSError):
                end.send(failed)
        patience = _FAILED_PATIENCE if failed else _PATIENCE
        deadline = time.monotonic() + patience
        for follower, (process, _) in followers.items():
            process.join(max(0.0, deadline - time.monotonic()))
            if process.exitcode is None:
                _kill(process)
                _report(folder, follower, tracking, f"not finished after {patience:g} s, stopped")
            elif process.exitcode not in (0, _REPORTED):
                _report(folder, follower, tracking, f"ended with status {process.exitcode}")


def described(folder: Path) -> list[dict[str, str]]:
    """The trackers of a run, from its folder of checkpoints.

    Each has `name`, `mode`, `url` or `folder`, and `failed` if rows are missing from it.
    """
    return [read_json(path) for path in sorted((folder / "trackers").glob("*.json"))]


def _follow(name: str, tracking: Tracking, run_file: Path, folder: Path, ended: Connection) -> None:
    """Pass the rows of metrics.jsonl on to one tracker; the main function of its process."""
    os.setsid()  # Ctrl-C is for the training, which then ends the tracker
    # What the tracker prints goes to its log.
    console = os.dup(1)
    log = folder / "trackers" / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    where: Mapping[str, str] = {}
    try:
        tracker = TRACKERS[name](TrackedRun.of(read_json(run_file), folder, tracking))
        where = tracker.where
        _note(folder, name, tracking, where)
        _pass_on(Tail(folder / "metrics.jsonl"), tracker, ended)
    except Exception as error:
        traceback.print_exc()
        problem = redact(f"{type(error).__name__}: {error}")
        _note(folder, name, tracking, {**where, "failed": problem})
        line = f"warning: {name}: {problem}; the training goes on without it\n"
        os.write(console, line.encode())
        sys.exit(_REPORTED)


def _pass_on(tail: Tail, tracker: Tracker, ended: Connection) -> None:
    """Log rows as they come, until the training has ended or its process is gone."""
    over = False
    while not over:
        over = ended.poll(_POLL_SECONDS)
        for row in tail.read() or []:
            tracker.log(row["step"], {k: v for k, v in row.items() if k != "step"})
    # After a kill of the training nothing else stops a tracker that hangs.
    signal.alarm(round(_PATIENCE))
    try:
        failed = ended.recv()
    except EOFError:
        failed = True
    tracker.finish(failed)


def _kill(process: SpawnProcess) -> None:
    assert process.pid is not None
    with contextlib.suppress(ProcessLookupError):  # it has no process group of its own yet
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.join()


def _report(folder: Path, name: str, tracking: Tracking, problem: str) -> None:
    print(f"warning: {name}: {problem}", flush=True)
    with contextlib.suppress(OSError):
        _note(folder, name, tracking, {"failed": problem})


def _note(folder: Path, name: str, tracking: Tracking, found: Mapping[str, str]) -> None:
    """Write where a tracker's copy is, or that it failed."""
    write_json(folder / "trackers" / f"{name}.json", {"name": name, "mode": tracking.mode, **found})
