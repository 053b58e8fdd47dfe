"""TRL's GRPOTrainer without computation on padding, and with the time of its rollouts."""

import time
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import PreTrainedModel
from trl import GRPOTrainer
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
        model: The model; its forward pass is replaced.
        temperature: Number that logits are divided by.
        entropy: Whether to compute entropies too.
    """
    forward = model.forward

    @wraps(forward)
    def bucketed(*args: Any, fused_lm_head: bool = False, **kwargs: Any) -> Any:
        if not fused_lm_head:
            return forward(*args, **kwargs)
        labels = kwargs["labels"]
        rows, log_probs, entropies = [], [], []
        for bucket in buckets(kwargs["attention_mask"], labels):
            # The label of a column is the next token of the column before.
            margins = (bucket.completion.start - 1, labels.shape[1] - bucket.completion.stop)
            scores = _scores(forward, bucket, temperature, entropy=entropy, **kwargs)
            rows.append(bucket.rows)
            log_probs.append(pad(scores[0], margins))
            if scores[1] is not None:
                entropies.append(pad(scores[1], margins))
        back = torch.cat(rows).argsort()
        return FusedCausalLMOutput(
            log_probs=torch.cat(log_probs)[back],
            entropy=torch.cat(entropies)[back] if entropy else None,
        )

    model.forward = bucketed


class Bucket(NamedTuple):
    """Rows of a batch with completions of similar lengths."""

    rows: Tensor
    """Their indices."""
    tokens: slice
    """The columns that hold any of their tokens."""
    completion: slice
    """Those of these columns that hold any of their completions."""


def buckets(mask: Tensor, labels: Tensor) -> Iterator[Bucket]:
    """Divide a batch into buckets.

    Args:
        mask: Attention mask `[n, length]`; prompts are padded on the left, completions on the
            right.
        labels: The tokens to score `[n, length]`, those of completions.
    """
    length = labels.shape[1]
    columns = torch.arange(length)
    scored = labels != _IGNORED
    first = int(scored.any(dim=0).int().argmax()) if scored.any() else length - 1
    ends = (scored * (columns + 1)).amax(dim=1).clamp(min=first + 1)
    starts = (mask[:, :first] != 0).int().argmax(dim=1).tolist()
    order = ends.argsort(stable=True).tolist()
    stops = ends.tolist()
    while order:
        size = 1
        while size < len(order) and (size + 1) * stops[order[size]] <= _TOKENS_PER_BUCKET:
            size += 1
        rows, order = order[:size], order[size:]
        stop = stops[rows[-1]]
        start = min(starts[row] for row in rows)
        yield Bucket(torch.tensor(rows), slice(start, stop), slice(first, stop))


def _scores(
    forward: Callable[..., Any],
    bucket: Bucket,
    temperature: float,
    *,
    entropy: bool,
    input_ids: Tensor,
    attention_mask: Tensor,
    labels: Tensor,
) -> tuple[Tensor, Tensor | None]:
    """Log-probabilities and entropies of a bucket's completions, `[rows, columns]`."""
    tokens, completion = (bucket.rows, bucket.tokens), (bucket.rows, bucket.completion)
    targets = labels[completion]
    logits = forward(
        input_ids=input_ids[tokens],
        attention_mask=attention_mask[tokens],
        use_cache=False,
        logits_to_keep=targets.shape[1] + 1,
    ).logits[:, :-1]
    scored = targets != _IGNORED
    log_p = (logits[scored] / temperature).log_softmax(dim=-1)
    nothing = log_p.new_zeros(scored.shape)
    log_probs = log_p.gather(-1, targets[scored][:, None])
    if not entropy:
        return nothing.masked_scatter(scored, log_probs), None
    entropies = -(log_p.exp() * log_p).sum(dim=-1)
    return nothing.masked_scatter(scored, log_probs), nothing.masked_scatter(scored, entropies)


def rollout(prompts: list[str], trainer: GRPOTrainer) -> dict[str, Any]:
    """Rollouts by `r1zero.sampling`, which on a CPU is several times as fast as `generate`.

    Args:
        prompts: Rendered prompts, each repeated once per completion.
        trainer: The trainer, whose model and decoding settings are used.
    """
    config, tokenizer = trainer.args, trainer.processing_class
    prompt_ids = tokenizer(prompts)["input_ids"]
    completion_ids = sample(
        trainer.accelerator.unwrap_model(trainer.model),
        prompt_ids,
        max_new_tokens=config.max_completion_length,
        eos=trainer.eos_token_ids,
        pad=tokenizer.pad_token_id,
        temperature=config.temperature,
        top_p=config.top_p,
        top_k=config.top_k,
    )
    # No log-probabilities: the trainer computes its own, from the same weights.
    return {"prompt_ids": prompt_ids, "completion_ids": completion_ids, "logprobs": None}
