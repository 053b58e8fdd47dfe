"""`python -m r1zero schema`: the JSON schemas that editors check the configuration with."""

from pathlib import Path
from typing import Annotated

import typer

from r1zero.core.files import write_json
from r1zero.settings.load import CONFIG_FOLDER
from r1zero.settings.schema import schemas


def schema(
    out: Annotated[Path, typer.Option(help="Folder to write.")] = CONFIG_FOLDER / "schema",
) -> None:
    """Write the JSON schemas of the configuration files, one for each kind."""
    for name, content in schemas().items():
        write_json(out / f"{name}.schema.json", content)
