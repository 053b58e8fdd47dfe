"""`python -m r1zero released`: describe a released model, for `evaluate` to score it as step 0."""

from pathlib import Path
from typing import Annotated

import typer

from r1zero.core.files import read_json, sha256_json, weights_hash, write_json
from r1zero.settings import resolve_released
from r1zero.settings.load import CONFIG_FOLDER


def released(
    name: Annotated[str, typer.Argument(help="Name of the model.")],
    recipe: Annotated[str, typer.Option(help="Recipe that it is scored with.")],
    manifest: Annotated[Path, typer.Option(help="Manifest of the model.")],
    out: Annotated[Path, typer.Option(help="model.json to write.")],
    prompt: Annotated[
        str | None, typer.Option(help="Prompt template, instead of the recipe's.")
    ] = None,
    scale: Annotated[str, typer.Option(help="Scale.")] = "mini",
    config: Annotated[Path, typer.Option(help="Folder of the configuration.")] = CONFIG_FOLDER,
) -> None:
    """Write what `r1zero evaluate` needs of a model that was not trained here."""
    run = resolve_released(name, recipe, scale=scale, prompt=prompt, folder=config)
    settings = run.model_dump(mode="json", exclude={"evaluation": {"suites"}})
    sha256 = weights_hash(read_json(manifest)["files"])
    write_json(
        out,
        {
            "run": run.identity(),
            "config_hash": sha256_json(settings),
            "base_model": {"name": name, "path": str(manifest.parent), "sha256": sha256},
            "checkpoints": [],
            "settings": settings,
        },
    )
