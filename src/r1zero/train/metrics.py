"""Metrics of a run as JSON lines: one object per optimizer step, in order, none twice."""

import json
from pathlib import Path
from typing import Any


def append(path: Path, row: dict[str, Any]) -> None:
    """Append one step's metrics."""
    with path.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(row) + "\n")


def read(path: Path) -> list[dict[str, Any]]:
    """Read all complete lines; a last line that was cut off is left out."""
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def keep_until(path: Path, step: int) -> None:
    """Forget the steps after `step`: they are about to be done again."""
    kept = [row for row in read(path) if row["step"] <= step]
    path.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
