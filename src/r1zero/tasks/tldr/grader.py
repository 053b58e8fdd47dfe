"""Grader of TL;DR: the length of the summary, which is all that TRL's quickstart rewards.

Its reward is `-abs(20 - len(completion))`, in characters. There is no gold answer: a completion is
right if its length is within 10 % of the target of the run's reward function `length`.
"""

from collections.abc import Sequence

from r1zero.tasks.base import Grade, Options, Rows
from r1zero.tasks.prompts import Style

# Of TRL's quickstart, for runs that do not reward the length.
DEFAULT_TARGET = 20


def grade(completions: Sequence[str], rows: Rows, style: Style, rewards: Options) -> list[Grade]:
    """Grade completions by their lengths; every text has the format."""
    target = rewards.get("length", {}).get("target", DEFAULT_TARGET)
    return [_grade(completion, target) for completion in completions]


def _grade(completion: str, target: int) -> Grade:
    length, tolerance = len(completion), target // 10
    right = int(abs(length - target) <= tolerance)
    reason = "ok" if right else f"{length} characters, not {target}"
    return Grade(right, right, 1, completion[: target + tolerance], reason)
