"""`python -m r1zero pretrain`: make a base model of a scale."""

import time
from pathlib import Path
from typing import Annotated

import typer

from r1zero.core.errors import UserError
from r1zero.core.files import atomic_directory, cost_file, describe_file, write_json
from r1zero.core.locks import only_one
from r1zero.data.files import read_manifest
from r1zero.data.problems import fits
from r1zero.settings import load_scale
from r1zero.settings.load import CONFIG_FOLDER
from r1zero.tasks.registry import find_task


def pretrain(
    base: Annotated[str, typer.Argument(help="Name of the base model, under `bases`.")],
    scale: Annotated[str, typer.Option(help="Scale that defines it.")],
    rows: Annotated[Path, typer.Option(help="Manifest of rows, for the held-out problems.")],
    out: Annotated[Path, typer.Option(help="Folder to write; its manifest.json is the output.")],
    config: Annotated[Path, typer.Option(help="Folder of the configuration.")] = CONFIG_FOLDER,
) -> None:
    """Pre-train a mini base model on random traces, in minutes."""
    scaling = load_scale(scale, config)
    bases, workers = scaling.bases, scaling.computation.pretrain
    if base not in bases:
        raise UserError(
            f"unknown base '{base}'",
            where="bases",
            hint=f"known bases: {', '.join(bases) or 'none'}",
        )
    settings, kept = bases[base], read_manifest(rows, "rows")
    task = settings.traces.task
    if kept["task"] != task:
        raise UserError(
            f"has rows of {kept['task']}, but the traces of {base} are of {task}", where=str(rows)
        )
    for prompt in settings.prompts:
        if not fits(prompt, task):
            raise UserError(
                f"prompt {prompt} does not show exactly the fields of {task}",
                where=f"bases.{base}.prompts",
                hint=f"its fields: {', '.join(find_task(task).fields)}",
            )
    # After the checks, since this import takes seconds.
    from r1zero.pretrain.base import make_base

    started = time.monotonic()
    with only_one(out), atomic_directory(out) as folder:
        summary = make_base(settings, workers, kept, rows.parent, folder)
        files = [describe_file(path, folder) for path in sorted(folder.iterdir())]
        write_json(
            folder / "manifest.json",
            {
                "kind": "model",
                "name": base,
                "settings": settings.model_dump(mode="json"),
                "computation": workers.model_dump(),
                **summary,
                "files": files,
            },
        )
    # Beside the folder, whose bytes are the same whenever the base is made.
    cost = {"seconds": round(time.monotonic() - started, 1), "cores": workers.cores}
    write_json(cost_file(out), cost)
