"""`python -m r1zero train`: run a plan to its end, from wherever it was cut off."""

import shutil
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from r1zero.errors import UserError
from r1zero.files import atomic_path, read_json, verify_file, weights_hash, write_json
from r1zero.provenance import provenance
from r1zero.train import checkpoints, metrics
from r1zero.train.launch import launch


def train(
    run_file: Annotated[Path, typer.Argument(metavar="RUN", help="The run's run.json.")],
    plan: Annotated[Path, typer.Option(help="Folder of its plan.")],
    folder: Annotated[Path, typer.Option("--checkpoints", help="Folder for checkpoints.")],
    gpus: Annotated[int, typer.Option(help="GPUs this job was given.")],
    out: Annotated[Path, typer.Option(help="model.json to write; metrics.jsonl goes beside it.")],
) -> None:
    """Train one run; a run that was cut off goes on from its last complete checkpoint."""
    run, layout = read_json(run_file), read_json(plan / "plan.json")
    if layout["gpus"] != gpus:
        raise UserError(
            f"the plan is for {layout['gpus']} GPUs, this job has {gpus}",
            where=str(plan / "plan.json"),
            hint="plan again with the GPUs there are",
        )
    problems = _verify_inputs(run)
    with checkpoints.exclusive(folder):
        checkpoints.claim(folder, run)
        for name in checkpoints.drop_incomplete(folder):
            print(f"{folder / name}: incomplete, deleted")
        _train_to_the_end(run, plan, problems, folder, gpus)
        with atomic_path(out.parent / "metrics.jsonl") as temporary:
            shutil.copyfile(folder / "metrics.jsonl", temporary)
        write_json(out, _describe(run, folder, out.parent / "metrics.jsonl"))


def _verify_inputs(run: dict[str, Any]) -> Path:
    """Check model and problems against their manifests, and those against the run.

    Returns the file of training problems.
    """
    model, problems = Path(run["base_model"]["path"]), Path(run["problems"])
    files = read_json(model / "manifest.json")["files"]
    train = read_json(problems)["files"]["train"]
    for where, found, wanted in (
        (model, weights_hash(files), run["base_model"]["sha256"]),
        (problems, train["sha256"], run["data_hash"]),
    ):
        if found != wanted:
            raise UserError(
                f"has hash {found[:12]}, the run was resolved for {wanted[:12]}",
                where=str(where),
                hint="resolve the run again",
            )
    for entry in files:
        verify_file(entry, model)
    return verify_file(train, problems.parent)


def _train_to_the_end(
    run: dict[str, Any], plan: Path, problems: Path, folder: Path, gpus: int
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
    launch(
        [
            *(sys.executable, "-m", "accelerate.commands.launch"),
            *("--config_file", str(plan / "accelerate.yaml")),
            *("-m", "r1zero.train.trl"),
            *("--config", str(plan / "trl.yaml")),
            *("--train", str(problems)),
            *("--config-hash", run["config_hash"]),
            *("--max-prompt-length", str(sizes["max_prompt_length"])),
            *resume,
        ],
        gpus=gpus,
        log=folder / "console.log",
    )


def _describe(run: dict[str, Any], folder: Path, log: Path) -> dict[str, Any]:
    rows = metrics.read(log)
    completions = (
        run["settings"]["sizes"]["prompts_per_step"]
        * run["settings"]["algorithm"]["num_generations"]
    )
    return {
        **{key: run[key] for key in ("run", "config_hash", "data_hash", "base_model", "settings")},
        "checkpoints": [
            {"step": step, "path": str(path), "sha256": checkpoints.identity(path)}
            for step, path in checkpoints.sealed(folder).items()
        ],
        "metrics": str(log),
        "train_seconds": round(sum(row["step_time"] for row in rows), 1),
        "generated_tokens": round(
            sum(row["completions/mean_length"] * completions for row in rows)
        ),
        "provenance": provenance(),
    }
