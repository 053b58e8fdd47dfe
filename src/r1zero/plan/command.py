"""`python -m r1zero plan`, and what the workflow calls: `resolve` and `render`."""

from pathlib import Path
from typing import Annotated

import polars as pl
import typer
import yaml

from r1zero.files import read_json, verify_file, weights_hash, write_json, write_text
from r1zero.plan.layout import lay_out
from r1zero.plan.page import render_page
from r1zero.plan.render import accelerate_config, trl_config
from r1zero.settings import RunSettings, resolve_run
from r1zero.settings.load import CONFIG_FOLDER, validate
from r1zero.tasks.lengths import fitting

Recipe = Annotated[str, typer.Argument(help="Recipe.")]
Scale = Annotated[str, typer.Option(help="Scale.")]
Backend = Annotated[str, typer.Option(help="Trainer.")]
Seed = Annotated[int, typer.Option(help="Seed of the run.")]
Gpus = Annotated[int, typer.Option(help="GPUs of the run; 0 for the CPU.")]
ConfigFolder = Annotated[Path, typer.Option(help="Folder of the configuration.")]


def plan(
    recipe: Recipe,
    gpus: Gpus,
    scale: Scale = "mini",
    backend: Backend = "trl",
    seed: Seed = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Show it as JSON.")] = False,
    config: ConfigFolder = CONFIG_FOLDER,
) -> None:
    """Show how a run would be laid out on a number of GPUs."""
    run = resolve_run(recipe, scale=scale, backend=backend, seed=seed, folder=config)
    layout = lay_out(run, gpus)
    typer.echo(layout.model_dump_json(indent=2) if as_json else render_page(run, layout))


def resolve(
    recipe: Recipe,
    problems: Annotated[Path, typer.Option(help="Manifest of the problems.")],
    model: Annotated[Path, typer.Option(help="Manifest of the model.")],
    out: Annotated[Path, typer.Option(help="run.json to write.")],
    scale: Scale = "mini",
    backend: Backend = "trl",
    seed: Seed = 0,
    config: ConfigFolder = CONFIG_FOLDER,
) -> None:
    """Merge recipe, scale, data and model into one run: all that decides its weights."""
    run = resolve_run(recipe, scale=scale, backend=backend, seed=seed, folder=config)
    train = read_json(problems)["files"]["train"]
    every = pl.read_parquet(verify_file(train, problems.parent), columns=["prompt"])
    longest = run.sizes.max_prompt_length
    kept = len(fitting(every, model.parent, longest))
    typer.echo(f"{kept} problems; {len(every) - kept} more have over {longest} prompt tokens")
    write_json(
        out,
        {
            "run": run.identity(),
            "settings": run.model_dump(mode="json"),
            "config_hash": run.training_hash(),
            "data_hash": train["sha256"],
            "train_problems": {"kept": kept, "too_long": len(every) - kept},
            "base_model": {
                "name": run.model,
                "path": str(model.parent),
                "sha256": weights_hash(read_json(model)["files"]),
            },
            "problems": str(problems),
        },
    )


def render(
    run_file: Annotated[Path, typer.Argument(metavar="RUN", help="The run's run.json.")],
    gpus: Gpus,
    checkpoints: Annotated[Path, typer.Option(help="Folder for checkpoints.")],
    out: Annotated[Path, typer.Option(help="Folder to write.")],
) -> None:
    """Lay a run out and write the configs that start it."""
    content = read_json(run_file)
    run = validate(content["settings"], RunSettings, str(run_file))
    layout = lay_out(run, gpus)
    manifest = Path(content["problems"])
    train = verify_file(read_json(manifest)["files"]["train"], manifest.parent)
    trl = trl_config(
        run,
        layout,
        model=Path(content["base_model"]["path"]),
        problems=train.parent,
        output=checkpoints,
    )
    write_text(out / "trl.yaml", yaml.safe_dump(trl, sort_keys=False, allow_unicode=True))
    write_text(out / "accelerate.yaml", yaml.safe_dump(accelerate_config(layout), sort_keys=False))
    write_text(out / "plan.md", render_page(run, layout))
    write_json(out / "plan.json", layout.model_dump(mode="json"))
