"""The graders with shorter arguments: one row, or gold answers instead of rows."""

from collections.abc import Sequence

from r1zero.tasks.base import Grade
from r1zero.tasks.prompts import Style
from r1zero.tasks.registry import TASKS

PREFILLED = Style(thought="prefilled", answer="tags")


def grade_countdown(
    completion: str, nums: Sequence[int], target: int, style: Style = PREFILLED
) -> Grade:
    row = {"nums": nums, "target": target}
    return TASKS["countdown"].grade([completion], [row], style, {})[0]


def grade_gsm8k(completions: Sequence[str], golds: Sequence[str], style: Style) -> list[Grade]:
    return TASKS["gsm8k"].grade(completions, _rows(golds), style, {})


def grade_math(completions: Sequence[str], golds: Sequence[str], style: Style) -> list[Grade]:
    return TASKS["math"].grade(completions, _rows(golds), style, {})


def gold_problems(task: str, golds: Sequence[str]) -> list[str]:
    return TASKS[task].gold_problems(_rows(golds))


def _rows(golds: Sequence[str]) -> list[dict[str, str]]:
    return [{"answer": gold} for gold in golds]
