"""`python -m r1zero plan`, and what the workflow calls: `resolve` and `render`."""

import contextlib
import json
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer
import yaml

from r1zero.core.errors import UserError
from r1zero.core.files import read_json, verify_file, weights_hash, write_json, write_text
from r1zero.core.validation import validate
from r1zero.data.lengths import fitting
from r1zero.plan.cost import disk_of, host_memory_of, time_of
from r1zero.plan.launching import commands, seats
from r1zero.plan.layout import Layout, Refusal, lay_out
from r1zero.plan.machine import Machine, find_machine
from r1zero.plan.page import render_page, render_refusal
from r1zero.plan.render import accelerate_config, trl_config
from r1zero.plan.versions import check_keys
from r1zero.settings import RunSettings, load_recipe, load_sources, resolve_run
from r1zero.settings.architecture import Architecture
from r1zero.settings.load import CONFIG_FOLDER
from r1zero.settings.sources import HubModel, LocalModel, ModelSource
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
    vllm_gpus: Annotated[int | None, typer.Option(help="Cards of vLLM's own.")] = None,
    accept: Annotated[
        list[str] | None, typer.Option(help="idle_gpus or other_batch; repeatable.")
    ] = None,
    disk_gb: Annotated[float | None, typer.Option(help="Room for checkpoints in GB.")] = None,
    cpu_processes: Annotated[int, typer.Option(help="Processes of a run on the CPU.")] = 1,
    scale: Scale = "mini",
    backend: Backend = "trl",
    seed: Seed = 0,
    vary: Vary = None,
    as_json: Annotated[bool, typer.Option("--json", help="Show it as JSON.")] = False,
    config: ConfigFolder = CONFIG_FOLDER,
) -> None:
    """Show how a run would be laid out on any machine; status 3 if it can't be."""
    run = resolve_run(
        recipe, scale=scale, backend=backend, seed=seed, vary=_varied(vary), folder=config
    )
    values = {
        "gpus": gpus,
        "nodes": nodes,
        "gpu": gpu,
        "gpu_memory_gb": gpu_memory_gb,
        "placement": placement,
        "vllm_gpus": vllm_gpus,
        "accept": accept or [],
        "disk_gb": disk_gb,
        "cpu_processes": cpu_processes,
    }
    hardware = validate(values, Hardware, "hardware")
    machine = find_machine(hardware)
    architecture = architecture_of(load_sources(config).models.get(run.model), run.model)
    check_positions(run, architecture)
    found = lay_out(run, machine, architecture, hardware)
    model = Path("resources/models") / run.model
    if isinstance(found, Refusal):
        typer.echo(json.dumps(_as_json(found), indent=2) if as_json else render_refusal(run, found))
        raise typer.Exit(NOT_FEASIBLE)
    page, content = _described(
        run, found, machine, architecture, hardware, model=model, plan=Path("plan"), config=config
    )
    typer.echo(json.dumps(content, indent=2) if as_json else page)


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
    """Merge recipe, scale, data and model into one run: all that decides its weights."""
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
            # Which suites there are is a matter of the workflow: one more makes no other anew.
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


def render(
    run_file: Annotated[Path, typer.Argument(metavar="RUN", help="The run's run.json.")],
    checkpoints: Annotated[Path, typer.Option(help="Folder for checkpoints.")],
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    hardware: HardwareJson = "{}",
    config: ConfigFolder = CONFIG_FOLDER,
) -> None:
    """Lay a run out and write the configs that start it."""
    content = read_json(run_file)
    run = validate(content["settings"], RunSettings, str(run_file))
    wishes = validate(json.loads(hardware), Hardware, "hardware")
    machine = find_machine(wishes)
    model = Path(content["base_model"]["path"])
    architecture = read_architecture(model)
    layout = layout_or_error(run, machine, architecture, wishes)
    manifest = Path(content["problems"])
    train = verify_file(read_json(manifest)["files"]["train"], manifest.parent)
    trl = trl_config(
        run,
        layout,
        model=model,
        problems=train.parent,
        output=checkpoints,
        reward_models={name: Path(m["path"]) for name, m in content["reward_models"].items()},
    )
    check_keys(trl)
    page, described = _described(
        run, layout, machine, architecture, wishes, model=model, plan=out, config=config
    )
    write_text(out / "trl.yaml", yaml.safe_dump(trl, sort_keys=False, allow_unicode=True))
    write_text(out / "accelerate.yaml", yaml.safe_dump(accelerate_config(layout), sort_keys=False))
    write_text(out / "plan.md", page)
    write_json(out / "plan.json", described)


def _varied(options: list[str] | None) -> dict[str, Any]:
    """Settings by key, from `KEY=VALUE` as YAML reads a value."""
    varied = {}
    for option in options or []:
        key, equals, text = option.partition("=")
        if not (key and equals):
            raise UserError(f"'{option}' is not KEY=VALUE", where="--vary")
        varied[key] = yaml.safe_load(text)
    return varied


def layout_or_error(
    run: RunSettings, machine: Machine, architecture: Architecture | None, hardware: Hardware
) -> Layout:
    """Lay a run out; a refusal is an error with the change that would work."""
    check_positions(run, architecture)
    found = lay_out(run, machine, architecture, hardware)
    if isinstance(found, Layout):
        return found
    nearest = found.suggestions[0] if found.suggestions else None
    raise UserError(
        "; ".join(found.reasons),
        where="hardware",
        hint=f"works: {nearest.hardware}, {nearest.text}" if nearest else "",
    )


def check_positions(run: RunSettings, architecture: Architecture | None) -> None:
    """Refuse sequences that are longer than a model can tell the places of, where that is known."""
    positions = architecture.max_position_embeddings if architecture else None
    sizes = run.sizes
    if positions and sizes.max_prompt_length + sizes.max_completion_length > positions:
        raise UserError(
            f"max_prompt_length {sizes.max_prompt_length} and max_completion_length "
            f"{sizes.max_completion_length} are more than the {positions} positions of {run.model}",
            where=f"recipe {run.recipe}: sizes",
            hint=f"max_completion_length of at most {positions - sizes.max_prompt_length} works"
            if sizes.max_prompt_length < positions
            else "",
        )


def architecture_of(source: ModelSource | None, name: str) -> Architecture | None:
    """Sizes of a model: of its files if they are here, else as the table gives them."""
    places = [Path("resources/models") / name]
    if isinstance(source, LocalModel):
        places.append(source.path)
    for folder in places:
        if (folder / "config.json").is_file():
            return read_architecture(folder)
    return source.architecture if isinstance(source, HubModel) else None


def read_architecture(model: Path) -> Architecture | None:
    """Sizes of a model on disk, if it is of a kind whose memory is modelled."""
    with contextlib.suppress(UserError):
        return Architecture.from_config(read_json(model / "config.json"))
    return None


def _described(
    run: RunSettings,
    layout: Layout,
    machine: Machine,
    architecture: Architecture | None,
    hardware: Hardware,
    *,
    model: Path,
    plan: Path,
    config: Path,
) -> tuple[str, dict[str, Any]]:
    """A plan as a page, and as the content of `plan.json`."""
    disk = disk_of(run, layout, architecture) if architecture else None
    kept = _kept_states(disk, hardware) if disk else None
    time = time_of(run, layout, architecture, machine) if architecture else None
    host_memory = host_memory_of(layout, machine, architecture)
    starting = commands(run, layout, machine, model=model, plan=plan)
    page = render_page(
        run,
        layout,
        machine,
        commands=starting,
        host_memory=host_memory,
        disk=disk,
        kept_states=kept,
        time=time,
        published=_published(run, architecture, config),
    )
    content = {
        **_as_json(layout),
        "machine": machine.model_dump(mode="json"),
        "seats": [seat._asdict() for seat in seats(layout, machine)],
        "commands": [command._asdict() for command in starting],
        "host_memory": host_memory,
        "disk": {**disk._asdict(), "everything": disk.everything} if disk else None,
        "kept_optimizer_states": kept,
        "seconds_per_step": time.step if time else None,
    }
    return page, content


def _kept_states(disk: Any, hardware: Hardware) -> int | None:
    """Checkpoints that keep their optimizer states within the disk budget."""
    if hardware.disk_gb is None:
        return None
    kept: int | None = disk.kept_states(hardware.disk_gb * 1e9)
    if kept is None:
        least = (disk.checkpoints * disk.weights + 2 * disk.optimizer) / 1e9
        raise UserError(
            f"{disk.checkpoints} checkpoints need {least:.0f} GB with one set of optimizer states "
            "to resume from and one that is being written",
            where="hardware.disk_gb",
            hint=f"{least:.0f} or more works, or a larger sizes.save_steps",
        )
    return kept


def _published(run: RunSettings, architecture: Architecture | None, config: Path) -> Any:
    """The published time of a recipe at its own scale, with our estimate for its cards."""
    is_variant = "-" in run.recipe
    if run.scale != "paper" or is_variant:
        return None
    report = load_recipe(run.recipe, config).published_time
    if report is None or architecture is None:
        return None
    hardware = Hardware(gpus=report.gpus, gpu=report.gpu)
    machine = find_machine(hardware)
    found = lay_out(run, machine, architecture, hardware)
    estimate = time_of(run, found, architecture, machine) if isinstance(found, Layout) else None
    return report, estimate


def _as_json(found: Layout | Refusal) -> dict[str, Any]:
    """A layout or refusal with the same keys, those of a layout null in a refusal."""
    empty = dict.fromkeys(Layout.model_fields)
    return empty | found.model_dump(mode="json")
