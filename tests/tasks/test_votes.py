"""Answers that count as one where the most frequent answer decides."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1zero.tasks.math.grader import MAX_CHARACTERS
from r1zero.tasks.registry import TASKS


def votes(task: str, answers: list[str]) -> list[str | None]:
    return [TASKS[task].vote(answer) for answer in answers]


@pytest.mark.parametrize(
    ("task", "alike"),
    [
        ("countdown", ["(1 + 2)*3", "(1+2) * 3", "\t(1+2)*3\n"]),
        ("gsm8k", ["1,234", "$1234.00", "x = 1234 dollars", r"\$1,234", "2468/2"]),
        ("gsm8k", ["0.5", "1/2", r"\frac{1}{2}", "50/100"]),
        ("math", ["0.5", "1/2", r"\frac{1}{2}", r"\dfrac12", r"$\tfrac{1}{2}$", ".50", "2/4"]),
        ("math", ["1,234", "1{,}234", r"1,\!234", " 1234 ", r"\(1234.\)"]),
        ("math", ["-3", "- 3", r"$-3$", r"-\frac{6}{2}"]),
        (
            "math",
            [r"\left( 3, \frac{\pi}{2} \right)", r"(3,\frac{\pi}{2})", r"(3, \dfrac{\pi}{2})"],
        ),
        ("math", [r"x \leq 3", r"x\leq3", r"$x\leq 3$"]),
    ],
)
def test_the_same_answer_written_in_other_ways_is_one_vote(task: str, alike: list[str]) -> None:
    found = votes(task, alike)
    assert set(found) == {found[0]}
    assert found[0]


@pytest.mark.parametrize(
    ("task", "different"),
    [
        ("countdown", ["1+2*3", "2*3+1", "7", "1 +"]),
        ("gsm8k", ["12", "-12", "1.2", "12/5"]),
        (
            "math",
            ["1/2", "1/20", "-1/2", r"\frac{1}{x}", "(1,2)", "(2,1)", r"\leftarrow", "x", "1/0"],
        ),
    ],
)
def test_different_answers_are_different_votes(task: str, different: list[str]) -> None:
    assert len(set(votes(task, different))) == len(different)


@pytest.mark.parametrize("task", TASKS)
def test_without_an_answer_there_is_no_vote(task: str) -> None:
    assert votes(task, ["", " "]) == [None, None]


def test_a_number_that_is_none_or_two_is_no_vote() -> None:
    assert votes("gsm8k", ["twelve", "12 or 13"]) == [None, None]


def test_a_summary_is_no_vote() -> None:
    assert votes("tldr", ["the same", "the same"]) == [None, None]


@given(st.sampled_from(list(TASKS)), st.text(max_size=300))
def test_any_answer_has_a_vote_that_is_its_own(task: str, answer: str) -> None:
    first, again = votes(task, [answer, answer])
    assert first == again


@pytest.mark.parametrize("piece", [r"\frac{", r"\frac{1}", "1,234", "9" * 40, r"\left", " $"])
def test_hostile_answers_take_no_time(piece: str) -> None:
    answer = (piece * MAX_CHARACTERS)[:MAX_CHARACTERS]
    started = time.process_time()
    votes("math", [answer] * 100)
    assert time.process_time() - started < 2
