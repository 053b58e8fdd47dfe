"""`python -m r1zero doctor`: one page on what this machine can and cannot do."""

import json
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from r1zero.core.formatting import INVISIBLE, plural
from r1zero.core.validation import read_yaml, validate
from r1zero.doctor.checks import examine
from r1zero.settings.load import CONFIG_FOLDER
from r1zero.settings.workflow import Config

_STYLES = {"ok": "green", "warning": "bold yellow", "failure": "bold red"}


def doctor(
    configfile: Annotated[
        Path, typer.Option(help="Configuration, whose endpoints are asked.")
    ] = CONFIG_FOLDER / "config.yaml",
    checkpoints: Annotated[Path, typer.Option(help="Folder of checkpoints.")] = Path("checkpoints"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what this machine can do, and what to do about the rest; status 1 after a failure."""
    config = validate(read_yaml(configfile), Config, str(configfile))
    lines = list(examine(config.endpoints, checkpoints, offline=config.offline))
    states = Counter(line.state for line in lines)
    if as_json:
        typer.echo(json.dumps([line._asdict() for line in lines], indent=2))
    else:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table("check", "", "found", "what to do", box=None, padding=(0, 2, 0, 0))
        table.columns[0].overflow = "fold"
        table.columns[1].no_wrap = True
        for line in lines:
            texts = (INVISIBLE.sub("?", text) for text in (line.check, line.found, line.todo))
            check, found, todo = map(Text, texts)
            table.add_row(check, Text(line.state, _STYLES[line.state]), found, todo)
        console = Console(highlight=False)
        console.print(table)
        console.print(
            f"{plural(states['failure'], 'failure')}, {plural(states['warning'], 'warning')}"
        )
    raise typer.Exit(1 if states["failure"] else 0)
