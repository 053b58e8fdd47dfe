"""What this machine has. Needs no torch, since the workflow asks while it is being parsed."""

from pathlib import Path
from typing import Literal


def count_gpus(wanted: int | Literal["auto"], devices: Path = Path("/dev")) -> int:
    """GPUs of a run: the number asked for, or those of this machine for `auto`."""
    if wanted != "auto":
        return wanted
    return sum(path.name.removeprefix("nvidia").isdigit() for path in devices.glob("nvidia[0-9]*"))
