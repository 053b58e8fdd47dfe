"""`python -m r1zero train`: run a plan to its end, from its last complete checkpoint."""

import json
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar

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
from r1zero.settings.workflow import Guarding, Tracking
from r1zero.train import attempts, checkpoints, guards, metrics, recording, trackers
from r1zero.train.backends.base import Backend, backend_of
from r1zero.train.guards import Limits, seconds_left_of_job
from r1zero.train.preflight import Needs, check_machine
from r1zero.train.supervisor import supervise

_Section = TypeVar("_Section", Guarding, Tracking)
# Between the end of the trainer and that of the job: servers are stopped, outputs are written.
_RESERVE_SECONDS = 60.0
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
    guarding: Annotated[
        str,
        typer.Option(
            "--guards", envvar="R1ZERO_GUARDS", help="The `guards` of the configuration, as JSON."
        ),
    ] = "{}",
    minutes: Annotated[
        float | None,
        typer.Option(
            envvar="R1ZERO_MINUTES",
            help="Time limit, ahead of which it saves and ends. Default: that of the SLURM job.",
            min=0,
        ),
    ] = None,
) -> None:
    """Train one run; an interrupted run goes on from its last complete checkpoint."""
    # The shell of the rule ignores it, which is inherited.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
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
    started = time.time()
    wanted = _option(tracking, Tracking, "--tracking or R1ZERO_TRACKING")
    guards_wanted = _option(guarding, Guarding, "--guards or R1ZERO_GUARDS")
    left = minutes * 60 if minutes is not None else seconds_left_of_job()
    layout = Layout.model_validate({key: planned[key] for key in Layout.model_fields})
    settings = RunSettings.model_validate(run["settings"])
    check_machine(Needs.of(settings, layout, machine, wanted))
    _verify_inputs(run)
    limits = Limits(
        ends_at=None if left is None else started + left - _RESERVE_SECONDS,
        checkpoint_bytes=_checkpoint_bytes(planned["disk"]),
        on_collapse=guards_wanted.on_collapse,
    )
    with checkpoints.exclusive(folder, wait=wait):
        checkpoints.bind_to_run(folder, run)
        for name in checkpoints.drop_incomplete(folder):
            print(f"{folder / name}: incomplete, deleted")
        backend = backend_of(settings.backend)
        resume = checkpoints.last_intact(folder, backend.checkpoint.optimizer_states)
        last = checkpoints.step_of(resume) if resume else 0
        if last < settings.sizes.max_steps:
            with attempts.recorded(folder, run["config_hash"], last):
                metrics.keep_until(folder / "metrics.jsonl", last)
                if resume:
                    print(f"{resume}: goes on from step {last}", flush=True)
                attempt = _Attempt(run, run_file, planned, plan, folder, resume)
                with trackers.following(wanted, run_file, folder):
                    _supervised(attempt, limits, guards_wanted.seconds_after_sigterm)
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


def _option(option: str, kind: type[_Section], where: str) -> _Section:
    """Settings from their JSON."""
    try:
        values = json.loads(option)
    except ValueError:
        raise UserError("not valid JSON", where=where) from None
    return validate(values, kind, where)


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


class _Attempt(NamedTuple):
    """One attempt at a run."""

    run: dict[str, Any]
    run_file: Path
    planned: dict[str, Any]
    plan: Path
    folder: Path
    resume: Path | None


def _supervised(attempt: _Attempt, limits: Limits, patience: float) -> None:
    """Train to the last step, within limits.

    Args:
        attempt: What is trained.
        limits: What the trainer is told.
        patience: Seconds after SIGTERM that it has to save.

    Raises:
        UserError: A process failed, or training has ended before its last step.

    """
    run, folder = attempt.run, attempt.folder
    settings = RunSettings.model_validate(run["settings"])
    layout = Layout.model_validate({key: attempt.planned[key] for key in Layout.model_fields})
    machine = Machine.model_validate(attempt.planned["machine"])
    inputs = inputs_of(attempt.run_file, run, plan=attempt.plan, checkpoints=folder)
    inputs = inputs._replace(kept_optimizer_states=attempt.planned["kept_optimizer_states"])
    backend = backend_of(settings.backend)
    programs = programs_for(backend.environment)
    made_by = {
        "gpus": machine.gpus,
        "gpu": machine.gpu,
        "reference": layout.reference,
        "provenance": _provenance(backend, programs),
    }
    # GPUs that no training beside this one has; a scheduler may give others than the plan saw.
    with locked_gpus(machine.gpus_per_node or None):
        machine = machine.model_copy(update={"visible": visible_gpus() or machine.visible})
        processes = backend.processes(settings, layout, machine, inputs, resume=attempt.resume)
        write_json(folder / _MADE_BY, made_by)
        guards.forget(folder)
        limits.write(folder)
        supervise(
            processes,
            folder,
            programs=programs,
            on_sigterm=lambda: guards.ask_to_end(folder, limits, "SIGTERM", patience),
        )
    last = max(checkpoints.sealed(folder), default=0)
    guards.check_it_finished(folder, last, settings.sizes.max_steps)


def _checkpoint_bytes(disk: dict[str, int] | None) -> int:
    """Planned size of a checkpoint with its optimizer states; 0 without a plan for it."""
    return disk["weights"] + disk["optimizer"] if disk else 0


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
        "attempts": attempts.described(folder),
        **read_json(folder / _MADE_BY),
    }
