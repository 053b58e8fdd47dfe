"""Answers beside gold answers, of the kinds that others have found to be graded wrong."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from graders import grade_gsm8k, grade_math
from r1zero.tasks.prompts import Style

FRAMES = {"boxed": r"So it is $\boxed{%s}$.", "hash": "thought\n#### %s", "line": "thought\n%s"}


class Case(NamedTuple):
    gold: str
    answer: str
    right: int


def sections() -> dict[str, list[Case]]:
    """The cases of `cases.txt` by task, style and verdict."""
    found: dict[str, list[Case]] = {}
    gold = ""
    for line in Path(__file__).with_name("cases.txt").read_text(encoding="utf-8").splitlines():
        kind, _, content = line.partition(" ")
        if kind == "==":
            cases = found[content] = []
        elif kind == "gold":
            gold = content
        elif kind == "same":
            one, other = texts(content)
            cases += [Case(one, other, 1), Case(other, one, 1)]
        elif kind in ("+", "-"):
            cases += [Case(gold, text, int(kind == "+")) for text in texts(content)]
    return found


def texts(line: str) -> Iterator[str]:
    for text in line.split("   "):
        spaces = re.sub(r"\{U\+(\w{4})\}", lambda match: chr(int(match[1], 16)), text)
        yield spaces.replace("⏎", "\n")


@pytest.mark.parametrize("section", sections())
def test_what_is_right_and_what_is_wrong(section: str) -> None:
    task, answer, verdict = section.split(" ", 2)
    cases = sections()[section]
    frame = "%s" if verdict == "lenient" else FRAMES[answer]
    grade = grade_gsm8k if task == "gsm8k" else grade_math
    style = Style(thought="free", answer=answer)  # type: ignore[arg-type]
    grades = grade([frame % case.answer for case in cases], [case.gold for case in cases], style)
    mistaken = [
        (case, grade.reason)
        for case, grade in zip(cases, grades, strict=True)
        if (grade.lenient if verdict == "lenient" else grade.correct) != case.right
    ]
    right = sum(case.right for case in cases)
    print(f"\n{section}: {right} right, {len(cases) - right} wrong, {len(mistaken)} mistaken")
    assert not mistaken
