"""Groups whose rewards are all equal: they have no advantage, and so nothing to learn from.

A recipe keeps them (only the KL penalty moves them), drops them from the loss, or has other
problems drawn in their place (DAPO, arXiv 2503.14476, section 3.2). A batch is what TRL's trainer
makes of rollouts: tensors `[n, ...]` by name, one row a completion, and scalars.
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
    """Which groups `[n / group]` of rewards `[n]` are all equal; NaN stands for no reward."""
    groups = rewards.view(-1, group)
    high = groups.nan_to_num(nan=-torch.inf).amax(dim=1)
    low = groups.nan_to_num(nan=torch.inf).amin(dim=1)
    return ~(high > low)


class Shares(NamedTuple):
    """Shares of the groups of a batch."""

    zero_variance: float
    """All rewards are equal."""
    all_right: float | None
    """Equal, and all completions are right; None where no term says so."""
    all_wrong: float | None
    """Equal, and none is right."""


def shares(same: Tensor, right: Tensor | None, group: int) -> Shares:
    """Count the equal groups.

    Args:
        same: Which groups are equal.
        right: Which completions `[n]` are right, if a term of the reward says so.
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
    """Places of `count` problems to draw instead, in a stream that nothing else draws from.

    So the order of the ordinary problems stays as it is, and a run that resumes draws the same.

    Args:
        prompts: Prompts of all problems.
        used: Prompts that the step has drawn already; they come again only if no others are left.
        seed: Seed of the run.
        step: Optimizer step.
        draw: Which draw of the step.
        count: How many.
    """
    stream = random.Random(f"{seed} {step} {draw}")
    drawn = stream.sample(range(len(prompts)), min(len(prompts), count + len(used)))
    fresh = [place for place in drawn if prompts[place] not in used]
    return (fresh + stream.choices(range(len(prompts)), k=count))[:count]


def replaced(batch: Batch, rows: Tensor, other: Batch, others: Tensor, filler: int) -> Batch:
    """Put rows of another batch in place of some; the shorter of the two is padded.

    Args:
        batch: The batch; scalars of it are kept.
        rows: Its rows that go, `[k]`.
        other: The other batch.
        others: Its rows that come, `[k]`.
        filler: Token that pads.
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
    """Take rows `[n]` (true for those that go) out of the loss; `scaled` makes up for them."""
    kept = (~rows)[:, None]
    masks = {name: batch[name] * kept for name in ("completion_mask", "tool_mask") if name in batch}
    return batch | masks


def scaled(batch: Batch, loss_type: str, *, everything: int, kept: int, tokens: Tensor) -> Batch:
    """Give a batch what makes its loss that of the batch without the dropped completions.

    Losses that are means over completions still divide by all of them, so they are to be multiplied
    by `loss_scale`. Those that divide by tokens are told how many are left. (`bnpo` counts the
    unmasked tokens of each pass by itself.) Where several optimizer steps share a batch, they share
    these numbers too, as TRL's dapo does.

    Args:
        batch: The batch.
        loss_type: The loss.
        everything: Completions of all processes.
        kept: Those of them that are not dropped.
        tokens: Unmasked tokens of all processes, a scalar.
    """
    factor = everything / max(kept, 1) if loss_type in _MEANS else 1.0
    return batch | {
        "num_items_in_batch": tokens,
        "loss_scale": torch.tensor(factor, device=tokens.device),
    }


def tokens_in_loss(batch: Batch) -> Tensor:
    """How many tokens of this process are unmasked."""
    mask = batch["completion_mask"]
    return (mask * batch["tool_mask"] if "tool_mask" in batch else mask).sum()


def rescaling(rewards: Tensor, gone: Tensor) -> float:
    """Factor of the advantages that were divided by the deviation of a whole batch.

    Args:
        rewards: Of the batch, `[n]`.
        gone: Which of them `[n]` are dropped: their deviation is not to count.
    """
    scored = ~rewards.isnan()
    left = rewards[scored & ~gone]
    if len(left) < 2:
        return 1.0
    return ((rewards[scored].std() + EPSILON) / (left.std() + EPSILON)).item()
