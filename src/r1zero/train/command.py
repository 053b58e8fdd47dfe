"""`python -m r1zero train`: run a plan to its end, from its last complete checkpoint."""

import json
import shutil
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from r1zero.core.environments import make_environment, programs_for
from r1zero.core.errors import UserError
from r1zero.core.files import (
    atomic_path,
    cost_file,
    read_json,
    verify_file,
    weights_hash,
    write_json,
)
from r1zero.core.provenance import provenance, versions_in
from r1zero.core.validation import validate
from r1zero.plan.backend import inputs_of
from r1zero.plan.gpu_lock import locked_gpus
from r1zero.plan.layout import Layout
from r1zero.plan.machine import Machine, visible_gpus
from r1zero.settings import RunSettings
from r1zero.settings.workflow import Tracking
from r1zero.train import checkpoints, metrics, recording, trackers
from r1zero.train.backends.base import Backend, backend_of
from r1zero.train.preflight import Needs, check_machine
from r1zero.train.supervisor import supervise

# Hardware and versions of the last attempt. A complete run is described again when only its
# evaluation changes, perhaps on another machine and with other versions.
_MADE_BY = "made_by.json"


def train(
    run_file: Annotated[Path, typer.Argument(metavar="RUN", help="The run's run.json.")],
    plan: Annotated[Path, typer.Option(help="Folder of its plan.")],
    folder: Annotated[Path, typer.Option("--checkpoints", help="Folder for checkpoints.")],
    gpus: Annotated[int, typer.Option(help="GPUs of this job.")],
    out: Annotated[
        Path, typer.Option(help="model.json to write; metrics and rollouts go beside it.")
    ],
    wait: Annotated[
        bool,
        typer.Option("--wait", help="Wait for another training of this run, and take its outputs."),
    ] = False,
    tracking: Annotated[
        str,
        typer.Option(
            envvar="R1ZERO_TRACKING", help="The `tracking` of the configuration, as JSON."
        ),
    ] = "{}",
) -> None:
    """Train one run; an interrupted run goes on from its last complete checkpoint."""
    run, planned = read_json(run_file), read_json(plan / "plan.json")
    machine = validate(planned["machine"], Machine, str(plan / "plan.json"))
    if machine.gpus_per_node != gpus:
        raise UserError(
            f"the plan is for {machine.gpus_per_node} GPUs, this job has {gpus}",
            where=str(plan / "plan.json"),
            hint="plan again with the GPUs of this job",
        )
    if machine.nodes > 1:
        raise UserError(
            f"the plan is for {machine.nodes} nodes, and launching several is not implemented",
            where=str(plan / "plan.json"),
            hint=f"the commands of each node are in {plan / 'plan.md'}",
        )
    wanted = _tracking(tracking)
    layout = Layout.model_validate({key: planned[key] for key in Layout.model_fields})
    settings = RunSettings.model_validate(run["settings"])
    check_machine(Needs.of(settings, layout, machine, wanted))
    _verify_inputs(run)
    with checkpoints.exclusive(folder, wait=wait):
        checkpoints.bind_to_run(folder, run)
        for name in checkpoints.drop_incomplete(folder):
            print(f"{folder / name}: incomplete, deleted")
        _train_to_the_end(run, run_file, planned, plan, folder, wanted)
        with atomic_path(out.parent / "metrics.jsonl") as temporary:
            shutil.copyfile(folder / "metrics.jsonl", temporary)
        recording.collect(folder / "rollouts", out.parent / "rollouts.parquet")
        write_json(out, _describe(run, folder, out.parent / "metrics.jsonl"))


def environment(
    lock: Annotated[Path, typer.Argument(help="Requirements file with the exact versions.")],
    out: Annotated[Path, typer.Option(help="Folder of the environment to make.")],
) -> None:
    """Make the virtual environment of a backend that cannot share the main one."""
    make_environment(lock, out)


def _tracking(option: str) -> Tracking:
    """The `tracking` settings, from their JSON."""
    where = "--tracking or R1ZERO_TRACKING"
    try:
        values = json.loads(option)
    except ValueError:
        raise UserError("not valid JSON", where=where) from None
    return validate(values, Tracking, where)


def _verify_inputs(run: dict[str, Any]) -> None:
    """Check models and problems against their manifests, and those against the run."""
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
    verify_file(train, problems.parent)


def _train_to_the_end(
    run: dict[str, Any],
    run_file: Path,
    planned: dict[str, Any],
    plan: Path,
    folder: Path,
    tracking: Tracking,
) -> None:
    settings = RunSettings.model_validate(run["settings"])
    backend = backend_of(settings.backend)
    resume = checkpoints.last_intact(folder, backend.checkpoint.optimizer_states)
    last = checkpoints.step_of(resume) if resume else 0
    metrics.keep_until(folder / "metrics.jsonl", last)
    if last == settings.sizes.max_steps:
        return
    if resume:
        print(f"{resume}: goes on from step {last}", flush=True)
    layout = Layout.model_validate({key: planned[key] for key in Layout.model_fields})
    inputs = inputs_of(run_file, run, plan=plan, checkpoints=folder)
    inputs = inputs._replace(kept_optimizer_states=planned["kept_optimizer_states"])
    programs = programs_for(backend.environment)
    machine = Machine.model_validate(planned["machine"])
    made_by = {
        "gpus": machine.gpus,
        "gpu": machine.gpu,
        "provenance": _provenance(backend, programs),
    }
    # GPUs that no training beside this one has; a scheduler may give others than the plan saw.
    with locked_gpus(machine.gpus_per_node or None):
        machine = machine.model_copy(update={"visible": visible_gpus() or machine.visible})
        processes = backend.processes(settings, layout, machine, inputs, resume=resume)
        write_json(folder / _MADE_BY, made_by)
        with trackers.following(tracking, run_file, folder):
            supervise(processes, folder, programs=programs)


def _provenance(backend: Backend, programs: Path | None) -> dict[str, Any]:
    """Provenance with the packages of the backend, as they are in its environment."""
    made = provenance()
    programs = programs or Path(sys.executable).parent
    made["versions"] |= versions_in(programs, backend.packages)
    return made


def _describe(run: dict[str, Any], folder: Path, log: Path) -> dict[str, Any]:
    rows = metrics.read(log)
    settings = RunSettings.model_validate(run["settings"])
    cost = cost_file(Path(run["base_model"]["path"]))
    # Tokens per completion. Steps that use the rollouts of an earlier one report none.
    key = "completions/tokens_of_all_draws"
    lengths = [row[key] for row in rows if key in row]
    rollouts_at_once = settings.completions_per_step * settings.algorithm.updates_per_rollout
    return {
        **{key: run[key] for key in ("run", "config_hash", "data_hash", "base_model", "settings")},
        "base_cost": read_json(cost) if cost.is_file() else None,
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
