"""`python -m r1zero pretrain`: make a base model of a scale."""

from pathlib import Path
from typing import Annotated

import typer

from r1zero.core.errors import UserError
from r1zero.core.files import atomic_directory, describe_file, write_json
from r1zero.data.files import read_manifest
from r1zero.data.formats import FORMATS
from r1zero.data.problems import fits
from r1zero.settings import load_scale
from r1zero.settings.load import CONFIG_FOLDER


def pretrain(
    base: Annotated[str, typer.Argument(help="Name of the base model, under `bases`.")],
    scale: Annotated[str, typer.Option(help="Scale that describes it.")],
    rows: Annotated[Path, typer.Option(help="Manifest of rows, for what is held out.")],
    out: Annotated[Path, typer.Option(help="Folder to write; its manifest.json is the output.")],
    config: Annotated[Path, typer.Option(help="Folder of the configuration.")] = CONFIG_FOLDER,
) -> None:
    """Pre-train a mini base model on random traces, in minutes."""
    bases = load_scale(scale, config).bases
    if base not in bases:
        raise UserError(
            f"unknown base '{base}'", where="bases", hint=f"there are: {', '.join(bases) or 'none'}"
        )
    settings, kept = bases[base], read_manifest(rows, "rows")
    if kept["format"] != settings.traces.task:
        raise UserError(
            f"has rows of {kept['format']}, and the traces of {base} are of {settings.traces.task}",
            where=str(rows),
        )
    for prompt in settings.prompts:
        if not fits(prompt, kept["format"]):
            raise UserError(
                f"prompt {prompt} does not show the fields of {kept['format']}",
                where=f"bases.{base}.prompts",
                hint=f"they are {', '.join(FORMATS[kept['format']].fields)}",
            )
    # Everything above answers at once; this import takes seconds.
    from r1zero.pretrain.base import make_base

    with atomic_directory(out) as folder:
        summary = make_base(settings, kept, rows.parent, folder)
        files = [describe_file(path, folder) for path in sorted(folder.iterdir())]
        write_json(
            folder / "manifest.json",
            {
                "kind": "model",
                "name": base,
                "settings": settings.model_dump(mode="json"),
                **summary,
                "files": files,
            },
        )
