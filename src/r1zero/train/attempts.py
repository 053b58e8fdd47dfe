"""The attempts at a training: where each began, how far it came, and why it ended."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from r1zero.core.errors import UserError
from r1zero.core.files import write_json_lines
from r1zero.train import checkpoints, metrics

_FILE = "attempts.jsonl"
_KILLED = "killed"


@contextmanager
def recorded(folder: Path, config_hash: str, resumed: int) -> Iterator[None]:
    """Record in `attempts.jsonl` how the training in this block ends.

    A process that is killed records nothing. The next attempt does it for it, so this is entered
    before the metrics of lost steps are deleted.

    Args:
        folder: Folder of checkpoints.
        config_hash: Hash of the run's configuration; attempts at others are forgotten.
        resumed: Step that training goes on from.

    """
    rows = [row for row in metrics.read(folder / _FILE) if row["config_hash"] == config_hash]
    if rows and rows[-1]["cause"] is None:
        # What has been trained since, only the metrics know.
        rows[-1] |= {"cause": _KILLED, **_progress(folder, rows[-1]["from"])}
    rows.append(
        {
            "config_hash": config_hash,
            "began": _now(),
            "host": socket.gethostname(),
            "job": os.environ.get("SLURM_JOB_ID"),
            "from": resumed,
            "trained": None,
            "saved": None,
            "ended": None,
            "cause": None,
        }
    )
    write_json_lines(folder / _FILE, rows)
    cause = "finished"
    try:
        yield
    except BaseException as error:
        cause = _cause(error)
        raise
    finally:
        rows[-1] |= {"ended": _now(), "cause": cause, **_progress(folder, resumed)}
        write_json_lines(folder / _FILE, rows)


def described(folder: Path) -> list[dict[str, Any]]:
    """The attempts for model.json: `from`, `trained` and `saved` are steps."""
    keys = ("from", "trained", "saved", "cause")
    return [{key: row[key] for key in keys} for row in metrics.read(folder / _FILE)]


def _progress(folder: Path, resumed: int) -> dict[str, int]:
    """Last step that was trained, and last one that was saved."""
    saved = max(checkpoints.sealed(folder), default=0)
    last = max((row["step"] for row in metrics.read(folder / "metrics.jsonl")), default=0)
    return {"trained": max(resumed, last), "saved": saved}


def _cause(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return "SIGTERM"
    if isinstance(error, KeyboardInterrupt):
        return "SIGINT"
    message = error.message if isinstance(error, UserError) else str(error)
    return message or type(error).__name__


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
