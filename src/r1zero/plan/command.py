"""`python -m r1zero plan`: lay a run out and render its configuration files."""

import json
from pathlib import Path
from typing import Annotated

import typer
import yaml

from r1zero.files import read_json, verify_file, weights_hash, write_json, write_text
from r1zero.plan.layout import lay_out
from r1zero.plan.page import render_page
from r1zero.plan.render import accelerate_config, trl_config
from r1zero.settings import resolve_run
from r1zero.settings.load import CONFIG_FOLDER

LAUNCH = ["accelerate", "launch", "--config_file", "accelerate.yaml", "-m", "r1zero.train.trl"]


def plan(
    recipe: Annotated[str, typer.Argument(help="Recipe.")],
    gpus: Annotated[int, typer.Option(help="GPUs of the run; 0 for the CPU.")],
    scale: Annotated[str, typer.Option(help="Scale.")] = "mini",
    backend: Annotated[str, typer.Option(help="Trainer.")] = "trl",
    seed: Annotated[int, typer.Option(help="Seed of the run.")] = 0,
    task: Annotated[Path | None, typer.Option(help="Manifest of the task.")] = None,
    model: Annotated[Path | None, typer.Option(help="Manifest of the model.")] = None,
    checkpoints: Annotated[Path, typer.Option(help="Folder for checkpoints.")] = Path(
        "checkpoints"
    ),
    out: Annotated[
        Path | None, typer.Option(help="Folder to write; without it the plan is only shown.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Show the plan as JSON.")] = False,
    config: Annotated[Path, typer.Option(help="Folder of the configuration.")] = CONFIG_FOLDER,
) -> None:
    """Work out processes and batches for a number of GPUs, and write the configs that run them."""
    run = resolve_run(recipe, scale=scale, backend=backend, seed=seed, folder=config)
    layout = lay_out(run, gpus)
    page = render_page(run, layout, LAUNCH)
    if out is None:
        text = json.dumps(layout.model_dump(mode="json"), indent=2) if as_json else page
        typer.echo(text)
        return
    if task is None or model is None:
        raise typer.BadParameter("--out needs --task and --model")
    task_manifest, model_manifest = read_json(task), read_json(model)
    train = verify_file(task_manifest["files"]["train"], task.parent)
    trl = trl_config(run, layout, model=model.parent, problems=train.parent, output=checkpoints)
    # What decides the weights: a run is the same run on any hardware.
    write_json(
        out / "run.json",
        {
            **run.identity(),
            "settings": run.model_dump(mode="json"),
            "config_hash": run.training_hash(),
            "data_hash": task_manifest["files"]["train"]["sha256"],
            "base_model": {"name": run.model, "sha256": weights_hash(model_manifest["files"])},
            "task": str(task),
            "model": str(model),
        },
    )
    write_text(out / "trl.yaml", yaml.safe_dump(trl, sort_keys=False, allow_unicode=True))
    write_text(out / "accelerate.yaml", yaml.safe_dump(accelerate_config(layout), sort_keys=False))
    write_text(out / "plan.md", page)
    write_json(out / "plan.json", layout.model_dump(mode="json"))
