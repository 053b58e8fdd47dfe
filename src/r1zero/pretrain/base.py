"""Pre-train a mini base model and save it."""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import torch
from transformers.utils import logging

from r1zero.core.files import verify_file
from r1zero.pretrain.completions import frame, write_completion
from r1zero.pretrain.corpus import batches
from r1zero.pretrain.model import build_model, pretrain
from r1zero.pretrain.tokenizer import build_tokenizer
from r1zero.settings.scale import MiniBase, Workers
from r1zero.tasks.prompts import Prompt, literals, load_prompt
from r1zero.tasks.traces import Trace


def make_base(
    settings: MiniBase,
    workers: Workers,
    rows: dict[str, Any],
    rows_folder: Path,
    out: Path,
    device: str = "cpu",
) -> dict[str, Any]:
    """Pre-train a base model and save it, with its tokenizer, in folder `out`.

    The problems of the traces are drawn here; none of them is among the held-out rows.

    Args:
        settings: Prompts, traces, size of the model and of the training.
        workers: Layout of the computation.
        rows: Manifest of the rows that are trained on later.
        rows_folder: Folder of the manifest.
        out: An existing folder.
        device: Where to compute: `cpu` or `cuda`.

    Returns:
        Entries of the manifest: number of parameters, final loss.

    """
    logging.disable_progress_bar()
    prompts = [load_prompt(name) for name in settings.prompts]
    tokenizer = build_tokenizer(pieces(prompts, settings.traces.literals()))
    held_out = pl.read_parquet(verify_file(rows["files"]["held_out"], rows_folder))
    torch.manual_seed(settings.seed)
    rng = random.Random(settings.seed)
    model = build_model(settings, tokenizer).to(device)
    traces = settings.traces.write(rows=rows, held_out=held_out, seed=settings.seed, rng=rng)
    texts = _texts(traces, prompts, settings.seed)
    stream = batches(texts, tokenizer, tokens=settings.tokens_per_step, rng=rng)
    progress: dict[str, float] = {}

    def report(values: dict[str, float]) -> None:
        progress.update(values)
        print(
            f"step={values['step']}/{settings.steps} loss={values['loss']:.4f} "
            f"tokens/s={values['tokens_per_second']:.0f}",
            flush=True,
        )

    pretrain(model, stream, settings, report, workers=workers)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    return {"parameters": model.num_parameters(), "loss": round(progress["loss"], 4)}


def pieces(prompts: Sequence[Prompt], words: Sequence[str]) -> list[str]:
    """Texts that get a token of their own: of the prompts, of the task, around the answers."""
    constant = [text for prompt in prompts for text in literals(prompt.text)]
    frames = [text for prompt in prompts for text in frame(prompt)]
    return [text for text in (*constant, *words, *frames) if len(text) > 1]


def _texts(
    traces: Iterator[Trace], prompts: Sequence[Prompt], seed: int
) -> Iterator[tuple[str, str]]:
    """Yield pairs of prompt and completion without end."""
    # Prompts have their own random generator, so that the traces do not depend on them.
    rng = random.Random(seed)
    for trace in traces:
        prompt = rng.choice(prompts)
        completion = write_completion(prompt, trace.thought, trace.answer)
        yield prompt.text.format(**trace.fields), completion
