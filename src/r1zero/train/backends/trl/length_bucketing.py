"""TRL's GRPOTrainer without computation on padding, and with the time of its rollouts."""

import time
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad
from trl import GRPOTrainer

from r1zero.sampling import sample

# Tokens in one bucket of a forward pass: on a CPU small ones stay in its caches.
_TOKENS_PER_BUCKET = 4096


class LengthBucketingTrainer(GRPOTrainer):  # type: ignore[misc]
    """GRPOTrainer that computes log-probabilities in buckets of similar lengths.

    TRL pads every completion of a batch to the longest. Lengths differ tenfold here, so most of a
    forward and backward pass would be padding. Log-probabilities, loss and gradients are the same
    up to rounding, which a test checks. On a GPU and with several processes it is TRL's own.
    `r1zero.train.backends.trl` lists the members of TRL that are overridden.
    """

    def _generate(self, prompts: list[Any]) -> Any:
        started = time.perf_counter()
        result = super()._generate(prompts)
        self._log_metric("time/rollout", time.perf_counter() - started)
        return result

    def _get_per_token_logps_and_entropies(
        self,
        model: torch.nn.Module,
        input_ids: Tensor,
        attention_mask: Tensor,
        logits_to_keep: int,
        *args: Any,
        compute_entropy: bool = False,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """As in TRL: `[n, logits_to_keep]` log-probabilities and entropies; padding holds 0."""
        compute = super()._get_per_token_logps_and_entropies
        # A GPU is fastest on large batches, a distributed wrapper needs one forward pass for each
        # backward pass, and images or the loss of a router are not supported here.
        if (
            self.accelerator.device.type != "cpu"
            or self.accelerator.num_processes > 1
            or kwargs.get("compute_aux_loss")
            or kwargs.get("pixel_values") is not None
        ):
            return compute(  # type: ignore[no-any-return]
                model,
                input_ids,
                attention_mask,
                logits_to_keep,
                *args,
                compute_entropy=compute_entropy,
                **kwargs,
            )
        order, logps, entropies = [], [], []
        for rows, columns, kept in _buckets(attention_mask, logits_to_keep):
            part = compute(
                model,
                input_ids[rows, columns],
                attention_mask[rows, columns],
                kept,
                compute_entropy=compute_entropy,
            )
            order.append(rows)
            logps.append(pad(part[0], (0, logits_to_keep - kept)))
            if compute_entropy:
                entropies.append(pad(part[1], (0, logits_to_keep - kept)))
        back = torch.cat(order).argsort()
        return (
            torch.cat(logps)[back],
            torch.cat(entropies)[back] if compute_entropy else None,
            None,
        )


def _buckets(mask: Tensor, kept: int) -> Iterator[tuple[Tensor, slice, int]]:
    """Divide a batch into buckets of similar completion lengths.

    Args:
        mask: Attention mask `[n, prompt + kept]`; prompts are padded on the left, completions on
            the right.
        kept: Columns of the completions.

    Yields:
        The rows of a bucket, the columns that hold any of their tokens, and the number of these
        columns that are completion.
    """
    prompt = mask.shape[1] - kept
    lengths = mask[:, prompt:].sum(dim=1)
    starts = (mask[:, :prompt] != 0).int().argmax(dim=1)
    order = lengths.argsort(stable=True)
    first = 0
    while first < len(order):
        last = first + 1
        while last < len(order) and (
            (last + 1 - first) * (prompt + int(lengths[order[last]])) <= _TOKENS_PER_BUCKET
        ):
            last += 1
        rows = order[first:last]
        longest = max(1, int(lengths[rows].max()))
        yield rows, slice(int(starts[rows].min()), prompt + longest), longest
        first = last


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
