"""`python -m r1zero watch`: the state of runs as a table or as JSON."""

import contextlib
import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from r1zero.core.errors import UserError
from r1zero.core.formatting import INVISIBLE, duration, size

if TYPE_CHECKING:
    from rich.console import RenderableType

    from r1zero.watch.runs import Status

_STYLES = {"failed?": "bold red", "stalled": "bold yellow", "training": "green"}
_COLUMNS = ("run", "state", "step", "left", "reward", "length", "KL", "saved", "tok/s", "age")


def watch(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FOLDER]...", help="Folders with results/ and checkpoints/."),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Print the table once and exit.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON once and exit.")] = False,
    interval: Annotated[float, typer.Option(min=0.2, help="Seconds between updates.")] = 2.0,
) -> None:
    """Show the state of runs from their files: step, time left, reward, length, KL, GPUs, disk."""
    from rich.console import Console
    from rich.live import Live

    from r1zero.watch.runs import look

    roots = folders or [Path()]
    for root in roots:
        if not root.is_dir():
            raise UserError("no such folder", where=str(root))
    if as_json:
        runs = [asdict(status) for status in look(roots)]
        typer.echo(json.dumps({"runs": runs, "gpus": _gpus(), "disk_free": _free(roots)}, indent=2))
        return
    console = Console(highlight=False)
    if once or not console.is_terminal:
        console.print(_screen(look(roots), roots))
        return
    try:
        with Live(console=console, screen=True, auto_refresh=False) as display:
            while True:
                display.update(_screen(look(roots), roots), refresh=True)
                time.sleep(interval)
    except KeyboardInterrupt:
        console.print(_screen(look(roots), roots))


def _screen(runs: Sequence["Status"], roots: Sequence[Path]) -> "RenderableType":
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    lines = [
        *(
            f"GPU {gpu['index']}  {gpu['used'] / 2**30:.1f} of {gpu['total'] / 2**30:.1f} GiB, "
            f"{'?' if gpu['busy'] is None else gpu['busy']} % busy, {gpu['name']}"
            for gpu in _gpus()
        ),
        *(f"{size(free)} free in {path}" for path, free in _free(roots).items()),
    ]
    table = Table(*_COLUMNS, box=None, padding=(0, 2, 0, 0))
    for column in table.columns[1:]:
        column.no_wrap = True
    table.columns[0].overflow = "fold"
    for run in runs:
        name = run.run if len(roots) == 1 else f"{run.folder}: {run.run}"
        left = f"{run.evaluations_left} eval" if run.evaluations_left else _time(run.seconds_left)
        table.add_row(
            Text(INVISIBLE.sub("?", name)),
            Text(run.state, style=_STYLES.get(run.state, "dim")),
            f"{run.step}/{run.max_steps or '?'}",
            left,
            _number(run.reward, ".2f"),
            _number(run.length, ".0f"),
            _number(run.kl, ".2g"),
            "" if run.checkpoint is None else str(run.checkpoint),
            _number(run.tokens_per_second, ",.0f"),
            _time(run.age),
        )
    return Group(
        table if runs else "no runs yet", Text(INVISIBLE.sub("?", "\n".join(lines)), "dim")
    )


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _time(seconds: float | None) -> str:
    return "" if seconds is None else duration(seconds)


def _gpus() -> list[dict[str, Any]]:
    """GPUs of this machine: bytes of memory `used` and in `total`, and percent `busy`."""
    import pynvml

    found: list[dict[str, Any]] = []
    with contextlib.suppress(pynvml.NVMLError):  # no driver, or a GPU that is lost
        pynvml.nvmlInit()
        for index in range(pynvml.nvmlDeviceGetCount()):
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            memory, name = pynvml.nvmlDeviceGetMemoryInfo(handle), pynvml.nvmlDeviceGetName(handle)
            busy = None
            with contextlib.suppress(pynvml.NVMLError):  # a MIG slice has no utilization
                busy = pynvml.nvmlDeviceGetUtilizationRates(handle).gpu
            gpu = {"index": index, "name": str(name), "used": memory.used, "total": memory.total}
            found.append(gpu | {"busy": busy})
    return found


def _free(roots: Sequence[Path]) -> dict[str, int]:
    """Free bytes of each disk with checkpoints, by a folder of checkpoints on it."""
    found: dict[int, tuple[str, int]] = {}
    for root in roots:
        path = root / "checkpoints" if (root / "checkpoints").is_dir() else root
        found.setdefault(path.stat().st_dev, (str(path), shutil.disk_usage(path).free))
    return dict(found.values())
