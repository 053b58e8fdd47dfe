"""`python -m r1zero train`: run a plan to its end, from wherever it was cut off."""

import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from r1zero.core.errors import UserError
from r1zero.core.files import atomic_path, read_json, verify_file, weights_hash, write_json
from r1zero.core.provenance import provenance
from r1zero.plan.launching import VLLM_PORT, train_command, vllm_command
from r1zero.plan.layout import Layout
from r1zero.plan.machine import Machine, visible_cards
from r1zero.settings import RunSettings
from r1zero.settings.load import validate
from r1zero.settings.workflow import Tracking
from r1zero.train import checkpoints, metrics, rollout_files, trackers
from r1zero.train.preflight import Needs, check_machine
from r1zero.train.supervisor import launch, serve

# What the last attempt ran on. A run that is complete is described again when only its evaluation
# changes, perhaps elsewhere and by other versions.
_MADE_BY = "made_by.json"


def train(
    run_file: Annotated[Path, typer.Argument(metavar="RUN", help="The run's run.json.")],
    plan: Annotated[Path, typer.Option(help="Folder of its plan.")],
    folder: Annotated[Path, typer.Option("--checkpoints", help="Folder for checkpoints.")],
    gpus: Annotated[int, typer.Option(help="GPUs this job was given.")],
    out: Annotated[
        Path, typer.Option(help="model.json to write; metrics and rollouts go beside it.")
    ],
    tracking: Annotated[
        str,
        typer.Option(
            envvar="R1ZERO_TRACKING", help="The `tracking` of the configuration, as JSON."
        ),
    ] = "{}",
) -> None:
    """Train one run; a run that was cut off goes on from its last complete checkpoint."""
    run, planned = read_json(run_file), read_json(plan / "plan.json")
    machine = validate(planned["machine"], Machine, str(plan / "plan.json"))
    if machine.gpus_per_node != gpus:
        raise UserError(
            f"the plan is for {machine.gpus_per_node} GPUs, this job has {gpus}",
            where=str(plan / "plan.json"),
            hint="plan again with the GPUs there are",
        )
    if machine.nodes > 1:
        raise UserError(
            f"the plan is for {machine.nodes} nodes, and this starts a run on one",
            where=str(plan / "plan.json"),
            hint=f"the commands for each node are in {plan / 'plan.md'}",
        )
    wanted = _tracking(tracking)
    layout = Layout.model_validate({key: planned[key] for key in Layout.model_fields})
    settings = RunSettings.model_validate(run["settings"])
    check_machine(Needs.of(settings, layout, machine, wanted))
    problems = _verify_inputs(run)
    with checkpoints.exclusive(folder):
        checkpoints.bind_to_run(folder, run)
        for name in checkpoints.drop_incomplete(folder):
            print(f"{folder / name}: incomplete, deleted")
        _train_to_the_end(run, run_file, planned, plan, problems, folder, wanted)
        with atomic_path(out.parent / "metrics.jsonl") as temporary:
            shutil.copyfile(folder / "metrics.jsonl", temporary)
        rollout_files.collect(folder / "rollouts", out.parent / "rollouts.parquet")
        write_json(out, _describe(run, folder, out.parent / "metrics.jsonl"))


def _tracking(option: str) -> Tracking:
    """The `tracking` settings, from their JSON."""
    where = "--tracking or R1ZERO_TRACKING"
    try:
        values = json.loads(option)
    except ValueError:
        raise UserError("not valid JSON", where=where) from None
    return validate(values, Tracking, where)


def _verify_inputs(run: dict[str, Any]) -> Path:
    """Check models and problems against their manifests, and those against the run.

    Returns the file of training problems.
    """
    problems = Path(run["problems"])
    train = read_json(problems)["files"]["train"]
    models = {
        Path(model["path"]): model["sha256"]
        for model in (run["base_model"], *run["reward_models"].values())
    }
    files = {model: read_json(model / "manifest.json")["files"] for model in models}
    for where, found, wanted in (
        *((model, weights_hash(files[model]), models[model]) for model in models),
        (problems, train["sha256"], run["data_hash"]),
    ):
        if found != wanted:
            raise UserError(
                f"has hash {found[:12]}, the run was resolved for {wanted[:12]}",
                where=str(where),
                hint="resolve the run again",
            )
    for model, entries in files.items():
        for entry in entries:
            verify_file(entry, model)
    return verify_file(train, problems.parent)


def _train_to_the_end(
    run: dict[str, Any],
    run_file: Path,
    planned: dict[str, Any],
    plan: Path,
    problems: Path,
    folder: Path,
    tracking: Tracking,
) -> None:
    sizes = run["settings"]["sizes"]
    done = checkpoints.sealed(folder)
    last = max(done, default=0)
    metrics.keep_until(folder / "metrics.jsonl", last)
    if last == sizes["max_steps"]:
        return
    resume = []
    if last:
        print(f"{done[last]}: goes on from step {last}")
        checkpoints.verify(done[last])
        resume = ["--resume", str(done[last])]
    layout = Layout.model_validate({key: planned[key] for key in Layout.model_fields})
    # A scheduler that gives us other cards than the plan saw has the last word.
    machine = Machine.model_validate(planned["machine"])
    machine = machine.model_copy(update={"visible": visible_cards() or machine.visible})
    keep = planned["kept_optimizer_states"]
    trainer = train_command(
        layout,
        machine,
        plan,
        [
            *("--run", str(run_file)),
            *("--config", str(plan / "trl.yaml")),
            *("--train", str(problems)),
            *("--config-hash", run["config_hash"]),
            *("--max-prompt-length", str(sizes["max_prompt_length"])),
            *(["--keep-states", str(keep)] if keep is not None else []),
            *resume,
        ],
    )
    made_by = {"gpus": machine.gpus, "gpu": machine.gpu, "provenance": provenance()}
    write_json(folder / _MADE_BY, made_by)
    with trackers.following(tracking, run_file, folder), _generator(run, layout, machine, folder):
        launch(
            _in_this_environment(trainer.arguments),
            gpus=machine.gpus,
            log=folder / "console.log",
            environment=trainer.environment if machine.gpus else {},
        )


@contextmanager
def _generator(
    run: dict[str, Any], layout: Layout, machine: Machine, folder: Path
) -> Iterator[None]:
    """Have vLLM's server while the block runs, where the layout gives it cards of its own."""
    if layout.placement != "server":
        yield
        return
    settings = RunSettings.model_validate(run["settings"])
    command = vllm_command(settings, layout, machine, Path(run["base_model"]["path"]))
    with serve(
        _in_this_environment(command.arguments),
        environment=command.environment,
        health=f"http://127.0.0.1:{VLLM_PORT}/health",
        log=folder / "vllm.log",
    ):
        yield


def _in_this_environment(arguments: list[str]) -> list[str]:
    """A command with its program from the environment of this very Python."""
    match arguments:
        case ["accelerate", "launch", *rest]:
            return [sys.executable, "-m", "accelerate.commands.launch", *rest]
        case ["torchrun", *rest]:
            return [sys.executable, "-m", "torch.distributed.run", *rest]
        case [program, *rest]:
            return [str(Path(sys.executable).parent / program), *rest]
    raise ValueError("no program")


def _describe(run: dict[str, Any], folder: Path, log: Path) -> dict[str, Any]:
    rows = metrics.read(log)
    settings = RunSettings.model_validate(run["settings"])
    # Per completion of a batch. Steps that use the rollouts of an earlier one report none.
    key = "completions/tokens_of_all_draws"
    lengths = [row[key] for row in rows if key in row]
    rollouts_at_once = settings.completions_per_step * settings.algorithm.updates_per_rollout
    return {
        **{key: run[key] for key in ("run", "config_hash", "data_hash", "base_model", "settings")},
        "checkpoints": [
            {"step": step, "path": str(path), "sha256": checkpoints.weights_hash_of(path)}
            for step, path in checkpoints.sealed(folder).items()
        ],
        "metrics": str(log),
        "train_seconds": round(sum(row["step_time"] for row in rows), 1),
        "rollouts": str(log.with_name("rollouts.parquet")),
        "generated_tokens": round(sum(lengths) * rollouts_at_once),
        "trackers": trackers.described(folder),
        **read_json(folder / _MADE_BY),
    }
