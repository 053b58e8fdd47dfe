"""TRL's GRPOTrainer without computation on padding, and with the time of its rollouts."""

import time
from collections.abc import Iterator, Sequence
from functools import wraps
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel
from trl import GRPOTrainer
from trl.models import unwrap_model_for_generation
from trl.trainer.utils import FusedCausalLMOutput

from r1zero.sampling import sample

# Tokens in one bucket of a forward pass: on a CPU small ones stay in its caches.
_TOKENS_PER_BUCKET = 4096
# Label of a token that is not scored.
_IGNORED = -100


class LengthBucketingTrainer(GRPOTrainer):  # type: ignore[misc]
    """GRPOTrainer that computes log-probabilities in buckets of similar lengths.

    TRL pads every completion of a batch to the longest. Lengths differ tenfold here, so most of a
    forward and backward pass would be padding. Log-probabilities, loss and gradients are the same
    up to rounding, which a test checks. On a GPU, and with DeepSpeed, it is TRL's own computation.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # A GPU is fastest on large batches, DeepSpeed counts the passes through a model, and the
        # loss of a router is not supported here.
        if (
            self.accelerator.device.type == "cpu"
            and not self.is_deepspeed_enabled
            and not self.aux_loss_enabled
        ):
            bucket_by_length(self.model, self.temperature, entropy=True)
            if self.ref_model is not None:
                bucket_by_length(self.ref_model, self.temperature, entropy=False)

    def _generate(self, prompts: list[Any]) -> Any:
        started = time.perf_counter()
        result = super()._generate(prompts)
        self._log_metric("time/rollout", time.perf_counter() - started)
        return result


def bucket_by_length(model: PreTrainedModel, temperature: float, *, entropy: bool) -> None:
    """Let a model score completions in buckets when it is called as TRL's trainer does.

    TRL 1.16 adds a second way to call a model: `model(..., labels=..., fused_lm_head=True)` returns
    log-probabilities of the labels in place of logits. This replaces what `add_fused_lm_head` does
    there. It is inside the model's forward pass, and not around it, because a wrapper for several
    processes wants as many forward as backward passes.

    Args:
        model: The model; its forward pass and its implementation of attention are replaced.
        temperature: Number that logits are divided by.
        entropy: Whether to compute entropies too.
    """
    forward = model.forward
    # Fastest on a CPU where no mask is needed.
    model.set_attn_implementation("sdpa")

    @wraps(forward)
    def bucketed(*args: Any, fused_lm_head: bool = False, **kwargs: Any) -> Any:
        if not fused_lm_head:
            return forward(*args, **kwargs)
        ids, mask, labels = (kwargs[name] for name in ("input_ids", "attention_mask", "labels"))
        n, width = ids.shape
        columns = torch.arange(width)
        # Prompts are padded on the left. Rows that begin with their first token need no mask.
        starts = (mask != 0).int().argmax(dim=1, keepdim=True)
        rotated = (starts + columns) % width
        ids, labels = ids.gather(1, rotated), labels.gather(1, rotated)
        # The label of a column is the next token of the column before.
        scored = labels[:, 1:] != _IGNORED
        lengths = (scored * columns[1:]).amax(dim=1).clamp(min=1)
        places, log_probs, entropies = [], [], []
        for rows in buckets(lengths.tolist()):
            longest = int(lengths[rows].max())
            here = scored[rows, :longest]
            logits = forward(input_ids=ids[rows, :longest], use_cache=False).logits[here]
            log_p = (logits.float() / temperature).log_softmax(dim=-1)
            targets = labels[rows, 1 : longest + 1][here]
            log_probs.append(log_p.gather(-1, targets[:, None])[:, 0])
            if entropy:
                entropies.append(-(log_p.exp() * log_p).sum(dim=-1))
            place = torch.tensor(rows)[:, None] * (width - 1) + rotated[rows, :longest]
            places.append(place[here])

        def in_place(values: list[Tensor]) -> Tensor:
            flat = torch.zeros(n * (width - 1)).index_put((torch.cat(places),), torch.cat(values))
            return flat.view(n, width - 1)

        return FusedCausalLMOutput(
            log_probs=in_place(log_probs), entropy=in_place(entropies) if entropy else None
        )

    model.forward = bucketed


def buckets(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Divide rows into buckets of similar lengths, each of about as many tokens with padding.

    Args:
        lengths: Length of each row in tokens.

    Yields:
        Indices of rows, by length.
    """
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    while order:
        size = 1
        while size < len(order) and (size + 1) * lengths[order[size]] <= _TOKENS_PER_BUCKET:
            size += 1
        yield order[:size]
        order = order[size:]


def rollout(prompts: list[str], trainer: GRPOTrainer, batch: int | None = None) -> dict[str, Any]:
    """Rollouts by `r1zero.sampling`, which on a CPU is several times as fast as `generate`.

    As TRL does for `generate`, gradient checkpointing is switched off, which would drop the cache
    of keys and values, and the weights of ZeRO-3 are gathered.

    Args:
        prompts: Rendered prompts, each repeated once per completion.
        trainer: The trainer, whose model and decoding settings are used.
        batch: Completions to generate at once, as far as a GPU's memory goes; None for all.
    """
    config, tokenizer = trainer.args, trainer.processing_class
    prompt_ids = tokenizer(prompts)["input_ids"]
    completion_ids: list[list[int]] = []
    whole = unwrap_model_for_generation(
        trainer.model_wrapped,
        trainer.accelerator,
        gather_deepspeed3_params=config.ds3_gather_for_generation,
        gradient_checkpointing_kwargs=config.gradient_checkpointing_kwargs,
    )
    # Autocast keeps its copies of the weights until the outermost context ends. Without this one
    # each token would copy all of them.
    with whole as model, trainer.accelerator.autocast():
        for first in range(0, len(prompt_ids), batch or len(prompt_ids)):
            completion_ids += sample(
                model,
                prompt_ids[first : first + batch] if batch else prompt_ids,
                max_new_tokens=config.max_completion_length,
                eos=trainer.eos_token_ids,
                pad=tokenizer.pad_token_id,
                temperature=config.temperature,
                top_p=config.top_p,
                top_k=config.top_k,
            )
    # No log-probabilities: the trainer computes its own, from the same weights.
    return {"prompt_ids": prompt_ids, "completion_ids": completion_ids, "logprobs": None}
