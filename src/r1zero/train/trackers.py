"""Trackers: the rows of metrics.jsonl, passed on to where people like to look at curves.

`metrics.jsonl` is the record, a tracker holds a copy. Each tracker is a process of its own that
reads the record from its first line whenever a training starts or goes on. So one that lost its
last rows in a kill, or was named in the middle of a run, lacks none; and whatever it draws at
random, however long it takes and whether it fails, the training never knows.
"""

import argparse
import contextlib
import importlib.util
import os
import select
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from r1zero.core.errors import UserError, read_secret, redact
from r1zero.core.files import read_json, write_json
from r1zero.settings.workflow import Tracking
from r1zero.train.metrics import Tail
from r1zero.train.tracker_kinds import TRACKERS, Tracked, Tracker

# Variables with the keys of those that have a service.
_KEYS = {"swanlab": "SWANLAB_API_KEY", "wandb": "WANDB_API_KEY"}
# Seconds that trackers have to send their last rows; a job that is stopped has fewer.
_PATIENCE, _FAILED_PATIENCE = 120.0, 10.0
_SECONDS_BETWEEN_LOOKS = 1.0
_DONE = "done\n"
_SAID_WHY = 3


def require_trackers(tracking: Tracking) -> None:
    """Check that each tracker is installed and has its key, without importing it.

    Raises:
        UserError: One could not start.

    """
    online = tracking.mode == "online"
    for name in tracking.to:
        if online and name == "trackio":
            raise UserError(
                "trackio is written to disk only, since training uses no hub",
                where="tracking.mode",
                hint="take mode offline, and `trackio sync` afterwards",
            )
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:  # or a folder of that name is here, as wandb's
            raise UserError(
                f"{name} is not installed",
                where="tracking.to",
                hint=f"pip install {name} in this environment",
            )
        key = _KEYS.get(name)
        if online and key and read_secret(key) is None:
            raise UserError(
                f"{name} online needs its key in the environment",
                where="tracking.mode",
                hint=f"export {key}=..., or take mode offline",
            )
    if "swanlab" in tracking.to and "SWANLAB_PROJECT" in os.environ:
        raise UserError(
            "SwanLab can't start with it",
            where="environment: SWANLAB_PROJECT",
            hint="unset it; tracking.project names the project",
        )


@contextmanager
def following(tracking: Tracking, run_file: Path, folder: Path) -> Iterator[None]:
    """Have the trackers follow a training while the block runs, then wait for their last rows.

    Args:
        tracking: Which.
        run_file: The run's run.json.
        folder: Its folder of checkpoints, with metrics.jsonl.

    """
    processes: dict[str, subprocess.Popen[bytes]] = {
        name: _start(name, tracking, run_file, folder) for name in tracking.to
    }
    word, patience = "failed\n", _FAILED_PATIENCE
    try:
        yield
        word, patience = _DONE, _PATIENCE
    finally:
        problems = _end(processes, word, patience)
        for name, problem in problems.items():
            print(f"warning: {name}: {problem}", flush=True)
            _note(folder, name, tracking, {"failed": problem})


def _start(
    name: str, tracking: Tracking, run_file: Path, folder: Path
) -> "subprocess.Popen[bytes]":
    log = folder / "trackers" / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    options = ["--tracking", tracking.model_dump_json(), "--run", run_file, "--folder", folder]
    with log.open("ab") as stream:
        return subprocess.Popen(
            [sys.executable, "-m", "r1zero.train.trackers", name, *map(str, options)],
            stdin=subprocess.PIPE,
            stderr=stream,
            start_new_session=True,  # Ctrl-C is for the training, which then ends the tracker
        )


def _end(
    processes: Mapping[str, "subprocess.Popen[bytes]"], word: str, patience: float
) -> dict[str, str]:
    """Tell trackers how the training ended, and stop those that take too long over it.

    Returns:
        What went wrong with those that could not say so themselves.

    """
    for process in processes.values():
        assert process.stdin is not None
        with contextlib.suppress(OSError), process.stdin as stream:
            stream.write(word.encode())
    problems = {}
    end = time.monotonic() + patience
    for name, process in processes.items():
        try:
            status = process.wait(max(0.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            problems[name] = f"not finished after {patience:g} s, stopped"
        else:
            if status not in (0, _SAID_WHY):
                problems[name] = f"ended with status {status}"
    return problems


def _note(folder: Path, name: str, tracking: Tracking, found: Mapping[str, str]) -> None:
    """Write where a tracker's copy is, or that it failed."""
    write_json(folder / "trackers" / f"{name}.json", {"name": name, "mode": tracking.mode, **found})


def described(folder: Path) -> list[dict[str, str]]:
    """The trackers of a run, from its folder of checkpoints.

    Each has `name`, `mode`, `url` or `folder`, and `failed` if it did not get everything.
    """
    return [read_json(path) for path in sorted((folder / "trackers").glob("*.json"))]


def main() -> None:
    """Pass the rows of a run's metrics.jsonl on to one tracker, until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=TRACKERS)
    parser.add_argument("--tracking", required=True, help="The tracking settings, as JSON.")
    parser.add_argument("--run", type=Path, required=True, help="The run's run.json.")
    parser.add_argument("--folder", type=Path, required=True, help="Its folder of checkpoints.")
    options = parser.parse_args()
    # Standard output is for people, and trackers are talkative: they get that of errors, a log.
    people = os.dup(1)
    os.dup2(2, 1)
    tracking = Tracking.model_validate_json(options.tracking)
    where: Mapping[str, str] = {}
    try:
        tracker = TRACKERS[options.name](
            Tracked.of(read_json(options.run), options.folder, tracking)
        )
        where = tracker.where
        _note(options.folder, options.name, tracking, where)
        _pass_on(Tail(options.folder / "metrics.jsonl"), tracker)
    except Exception as error:
        traceback.print_exc()
        problem = redact(f"{type(error).__name__}: {error}")
        _note(options.folder, options.name, tracking, {**where, "failed": problem})
        line = f"warning: {options.name}: {problem}; the training goes on without it\n"
        os.write(people, line.encode())
        sys.exit(_SAID_WHY)


def _pass_on(tail: Tail, tracker: Tracker) -> None:
    """Log rows as they come, until the training says that it is over, or is gone."""
    word = None
    while word is None:
        ended, _, _ = select.select([sys.stdin], [], [], _SECONDS_BETWEEN_LOOKS)
        if ended:
            word = sys.stdin.readline()
        for row in tail.read() or []:
            tracker.log(row["step"], {k: v for k, v in row.items() if k != "step"})
    # Nobody else would stop us if the training was killed.
    signal.alarm(round(_PATIENCE))
    tracker.finish(word != _DONE)


if __name__ == "__main__":
    main()
