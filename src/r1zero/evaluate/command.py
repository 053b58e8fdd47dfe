"""`python -m r1zero evaluate`: one model on one suite."""

import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import polars as pl
import typer

from r1zero.errors import UserError
from r1zero.files import (
    atomic_path,
    describe_file,
    read_json,
    verify_file,
    weights_hash,
    write_json,
)
from r1zero.prompts import Style, load_prompt
from r1zero.provenance import provenance
from r1zero.rewards.grade import Grade
from r1zero.rewards.grading import grade_batch
from r1zero.settings.recipe import Evaluation
from r1zero.tasks.problems import read_problems

if TYPE_CHECKING:
    from r1zero.evaluate.generate import Completion

# Metrics, each the mean of a column of the completions.
_SCORES = {
    "accuracy": "correct",
    "lenient_accuracy": "lenient",
    "format": "format",
    "mean_length": "length",
    "truncated": "truncated",
}


def evaluate(
    model: Annotated[Path, typer.Argument(help="The run's model.json.")],
    step: Annotated[int, typer.Option(help="Checkpoint's step; 0 is the base model.")],
    suite: Annotated[str, typer.Option(help="Name of the suite.")],
    problems: Annotated[Path, typer.Option(help="Manifest of the suite's problems.")],
    out: Annotated[
        Path, typer.Option(help="JSON to write; the completions go beside it as Parquet.")
    ],
) -> None:
    """Sample completions for a suite's problems and grade them."""
    run = read_json(model)
    folder, identity = _weights(run, step, model)
    settings = run["settings"]
    decoding = Evaluation.model_validate(settings["evaluation"])
    prompt = load_prompt(settings["prompt"])
    test = read_json(problems)["files"]["test"]
    rows = read_problems(verify_file(test, problems.parent), decoding.max_problems)
    from r1zero.evaluate.generate import generate  # imports torch

    started = time.monotonic()
    sampled = list(
        generate(
            folder,
            [row["prompt"] for row in rows],
            decoding,
            max_new_tokens=settings["sizes"]["max_completion_length"],
            seed=run["run"]["seed"],
            ends=prompt.ends,
        )
    )
    graded = _graded(run["run"]["task"], rows, sampled, prompt)
    table = pl.DataFrame(
        [
            {
                "problem_id": row["problem_id"],
                "sample": i,
                "completion": completion.text,
                "length": completion.length,
                "truncated": int(completion.truncated),
                **asdict(next(graded)),
            }
            for row, completions in zip(rows, sampled, strict=True)
            for i, completion in enumerate(completions)
        ]
    )
    seconds = time.monotonic() - started
    completions_path = out.with_suffix(".parquet")
    with atomic_path(completions_path) as temporary:
        table.write_parquet(temporary, compression="zstd")
    means = table.select(pl.col(_SCORES.values()).mean()).row(0)
    metrics = {name: round(float(value), 6) for name, value in zip(_SCORES, means, strict=True)}
    write_json(
        out,
        {
            "run": run["run"],
            "suite": suite,
            "step": step,
            "config_hash": run["config_hash"],
            "model_sha256": identity,
            "suite_sha256": test["sha256"],
            "decoding": {
                **decoding.model_dump(mode="json"),
                "max_new_tokens": settings["sizes"]["max_completion_length"],
                "seed": run["run"]["seed"],
                "prompt": settings["prompt"],
            },
            "n_problems": len(rows),
            "n_samples": decoding.n_samples,
            "metrics": metrics,
            "problems": _by_problem(table),
            "completions": str(completions_path),
            "seconds": round(seconds, 1),
            "provenance": provenance(),
        },
    )
    print(
        f"{suite}, step {step}: {metrics['accuracy']:.1%} correct, {metrics['format']:.1%} "
        f"well-formed, {metrics['mean_length']:.0f} tokens, {seconds:.0f} s"
    )


def _weights(run: dict[str, Any], step: int, where: Path) -> tuple[Path, str]:
    """Folder of the weights at a step and their identity, after checking them on disk."""
    if step == 0:
        entry = run["base_model"]
        manifest = Path(entry["path"]) / "manifest.json"
    else:
        steps = {checkpoint["step"]: checkpoint for checkpoint in run["checkpoints"]}
        if step not in steps:
            raise UserError(
                f"no checkpoint of step {step}",
                where=str(where),
                hint=f"there are: {', '.join(map(str, steps))}",
            )
        entry = steps[step]
        manifest = Path(entry["path"]) / "checkpoint.json"
    folder = manifest.parent
    weights = [
        describe_file(folder / file["path"], folder)
        for file in read_json(manifest)["files"]
        if file["path"].endswith(".safetensors")
    ]
    found = weights_hash(weights)
    if found != entry["sha256"]:
        raise UserError(
            f"weights have hash {found[:12]}, {where} says {entry['sha256'][:12]}",
            where=str(folder),
            hint="the files changed after training; train again or restore them",
        )
    return folder, found


def _graded(
    task: str, rows: list[dict[str, Any]], sampled: "list[list[Completion]]", style: Style
) -> Iterator[Grade]:
    """Verdicts on all completions, in order."""
    pairs = [
        (completion.text, row)
        for row, completions in zip(rows, sampled, strict=True)
        for completion in completions
    ]
    texts, repeated = zip(*pairs, strict=True)
    return iter(grade_batch(task, texts, repeated, style))


def _by_problem(table: pl.DataFrame) -> list[dict[str, Any]]:
    return table.group_by("problem_id", maintain_order=True).agg(*_SCORES.values()).to_dicts()
