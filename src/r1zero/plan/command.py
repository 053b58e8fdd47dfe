"""`python -m r1zero plan`, and the commands of the workflow: `resolve` and `layout`."""

import json
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer
import yaml

from r1zero.core.errors import UserError
from r1zero.core.files import (
    atomic_directory,
    read_json,
    verify_file,
    weights_hash,
    write_json,
    write_text,
)
from r1zero.core.validation import validate
from r1zero.data.lengths import fitting
from r1zero.plan.architectures import architecture_of, read_architecture
from r1zero.plan.backend import CONFIG_FOLDER as RENDERED
from r1zero.plan.backend import Inputs, check_backend, inputs_of
from r1zero.plan.content import layout_as_json, plan_of
from r1zero.plan.layout import Refusal
from r1zero.plan.machine import find_machine
from r1zero.plan.page import render_refusal
from r1zero.plan.search import check_positions, lay_out, layout_or_error
from r1zero.settings import RunSettings, load_sources, resolve_run
from r1zero.settings.load import CONFIG_FOLDER
from r1zero.settings.workflow import Hardware

NOT_FEASIBLE = 3

Recipe = Annotated[str, typer.Argument(help="Recipe.")]
Scale = Annotated[str, typer.Option(help="Scale.")]
Backend = Annotated[str, typer.Option(help="Trainer.")]
Seed = Annotated[int, typer.Option(help="Seed of the run.")]
Vary = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY=VALUE",
        help="Setting in place of the recipe's, such as algorithm.beta=0.04; repeatable.",
    ),
]
ConfigFolder = Annotated[Path, typer.Option(help="Folder of the configuration.")]
HardwareJson = Annotated[str, typer.Option(help="The `hardware` of the configuration, as JSON.")]


def plan(
    recipe: Recipe,
    gpus: Annotated[str, typer.Option(help="GPUs of a node, or `auto`; 0 for the CPU.")] = "auto",
    nodes: Annotated[int, typer.Option(help="Nodes.")] = 1,
    gpu: Annotated[str | None, typer.Option(help="Kind of GPU, such as a100-80g.")] = None,
    gpu_memory_gb: Annotated[float | None, typer.Option(help="Memory of a GPU in GiB.")] = None,
    placement: Annotated[str, typer.Option(help="auto, server or colocate.")] = "auto",
    generator_gpus: Annotated[
        int | None, typer.Option(help="GPUs that only generate, with placement server.")
    ] = None,
    reference: Annotated[
        str, typer.Option(help="auto, trainer, server, or the address of a reference server.")
    ] = "auto",
    accept: Annotated[
        list[str] | None, typer.Option(help="idle_gpus or other_batch; repeatable.")
    ] = None,
    disk_gb: Annotated[float | None, typer.Option(help="Disk for checkpoints in GB.")] = None,
    scale: Scale = "mini",
    backend: Backend = "trl",
    seed: Seed = 0,
    vary: Vary = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    config: ConfigFolder = CONFIG_FOLDER,
) -> None:
    """Show how a run would be laid out on any machine; status 3 if it has no layout."""
    run = resolve_run(
        recipe, scale=scale, backend=backend, seed=seed, vary=_varied(vary), folder=config
    )
    values = {
        "gpus": gpus,
        "nodes": nodes,
        "gpu": gpu,
        "gpu_memory_gb": gpu_memory_gb,
        "placement": placement,
        "generator_gpus": generator_gpus,
        "reference": {"remote": reference} if "://" in reference else reference,
        "accept": accept or [],
        "disk_gb": disk_gb,
    }
    hardware = validate(values, Hardware, "hardware")
    machine = find_machine(hardware)
    architecture = architecture_of(load_sources(config).models.get(run.model), run.model)
    check_backend(run)
    check_positions(run, architecture)
    found = lay_out(run, machine, architecture, hardware)
    if isinstance(found, Refusal):
        typer.echo(
            json.dumps(layout_as_json(found), indent=2) if as_json else render_refusal(run, found)
        )
        raise typer.Exit(NOT_FEASIBLE)
    inputs = Inputs(
        run_file=Path("run.json"),
        model=Path("resources/models") / run.model,
        problems=Path("problems/train.parquet"),
        reward_models={
            reward.model: Path("resources/models") / reward.model
            for reward in run.rewards
            if reward.model
        },
        plan=Path("plan"),
        checkpoints=Path("checkpoints"),
    )
    found_plan = plan_of(run, found, machine, architecture, hardware, inputs=inputs, config=config)
    typer.echo(json.dumps(found_plan.json, indent=2) if as_json else found_plan.page)


def resolve(
    recipe: Recipe,
    problems: Annotated[Path, typer.Option(help="Manifest of the problems.")],
    model: Annotated[Path, typer.Option(help="Manifest of the model.")],
    out: Annotated[Path, typer.Option(help="run.json to write.")],
    reward_model: Annotated[
        list[Path] | None, typer.Option(help="Manifest of a reward model; repeatable.")
    ] = None,
    scale: Scale = "mini",
    backend: Backend = "trl",
    seed: Seed = 0,
    vary: Vary = None,
    config: ConfigFolder = CONFIG_FOLDER,
) -> None:
    """Merge recipe, scale, data and model into one run: everything that decides its weights."""
    run = resolve_run(
        recipe, scale=scale, backend=backend, seed=seed, vary=_varied(vary), folder=config
    )
    train = read_json(problems)["files"]["train"]
    every = pl.read_parquet(verify_file(train, problems.parent), columns=["prompt"])
    longest = run.sizes.max_prompt_length
    kept = len(fitting(every, model.parent, longest))
    typer.echo(f"{kept} problems; {len(every) - kept} more have over {longest} prompt tokens")
    write_json(
        out,
        {
            "run": run.identity(),
            # The workflow selects the suites: adding one must not change the run.
            "settings": run.model_dump(mode="json", exclude={"evaluation": {"suites"}}),
            "config_hash": run.training_hash(),
            "data_hash": train["sha256"],
            "train_problems": {"kept": kept, "too_long": len(every) - kept},
            "base_model": _described_model(model) | {"name": run.model},
            "reward_models": {
                read_json(path)["name"]: _described_model(path) for path in reward_model or []
            },
            "problems": str(problems),
        },
    )


def _described_model(manifest: Path) -> dict[str, str]:
    return {
        "path": str(manifest.parent),
        "sha256": weights_hash(read_json(manifest)["files"]),
    }


def layout(
    run_file: Annotated[Path, typer.Argument(metavar="RUN", help="The run's run.json.")],
    checkpoints: Annotated[Path, typer.Option(help="Folder for checkpoints.")],
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    hardware: HardwareJson = "{}",
    config: ConfigFolder = CONFIG_FOLDER,
) -> None:
    """Lay a resolved run out, and write its plan with the files that start it."""
    content = read_json(run_file)
    run = validate(content["settings"], RunSettings, str(run_file))
    wishes = validate(json.loads(hardware), Hardware, "hardware")
    machine = find_machine(wishes)
    inputs = inputs_of(run_file, content, plan=out, checkpoints=checkpoints)
    architecture = read_architecture(inputs.model)
    found = layout_or_error(run, machine, architecture, wishes)
    plan = plan_of(run, found, machine, architecture, wishes, inputs=inputs, config=config)
    with atomic_directory(out / RENDERED) as folder:
        for name, text in plan.config.items():
            (folder / name).write_text(text, encoding="utf-8")
    write_text(out / "plan.md", plan.page)
    write_json(out / "plan.json", plan.json)


def _varied(options: list[str] | None) -> dict[str, Any]:
    """Settings by key, from options `KEY=VALUE` with the value in YAML."""
    varied = {}
    for option in options or []:
        key, equals, text = option.partition("=")
        if not (key and equals):
            raise UserError(f"'{option}' is not KEY=VALUE", where="--vary")
        varied[key] = yaml.safe_load(text)
    return varied
