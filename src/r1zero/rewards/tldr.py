"""TL;DR: the length of the summary, which is all that TRL's quickstart rewards.

Its reward is `-abs(20 - len(completion))`, in characters. There is no gold answer: a completion is
right if its length is within 10 % of that.
"""

from collections.abc import Sequence

from r1zero.rewards.grade import Grade

CHARACTERS = 20
TOLERANCE = 2


def grade(completions: Sequence[str]) -> list[Grade]:
    """Grade completions; every text has the format."""
    return [_grade(completion) for completion in completions]


def _grade(completion: str) -> Grade:
    length = len(completion)
    right = int(abs(length - CHARACTERS) <= TOLERANCE)
    reason = "ok" if right else f"{length} characters, not {CHARACTERS}"
    return Grade(right, right, 1, completion[: CHARACTERS + TOLERANCE], reason)
