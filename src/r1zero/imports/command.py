"""`python -m r1zero import`: a recipe out of published files."""

import re
from pathlib import Path
from typing import Annotated

import typer

from r1zero.errors import UserError
from r1zero.files import write_text
from r1zero.imports.draft import parse_choices
from r1zero.imports.mapping import Options, draft_recipe
from r1zero.imports.readers import read_published
from r1zero.imports.writer import nested, recipe_text, report
from r1zero.settings import Recipe, load_recipe, load_sources, recipe_names
from r1zero.settings.load import CONFIG_FOLDER, validate


def import_recipe(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...",
            help="A YAML file of TRL or a script with `swift rlhf`, and its accelerate file.",
        ),
    ],
    name: Annotated[str, typer.Option(help="Name of the recipe.")],
    out: Annotated[
        Path | None, typer.Option(help="File to write; recipes/NAME.yaml of the configuration.")
    ] = None,
    task: Annotated[str | None, typer.Option(help="Task, if the dataset does not tell.")] = None,
    prompt: Annotated[str | None, typer.Option(help="Prompt template.")] = None,
    model: Annotated[str | None, typer.Option(help="Model of sources.yaml.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Dataset of sources.yaml.")] = None,
    trainers: Annotated[int | None, typer.Option(min=1, help="Processes that train.")] = None,
    rows: Annotated[
        int | None, typer.Option(min=1, help="Rows of the dataset, to turn epochs into steps.")
    ] = None,
    trl_version: Annotated[
        str | None, typer.Option(help="TRL that a YAML file was written for, e.g. 0.15.")
    ] = None,
    choices: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Value of a key of the recipe's algorithm or sizes; repeatable.",
        ),
    ] = None,
    source: Annotated[str | None, typer.Option(help="Where it was published.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
    config: Annotated[Path, typer.Option(help="Folder of the configuration.")] = CONFIG_FOLDER,
) -> None:
    """Make a recipe of published TRL, accelerate or ms-swift files, and say what became of them."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        hint = "small letters, digits and _, a letter first"
        raise UserError(f"'{name}' can't name a recipe", where="--name", hint=hint)
    path = out or config / "recipes" / f"{name}.yaml"
    if path.exists() and not force:
        raise UserError("is there already", where=str(path), hint="--force overwrites it")
    found = read_published(files)
    if trl_version and found.dialect == "swift":
        raise UserError(f"{found.where} is of ms-swift", where="--trl-version")
    options = Options(
        task, prompt, model, dataset, trainers, rows, trl_version, parse_choices(choices or [])
    )
    recipes = {known: load_recipe(known, config) for known in recipe_names(config) if known != name}
    draft = draft_recipe(found, load_sources(config), options, recipes)
    typer.echo(report(draft))
    if draft.missing:
        raise UserError(
            f"nothing was written, for want of {', '.join(draft.missing)}",
            where=found.where,
            hint="see `could not carry` above",
        )
    names = [file.name for file in files]
    content = {
        "description": f"Imported from {' and '.join(names)}",
        "source": source or ", ".join(names),
        **nested(draft),
    }
    recipe = validate(content, Recipe, found.where)
    write_text(path, recipe_text(recipe, draft, names))
    typer.echo(f"\nwrote {path}")
