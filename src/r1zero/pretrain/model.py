"""Pre-train a small Qwen3 model, with Muon for its matrices and AdamW for the rest."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from itertools import islice

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.optim import AdamW, Optimizer
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from r1zero.pretrain.corpus import IGNORED, Batch
from r1zero.pretrain.muon import Muon
from r1zero.settings.scale import MiniBase, Workers

CONTEXT = 1024
_WARMUP_STEPS = 50
_FLOOR = 0.02  # learning rate of the last step, as a share of the peak

Report = Callable[[dict[str, float]], None]


def build_model(settings: MiniBase, tokenizer: PreTrainedTokenizerFast) -> Qwen3ForCausalLM:
    """Make a Qwen3 model of the given size with random weights (from torch's global generator)."""
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=settings.hidden_size,
        num_hidden_layers=settings.num_hidden_layers,
        num_attention_heads=settings.num_attention_heads,
        num_key_value_heads=settings.num_key_value_heads,
        head_dim=settings.hidden_size // settings.num_attention_heads,
        intermediate_size=settings.intermediate_size,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        attn_implementation="sdpa",
    )
    return Qwen3ForCausalLM(config)


def pretrain(
    model: Qwen3ForCausalLM,
    stream: Iterator[Batch],
    settings: MiniBase,
    report: Report,
    *,
    workers: Workers,
    report_every: int = 100,
) -> None:
    """Train `model` in place on the next `settings.steps` batches.

    Muon (Jordan et al. 2024) orthogonalises the update of each matrix. On these traces it learns
    two-digit arithmetic in a fraction of the steps that AdamW takes, so that a base model takes
    minutes.

    Args:
        model: The model to train.
        stream: Endless batches.
        settings: Steps and learning rates.
        workers: Threads that divide the rows of a batch.
        report: Called every `report_every` steps with the means since the last call.
        report_every: Steps between reports.

    """
    parameters = list(model.parameters())
    model.train()
    losses, tokens, started = 0.0, 0, time.monotonic()
    # torch divides each operation over its threads, and these are too small for that. Threads that
    # divide the rows of a batch wait for each other once in a step.
    torch.set_num_threads(workers.threads)
    pool = ThreadPoolExecutor(
        workers.processes, initializer=torch.set_num_threads, initargs=(workers.threads,)
    )
    with pool:
        optimizers = _optimizers(model, settings, pool)
        peaks = [[group["lr"] for group in optimizer.param_groups] for optimizer in optimizers]
        for step, drawn in enumerate(islice(stream, settings.steps), 1):
            for optimizer, lrs in zip(optimizers, peaks, strict=True):
                for group, peak in zip(optimizer.param_groups, lrs, strict=True):
                    group["lr"] = peak * _schedule(step, settings.steps)
            batch = Batch(*(part.to(model.device) for part in drawn))
            targets = int((batch.labels[:, 1:] != IGNORED).sum())
            shares = zip(*(part.chunk(workers.processes) for part in batch), strict=True)
            found = pool.map(lambda share: _loss_and_gradients(model, Batch(*share)), shares)
            share_losses, gradients = zip(*found, strict=True)
            for parameter, *parts in zip(parameters, *gradients, strict=True):
                parameter.grad = sum(parts) / targets
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            for optimizer in optimizers:
                optimizer.step()
            losses += sum(share_losses) / targets
            tokens += batch.input_ids.numel()
            if step % report_every == 0 or step == settings.steps:
                since = (step - 1) % report_every + 1
                rate = tokens / (time.monotonic() - started)
                report({"step": step, "loss": losses / since, "tokens_per_second": rate})
                losses = 0.0


def _loss_and_gradients(model: Qwen3ForCausalLM, batch: Batch) -> tuple[float, Sequence[Tensor]]:
    """Sum of the next-token losses over the completions, and its gradients."""
    hidden = model.model(input_ids=batch.input_ids, use_cache=False).last_hidden_state[:, :-1]
    targets = batch.labels[:, 1:]
    scored = targets != IGNORED
    loss = cross_entropy(model.lm_head(hidden[scored]), targets[scored], reduction="sum")
    return loss.item(), torch.autograd.grad(loss, list(model.parameters()))


def _optimizers(model: Qwen3ForCausalLM, settings: MiniBase, pool: Executor) -> list[Optimizer]:
    named = list(model.model.layers.named_parameters())
    matrices = [parameter for _, parameter in named if parameter.ndim == 2]
    inside = {id(parameter) for parameter in matrices}
    others = [parameter for parameter in model.parameters() if id(parameter) not in inside]
    return [
        Muon(matrices, lr=settings.muon_learning_rate, weight_decay=0.01, apply=pool.map),
        AdamW(others, lr=settings.adam_learning_rate, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def _schedule(step: int, steps: int) -> float:
    """Factor of the peak rate at a step: linear warm-up, then cosine decay to `_FLOOR`."""
    if step <= _WARMUP_STEPS:
        return step / _WARMUP_STEPS
    done = (step - _WARMUP_STEPS) / max(1, steps - _WARMUP_STEPS)
    return _FLOOR + (1 - _FLOOR) * (1 + math.cos(math.pi * done)) / 2
