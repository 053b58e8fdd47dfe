"""Zero-variance groups, whose rewards are all equal: their advantages are zero.

A recipe keeps them (only the KL penalty moves them), drops them from the loss, or replaces them by
other problems (DAPO, arXiv 2503.14476, section 3.2). A batch is what TRL's trainer makes of
rollouts: tensors `[n, ...]` by name, one row a completion, and scalars.
"""

import random
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from r1zero.train.formulas import EPSILON

Batch = dict[str, Tensor]

# Losses that are means over completions; all others count tokens (TRL 1.16, `_compute_loss`).
_MEANS = ("grpo", "dr_grpo", "sapo", "luspo")
# What is padded on the left, as prompts are.
_PROMPT = ("prompt_ids", "prompt_mask")
_IDS = ("prompt_ids", "completion_ids")


def has_zero_variance(rewards: Tensor, group: int) -> Tensor:
    """Mask `[n / group]` of the groups of rewards `[n]` without variance; NaN means no reward."""
    groups = rewards.view(-1, group)
    high = groups.nan_to_num(nan=-torch.inf).amax(dim=1)
    low = groups.nan_to_num(nan=torch.inf).amin(dim=1)
    return ~(high > low)


class Shares(NamedTuple):
    """Shares of the groups of a batch."""

    zero_variance: float
    """All rewards are equal."""
    all_right: float | None
    """Zero variance and all completions correct; None without a reward function `correct`."""
    all_wrong: float | None
    """Zero variance and no completion correct."""


def shares(same: Tensor, right: Tensor | None, group: int) -> Shares:
    """Shares of the groups without variance.

    Args:
        same: Mask of the groups without variance.
        right: Mask `[n]` of the correct completions, if a reward function tells them.
        group: Completions of a group.
    """
    if right is None:
        return Shares(_share(same), None, None)
    groups = right.view(-1, group)
    return Shares(
        _share(same),
        _share(same & groups.all(dim=1)),
        _share(same & ~groups.any(dim=1)),
    )


def _share(groups: Tensor) -> float:
    return groups.float().mean().item()


def other_problems(
    prompts: Sequence[str], used: set[str], *, seed: int, step: int, draw: int, count: int
) -> list[int]:
    """Indices of `count` problems to draw instead, from a random stream of their own.

    So the order of the ordinary problems does not change, and a run that resumes draws the same.

    Args:
        prompts: Prompts of all problems.
        used: Prompts that the step has drawn; they are drawn again only if no others are left.
        seed: Seed of the run.
        step: Optimizer step.
        draw: Number of the draw in the step.
        count: Number of problems.
    """
    stream = random.Random(f"{seed} {step} {draw}")
    drawn = stream.sample(range(len(prompts)), min(len(prompts), count + len(used)))
    fresh = [place for place in drawn if prompts[place] not in used]
    return (fresh + stream.choices(range(len(prompts)), k=count))[:count]


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


def rescaling(rewards: Tensor, gone: Tensor) -> float:
    """Factor for advantages that were divided by the standard deviation of a whole batch.

    Args:
        rewards: Rewards of the batch, `[n]`.
        gone: Mask `[n]` of the dropped ones, which must not count in the standard deviation.
    """
    scored = ~rewards.isnan()
    left = rewards[scored & ~gone]
    if len(left) < 2:
        return 1.0
    return ((rewards[scored].std() + EPSILON) / (left.std() + EPSILON)).item()
