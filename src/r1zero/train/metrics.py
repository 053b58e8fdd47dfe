"""Metrics of a run as JSON lines: one object per optimizer step, in order, without repeats."""

import json
import os
from pathlib import Path
from typing import Any

from r1zero.core.files import write_json_lines


def append(path: Path, row: dict[str, Any]) -> None:
    """Append one step's metrics."""
    with path.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(row) + "\n")


def read(path: Path) -> list[dict[str, Any]]:
    """Read all complete lines; an incomplete last line is skipped."""
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def keep_until(path: Path, step: int) -> None:
    """Delete the lines of steps after `step`, which are about to be done again."""
    rows = read(path)
    kept = [row for row in rows if row["step"] <= step]
    if path.exists() and len(kept) == len(rows) and path.read_bytes()[-1:] in {b"", b"\n"}:
        return
    write_json_lines(path, kept)


class Tail:
    """Reads each row of a file that another process writes once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = 0

    def read(self) -> list[dict[str, Any]] | None:
        """Rows since the last call; None if the file has become shorter, which starts it over.

        A missing file has no rows. A line that is not a row is skipped: a file that was truncated
        and has grown again may begin in the middle of one.
        """
        try:
            with self.path.open("rb") as stream:
                if stream.seek(0, os.SEEK_END) < self._offset:
                    self._offset = 0
                    return None
                stream.seek(self._offset)
                text = stream.read()
        except FileNotFoundError:
            return []
        complete = text[: text.rfind(b"\n") + 1]
        self._offset += len(complete)
        return [row for row in map(_row, complete.splitlines()) if row is not None]


def _row(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and isinstance(row.get("step"), int) else None
