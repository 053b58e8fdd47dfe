"""Reward functions as users write them: good ones, and ones that fail in every way there is."""

import os
import time
from typing import Any


def brevity(completions: list[str], limit: int = 10, **_: Any) -> list[float]:
    return [float(len(text) <= limit) for text in completions]


def meets_target(prompts: list[str], completions: list[str], target: list[int], **_: Any) -> Any:
    return [float(str(goal) in text) for text, goal in zip(completions, target, strict=True)]


def number_of_the_step(completions: list[str], trainer_state: Any, **_: Any) -> list[float]:
    return [float(trainer_state.global_step)] * len(completions)


async def later(completions: list[str], **_: Any) -> list[float]:
    return [0.25] * len(completions)


def hostile(completions: list[str], **_: Any) -> Any:
    """Does what the completions say; those that say nothing special are worth 1."""
    if "hang" in completions:
        time.sleep(600)
    if "crash" in completions:
        os._exit(9)
    if "raise" in completions:
        raise ValueError("no such thing")
    if "short" in completions:
        return []
    if "text" in completions:
        return "x" * len(completions)
    special = {"nan": float("nan"), "inf": float("inf"), "none": None}
    return [special.get(text, 1.0) for text in completions]


def fails_on_even(completion_ids: list[list[int]], **_: Any) -> list[float]:
    if any(len(ids) % 2 == 0 for ids in completion_ids):
        raise ValueError("an even number of tokens")
    return [1.0] * len(completion_ids)
