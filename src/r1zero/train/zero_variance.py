"""Zero-variance groups, whose rewards are all equal: their advantages are zero.

A recipe keeps them (only the KL penalty moves them), drops them from the loss, or replaces them by
other problems (DAPO, arXiv 2503.14476, section 3.2).
"""

import random
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from r1zero.train.formulas import EPSILON


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
