"""`python -m r1zero evaluate`: measure one model on one suite."""

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import polars as pl
import typer

from r1zero.core.errors import UserError
from r1zero.core.files import (
    atomic_path,
    describe_file,
    read_json,
    sha256_json,
    verify_file,
    weights_hash,
    write_json,
)
from r1zero.core.locks import only_one
from r1zero.core.provenance import provenance, versions
from r1zero.data.problems import read_problems
from r1zero.evaluate.chunks import Chunks
from r1zero.evaluate.engines import open_engine
from r1zero.evaluate.engines.base import Decoding, EngineName, Model
from r1zero.evaluate.generate import Generated, Work, generate
from r1zero.evaluate.metrics import repetition
from r1zero.evaluate.scores import by_problem, greedy_scores, scores
from r1zero.evaluate.workers import generate_in_processes
from r1zero.plan.gpu_lock import locked_gpus
from r1zero.settings.architecture import positions_of
from r1zero.settings.recipe import Evaluation
from r1zero.tasks.prompts import Prompt, Style, load_prompt
from r1zero.tasks.registry import find_task

if TYPE_CHECKING:
    from r1zero.evaluate.text import Completion


def evaluate(
    model: Annotated[Path, typer.Argument(help="The run's model.json.")],
    step: Annotated[int, typer.Option(help="Checkpoint's step; 0 is the base model.")],
    suite: Annotated[str, typer.Option(help="Name of the suite.")],
    problems: Annotated[Path, typer.Option(help="Manifest of the suite's problems.")],
    out: Annotated[
        Path, typer.Option(help="JSON file to write; the completions go beside it as Parquet.")
    ],
    max_problems: Annotated[
        int | None, typer.Option(help="Most problems, instead of the recipe's number.", min=1)
    ] = None,
    n_samples: Annotated[
        int | None,
        typer.Option(help="Completions per problem, instead of the recipe's number.", min=1),
    ] = None,
    engine: Annotated[
        EngineName | None,
        typer.Option(help="Engine that generates. Default: vLLM if there are a GPU and vLLM."),
    ] = None,
    gpus: Annotated[
        int | None, typer.Option(help="GPUs it may use. Default: those that torch sees.", min=0)
    ] = None,
    processes: Annotated[
        int,
        typer.Option(
            help="Processes that generate, each with a copy of the model on its share of the GPUs.",
            min=1,
        ),
    ] = 1,
) -> None:
    """Sample completions for a suite's problems and grade them.

    Finished chunks are kept in a hidden folder beside the output until the output is written. A
    killed evaluation continues from there and ends with the same results. So does one with another
    number of processes: they take whole chunks.
    """
    run = read_json(model)
    decoding = _decoding(run) | {
        key: value
        for key, value in (("max_problems", max_problems), ("n_samples", n_samples))
        if value
    }
    weights = _weights(run, step, model)
    manifest = read_json(problems)["files"]["test"]
    partial = out.parent / f".{out.stem}.partial"
    _check_shares(gpus, processes)
    identity = {
        "run": run["run"],
        "suite": suite,
        "step": step,
        "config_hash": run["config_hash"],
        "model_sha256": weights.sha256,
        "suite_sha256": manifest["sha256"],
    }
    with only_one(out) as waited:
        if waited and _is_made(out, identity | {"decoding": decoding}):
            print(f"{out}: made by the other process")
            return
        # This lock is held until everything is written: the GPU's memory stays in use until then.
        with locked_gpus(gpus) as found:
            means = _Means(engine, processes, found if gpus else [])
            rows = verify_file(manifest, problems.parent)
            measured, table = _measure(run["settings"], decoding, weights, rows, means, partial)
            completions = out.with_suffix(".parquet")
            with atomic_path(completions) as temporary:
                table.write_parquet(temporary, compression="zstd")
            result = {
                **identity,
                **measured,
                "completions": str(completions),
                "provenance": provenance(),
            }
            write_json(out, result)
            shutil.rmtree(partial)
    print(_line(result))


class _Weights(NamedTuple):
    """Weights on disk."""

    folder: Path
    sha256: str


class _Means(NamedTuple):
    """What generates."""

    engine: EngineName | None
    processes: int
    gpus: list[str]
    """GPUs as `CUDA_VISIBLE_DEVICES` names them; empty where their number was not given."""


def _is_made(out: Path, identity: Mapping[str, Any]) -> bool:
    """Whether the results are there, of the same model, problems and decoding."""
    if not out.is_file():
        return False
    found = read_json(out)
    return all(found.get(key) == value for key, value in identity.items())


def _check_shares(gpus: int | None, processes: int) -> None:
    """Raise `UserError` unless each process has the same number of GPUs."""
    if (gpus or 0) % processes:
        raise UserError(
            f"{gpus} GPUs are not divisible by {processes}",
            where="--processes",
            hint="each process has the same number of GPUs",
        )


def _measure(
    settings: Mapping[str, Any],
    decoding: Mapping[str, Any],
    weights: _Weights,
    problems: Path,
    means: _Means,
    partial: Path,
) -> tuple[dict[str, Any], pl.DataFrame]:
    """Complete and grade a suite: its results, and the graded completions."""
    rows = read_problems(problems, decoding["max_problems"])
    prompt = load_prompt(decoding["prompt"])
    threads = settings["computation"]["evaluate"]["threads"]
    completed = _complete(
        weights, [row["prompt"] for row in rows], decoding, prompt, means, partial, threads
    )
    started = time.monotonic()
    table = _graded(settings, rows, completed, prompt)
    seconds = completed.generated.seconds + time.monotonic() - started
    outcomes = by_problem(table, settings["task"])
    measured = {
        "decoding": decoding,
        "engine": completed.engine,
        "n_problems": len(rows),
        "n_samples": decoding["n_samples"],
        "metrics": scores(outcomes),
        "greedy_metrics": greedy_scores(outcomes),
        "problems": outcomes,
        "tokens": completed.generated.tokens,
        "seconds": round(seconds, 1),
        "tokens_per_second": round(completed.generated.tokens_per_second, 1),
    }
    return measured, table


class _Completed(NamedTuple):
    """Completions as text, and how they were generated."""

    engine: str
    generated: Generated
    completions: "list[list[tuple[str, int, Completion]]]"
    """For each problem: `sampled` or `greedy`, number of the sample, completion."""


def _complete(
    weights: _Weights,
    prompts: Sequence[str],
    decoding: Mapping[str, Any],
    prompt: Prompt,
    means: _Means,
    partial: Path,
    threads: int,
) -> _Completed:
    """Complete all prompts; finished chunks are read from the folder `partial`."""
    from r1zero.evaluate.text import Tokens  # imports tokenizers

    tokens = Tokens(weights.folder, prompt.stop_tokens)
    ids = tokens.encode(prompts)
    longest_prompt = max(map(len, ids))
    longest = longest_prompt + decoding["max_new_tokens"]
    positions = positions_of(read_json(weights.folder / "config.json")) or longest
    if positions <= longest_prompt:
        raise UserError(
            f"a prompt has {longest_prompt} tokens, the model only {positions} positions",
            where=str(weights.folder),
            hint="use a suite of shorter problems",
        )
    model = Model(
        weights.folder,
        tokens.stop_token_ids,
        tokens.pad,
        min(longest, positions),
        threads,
        max(1, len(means.gpus) // means.processes),
    )
    engine = open_engine(model, means.engine)
    decides = {
        "weights": weights.sha256,
        "prompts": ids,
        "stop_token_ids": tokens.stop_token_ids,
        "decoding": decoding,
        "engine": (engine.version, engine.device, engine.batch, threads),
        "versions": versions(),
    }
    finished = Chunks(partial, sha256_json(decides))
    if len(finished):
        print(f"{partial}: continuing after {len(finished)} finished chunks", flush=True)
    work = Work(
        ids,
        Decoding(*(decoding[key] for key in Decoding._fields)),
        greedy=decoding["greedy"],
        seed=decoding["seed"],
        batch=engine.batch,
    )
    if means.processes > 1:
        generate_in_processes(means.processes, means.gpus, model, means.engine, work, finished)
    generated = generate(engine, work, finished)
    greedy = generated.greedy or [[] for _ in ids]
    completions = [
        [
            # vLLM cuts a completion at the model's positions; do the same for every engine.
            (way, sample, tokens.completion(drawn[: positions - len(prompt_ids)]))
            for way, all_drawn in (("sampled", sampled), ("greedy", once))
            for sample, drawn in enumerate(all_drawn)
        ]
        for prompt_ids, sampled, once in zip(ids, generated.sampled, greedy, strict=True)
    ]
    return _Completed(f"{engine.version} ({engine.device})", generated, completions)


def _decoding(run: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that decides what is generated, except the model and the problems."""
    settings = run["settings"]
    evaluation = Evaluation.model_validate(settings["evaluation"])
    return {
        **evaluation.model_dump(mode="json", exclude={"suites"}),
        "max_new_tokens": settings["sizes"]["max_completion_length"],
        "seed": run["run"]["seed"],
        "prompt": settings["prompt"],
    }


def _graded(
    settings: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    completed: _Completed,
    style: Style,
) -> pl.DataFrame:
    """One row per completion with its grade; those of a problem are consecutive."""
    pairs = [
        (row, *one)
        for row, completions in zip(rows, completed.completions, strict=True)
        for one in completions
    ]
    texts = [completion.text for *_, completion in pairs]
    rewards = {reward["name"]: reward["options"] for reward in settings["rewards"]}
    task, asked = find_task(settings["task"]), [row for row, *_ in pairs]
    grades = task.grade(texts, asked, style, rewards)
    searches = task.search(texts, asked) if task.search else None
    counted = [asdict(found) for found in searches] if searches else [{}] * len(texts)
    return pl.DataFrame(
        [
            {
                "problem_id": row["problem_id"],
                "prompt": row["prompt"],
                "decoding": way,
                "sample": sample,
                "completion": completion.text,
                "length": completion.length,
                "truncated": int(completion.truncated),
                "repetition": round(repetition(completion.text), 6),
                **asdict(grade),
                **counts,
            }
            for (row, way, sample, completion), grade, counts in zip(
                pairs, grades, counted, strict=True
            )
        ],
        # Otherwise a first completion without an answer would decide the type.
        schema_overrides={
            "extracted": pl.String,
            "reason": pl.String,
            **({"by_chance": pl.Float64} if task.search else {}),
        },
    )


def _line(result: Mapping[str, Any]) -> str:
    """Summary of the result in one line."""
    metrics, greedy, n = result["metrics"], result["greedy_metrics"], result["n_samples"]
    parts = [
        f"{result['suite']}, step {result['step']}: {metrics['accuracy']:.1%} correct",
        *([f"pass@{n} {metrics[f'pass@{n}']:.1%}"] if n > 1 else []),
        *([f"greedy {greedy['accuracy']:.1%}"] if greedy else []),
        f"{metrics['format']:.1%} well-formed",
        f"{metrics['mean_length']:.0f} tokens",
        f"{result['tokens_per_second']:,.0f} tokens/s",
        f"{result['seconds']:.0f} s",
    ]
    return ", ".join(parts)


def _weights(run: dict[str, Any], step: int, where: Path) -> _Weights:
    """The weights at a step, after a check of the files on disk."""
    if step == 0:
        entry = run["base_model"]
        manifest = Path(entry["path"]) / "manifest.json"
    else:
        steps = {checkpoint["step"]: checkpoint for checkpoint in run["checkpoints"]}
        if step not in steps:
            raise UserError(
                f"no checkpoint of step {step}",
                where=str(where),
                hint=f"checkpoints exist for: {', '.join(map(str, steps))}",
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
    return _Weights(folder, found)
