"""`python -m r1zero schema`: schemas and generated pages, from the settings and the backends."""

from pathlib import Path
from typing import Annotated

import typer

from r1zero.core.files import write_json, write_text
from r1zero.docs.backends import with_tables
from r1zero.settings.load import CONFIG_FOLDER
from r1zero.settings.reference import reference
from r1zero.settings.schema import schemas


def schema(
    out: Annotated[Path, typer.Option(help="Folder for the JSON schemas.")] = CONFIG_FOLDER
    / "schema",
    page: Annotated[
        Path, typer.Option("--reference", help="File for the configuration reference.")
    ] = Path("docs/configuration.md"),
    backends: Annotated[
        Path, typer.Option(help="Page whose tables of backends are made again.")
    ] = Path("docs/backends.md"),
) -> None:
    """Write the JSON schemas, the configuration reference, and the tables of backends."""
    for name, content in schemas().items():
        write_json(out / f"{name}.schema.json", content)
    write_text(page, reference())
    write_text(backends, with_tables(backends.read_text(encoding="utf-8")))
