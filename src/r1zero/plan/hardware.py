"""What this machine has. Needs no torch, since the workflow asks while it is being parsed."""

import importlib.util
import os
from pathlib import Path
from typing import Literal

from r1zero.errors import UserError
from r1zero.plan.layout import Layout


def count_gpus(wanted: int | Literal["auto"], devices: Path = Path("/dev")) -> int:
    """GPUs of a run: the number asked for, or for `auto` those of this machine that we may see."""
    if wanted != "auto":
        return wanted
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([device for device in visible.split(",") if device.strip() not in ("", "-1")])
    return sum(path.name.removeprefix("nvidia").isdigit() for path in devices.glob("nvidia[0-9]*"))


def require_stack(layout: Layout) -> None:
    """Check that the packages a layout needs are installed, without importing them."""
    if layout.placement == "colocate" and importlib.util.find_spec("vllm") is None:
        raise UserError(
            "generation on a GPU needs vLLM, which is not installed",
            where="hardware.gpus",
            hint="pip install 'r1zero[vllm]' in this environment",
        )
