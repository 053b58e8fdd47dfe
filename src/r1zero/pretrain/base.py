"""From settings, a prompt and rows to a base model's folder."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import torch
from transformers.utils import logging

from r1zero.files import verify_file
from r1zero.pretrain import traces
from r1zero.pretrain.corpus import batches
from r1zero.pretrain.model import build_model, pretrain
from r1zero.pretrain.tokenizer import build_tokenizer
from r1zero.settings.scale import MiniBase
from r1zero.sources.countdown import Row, generate
from r1zero.tasks.prompts import literals, load_prompt

# Distinct problems behind the traces. Each comes back with other attempts.
_PROBLEMS = 20_000


def make_base(
    settings: MiniBase, prompt: str, rows: dict[str, Any], rows_folder: Path, out: Path
) -> dict[str, Any]:
    """Pre-train a base model for a prompt and save it, with its tokenizer, in folder `out`.

    Traces are written for problems drawn here; none is among the rows that are held out.

    Args:
        settings: Size of the model and of the training.
        prompt: Name of the prompt.
        rows: Manifest of the rows that are trained on later.
        rows_folder: Folder of the manifest.
        out: An existing folder.

    Returns:
        What the manifest says of the training: parameters, final loss.

    """
    logging.disable_progress_bar()
    template = load_prompt(prompt).text
    tokenizer = build_tokenizer([*literals(template), ", ", *traces.literals()])
    held_out = _held_out(verify_file(rows["files"]["held_out"], rows_folder))
    torch.manual_seed(settings.seed)
    rng = random.Random(settings.seed)
    model = build_model(settings, tokenizer)
    texts = _texts(template, rows["numbers"], held_out, settings, rng)
    stream = batches(texts, tokenizer, tokens=settings.tokens_per_step, rng=rng)
    progress: dict[str, float] = {}

    def report(values: dict[str, float]) -> None:
        progress.update(values)
        print(
            f"step={values['step']}/{settings.steps} loss={values['loss']:.4f} "
            f"tokens/s={values['tokens_per_second']:.0f}",
            flush=True,
        )

    pretrain(model, stream, settings, report)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    return {"parameters": model.num_parameters(), "loss": round(progress["loss"], 4)}


def _held_out(path: Path) -> set[Any]:
    """Keys (`Row.key`) of held-out rows."""
    table = pl.read_parquet(path, columns=["nums", "target"])
    return {Row(tuple(nums), target).key for nums, target in table.iter_rows()}


def _texts(
    template: str,
    numbers: list[int],
    held_out: set[Any],
    settings: MiniBase,
    rng: random.Random,
) -> Iterator[tuple[str, str]]:
    """Prompts and traces without end."""
    # Another seed than any dataset's: a base should not have met the training problems either.
    rows = generate(_PROBLEMS, numbers=numbers, seed=settings.seed + 7_000_000, exclude=held_out)
    while True:
        row = rng.choice(rows)
        patient = rng.random() < settings.patient_share
        trace = traces.write_trace(
            row.nums,
            row.target,
            rng,
            persistence=settings.patient_persistence if patient else settings.persistence,
            max_attempts=settings.max_attempts,
        )
        yield template.format(numbers=list(row.nums), target=row.target), trace
