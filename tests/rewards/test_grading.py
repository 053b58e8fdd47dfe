"""One entry for all tasks; and TL;DR, which is all of a line."""

from typing import Any

import pytest
from r1zero.rewards.grading import TASKS, gold_problems, grade_batch

from r1zero.core.errors import UserError
from r1zero.rewards import tldr
from r1zero.tasks.prompts import Style

TAGS = Style(thought="prefilled", answer="tags")

# By task: a row, a completion that is right in this style, one that is wrong.
BATCHES: dict[str, tuple[dict[str, Any], str, str]] = {
    "countdown": (
        {"nums": [1, 2], "target": 3},
        "x</think>\n<answer>1+2</answer>",
        "x</think>\n<answer>1-2</answer>",
    ),
    "gsm8k": (
        {"answer": "1005"},
        "x</think>\n<answer>$1,005</answer>",
        "x</think>\n<answer>1006</answer>",
    ),
    "math": (
        {"answer": r"\frac{1}{2}"},
        "x</think>\n<answer>2/4</answer>",
        "x</think>\n<answer>2/3</answer>",
    ),
    "tldr": ({"answer": "a summary"}, "x" * 20, "x" * 40),
}


@pytest.mark.parametrize("task", TASKS)
def test_every_task(task: str) -> None:
    row, right, wrong = BATCHES[task]
    verdicts = grade_batch(task, [right, wrong, right], [row | {"other": 1}] * 3, TAGS)
    assert [verdict.correct for verdict in verdicts] == [1, 0, 1]
    assert [verdict.lenient for verdict in verdicts] == [1, 0, 1]
    assert all(verdict.format == 1 for verdict in verdicts)
    assert [verdict.reason == "ok" for verdict in verdicts] == [True, False, True]
    assert grade_batch(task, [], [], TAGS) == []
    assert gold_problems(task, [row, row]) == ["", ""]


def test_rows_that_cannot_be_graded() -> None:
    assert all(gold_problems("gsm8k", [{"answer": "none"}, {"answer": ""}]))
    assert all(gold_problems("math", [{"answer": r"\frac{"}, {"answer": ""}]))


def test_wrong_use() -> None:
    with pytest.raises(UserError, match="no grader for task 'chess'"):
        grade_batch("chess", [], [], TAGS)
    with pytest.raises(ValueError, match="1 completions and 0 rows"):
        grade_batch("tldr", ["x"], [], TAGS)


@pytest.mark.parametrize(("length", "right"), [(0, 0), (17, 0), (18, 1), (20, 1), (22, 1), (23, 0)])
def test_length_of_a_summary(length: int, right: int) -> None:
    (verdict,) = tldr.grade(["\ud800" * length])
    assert (verdict.correct, verdict.lenient, verdict.format) == (right, right, 1)
    assert len(verdict.extracted or "") <= 22
