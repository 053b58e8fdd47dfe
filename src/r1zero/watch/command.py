"""`python -m r1zero watch`: how the runs are going."""

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from r1zero.core.errors import UserError


def watch(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FOLDER]...", help="Folders with results/ and checkpoints/."),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Print the table once, and end.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print it once, as JSON.")] = False,
    interval: Annotated[float, typer.Option(min=0.2, help="Seconds between two looks.")] = 2.0,
) -> None:
    """Watch runs from their files: step, time left, reward, length, GPUs and disk."""
    from rich.console import Console, RenderableType
    from rich.live import Live

    from r1zero.watch.machine import disk_free, gpus
    from r1zero.watch.runs import Watch
    from r1zero.watch.screen import screen

    roots = folders or [Path()]
    for root in roots:
        if not root.is_dir():
            raise UserError("no such folder", where=str(root))
    watched = Watch(roots)
    if as_json:
        found = {
            "runs": [asdict(status) for status in watched.look()],
            "gpus": [asdict(gpu) for gpu in gpus()],
            "disk_free": disk_free(roots),
        }
        typer.echo(json.dumps(found, indent=2))
        return
    console = Console(highlight=False)
    live = console.is_terminal and not once

    def shown() -> RenderableType:
        height = console.height - 1 if live else None
        looked = watched.look(), gpus(), disk_free(roots)
        return screen(*looked, width=console.width, height=height)

    if not live:
        console.print(shown())
        return
    try:
        with Live(shown(), console=console, screen=True, auto_refresh=False) as display:
            while True:
                time.sleep(interval)
                display.update(shown(), refresh=True)
    except KeyboardInterrupt:
        console.print(shown())
