"""Zero-variance groups in TRL's batches: rows are replaced or dropped.

A batch is what TRL's trainer makes of rollouts: tensors `[n, ...]` by name, one row a completion,
and scalars.
"""

import torch
from torch import Tensor
from torch.nn.functional import pad

Batch = dict[str, Tensor]

# Losses that are means over completions; all others count tokens (TRL 1.16, `_compute_loss`).
_MEANS = ("grpo", "dr_grpo", "sapo", "luspo")
# What is padded on the left, as prompts are.
_PROMPT = ("prompt_ids", "prompt_mask")
_IDS = ("prompt_ids", "completion_ids")


def replaced(batch: Batch, rows: Tensor, other: Batch, others: Tensor, filler: int) -> Batch:
    """Replace rows of a batch by rows of another one; the shorter of the two is padded.

    Args:
        batch: The batch; its scalars are kept.
        rows: Its rows to replace, `[k]`.
        other: The other batch.
        others: Its rows to take, `[k]`.
        filler: Padding token.
    """
    merged = {}
    for name, mine in batch.items():
        if mine.ndim == 0:
            merged[name] = mine
            continue
        here, there = _alike(name, mine, other[name], filler)
        merged[name] = here.index_copy(0, rows, there[others])
    return merged


def _alike(name: str, first: Tensor, second: Tensor, filler: int) -> tuple[Tensor, Tensor]:
    """Two tensors of one name, `[n]` or `[n, width]`, padded to the larger width."""
    if first.ndim == 1:
        return first, second
    width = max(first.shape[1], second.shape[1])

    def padded(values: Tensor) -> Tensor:
        missing = width - values.shape[1]
        sides = (missing, 0) if name in _PROMPT else (0, missing)
        return pad(values, sides, value=filler if name in _IDS else 0)

    return padded(first), padded(second)


def dropped(batch: Batch, rows: Tensor) -> Batch:
    """Mask rows `[n]` (true: dropped) out of the loss; `scaled` corrects its normalisation."""
    kept = (~rows)[:, None]
    masks = {name: batch[name] * kept for name in ("completion_mask", "tool_mask") if name in batch}
    return batch | masks


def scaled(batch: Batch, loss_type: str, *, everything: int, kept: int, tokens: Tensor) -> Batch:
    """Add the numbers that make the loss that of the batch without the dropped completions.

    Losses that are means over completions still divide by all of them, so `loss_scale` multiplies
    them. Losses that divide by tokens get the number of tokens left. (`bnpo` counts the unmasked
    tokens of each pass itself.) Optimizer steps that share a batch share these numbers too, as in
    TRL's dapo.

    Args:
        batch: The batch.
        loss_type: The loss.
        everything: Completions of all processes.
        kept: Number of them that are not dropped.
        tokens: Unmasked tokens of all processes, a scalar.
    """
    factor = everything / max(kept, 1) if loss_type in _MEANS else 1.0
    return batch | {
        "num_items_in_batch": tokens,
        "loss_scale": torch.tensor(factor, device=tokens.device),
    }


def tokens_in_loss(batch: Batch) -> Tensor:
    """Number of unmasked tokens of this process."""
    mask = batch["completion_mask"]
    return (mask * batch["tool_mask"] if "tool_mask" in batch else mask).sum()
