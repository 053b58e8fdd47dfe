"""Verdicts on hand-written answers, and how they come back."""

import threading

import pytest

from graders import gold_problems
from graders import grade_math as grade
from r1zero.tasks.math.grader import MAX_CHARACTERS
from r1zero.tasks.prompts import Style

BOXED = Style(thought="free", answer="boxed")
TAGS = Style(thought="prefilled", answer="tags")
LINE = Style(thought="free", answer="line")

# style, completion, gold, correct, lenient, format, reason
CASES = {
    "as text": (BOXED, r"\boxed{\text{Evelyn}}", r"\text{Evelyn}", 1, 1, 1, "ok"),
    "fraction": (BOXED, r"\boxed{\frac{2}{4}}", "0.5", 1, 1, 1, "ok"),
    "short fraction": (BOXED, r"\boxed{\frac12}", r"\frac{1}{2}", 1, 1, 1, "ok"),
    "plain fraction": (BOXED, r"\boxed{1/2}", r"\dfrac{1}{2}", 1, 1, 1, "ok"),
    "root": (BOXED, r"\boxed{\sqrt{8}}", r"2\sqrt{2}", 1, 1, 1, "ok"),
    "degrees": (BOXED, r"\boxed{90^\circ}", "90", 1, 1, 1, "ok"),
    "percent": (BOXED, r"\boxed{10\%}", "10", 1, 1, 1, "ok"),
    "units": (BOXED, r"\boxed{10\text{ cm}}", "10", 1, 1, 1, "ok"),
    "thousands": (BOXED, r"\boxed{29,\!322,\!216}", "29322216", 1, 1, 1, "ok"),
    "full stop": (BOXED, r"\boxed{30^\circ.}", "30", 1, 1, 1, "ok"),
    "interval": (BOXED, r"\boxed{[0, 3)}", "[0,3)", 1, 1, 1, "ok"),
    "other interval": (BOXED, r"\boxed{[0, 3]}", "[0,3)", 0, 0, 1, "not equal to the gold answer"),
    "set in another order": (BOXED, r"\boxed{3, 1, 2}", "1,2,3", 1, 1, 1, "ok"),
    "assignment": (BOXED, r"\boxed{x = 5}", "5", 1, 1, 1, "ok"),
    "expanded": (BOXED, r"\boxed{x^2-4}", "(x-2)(x+2)", 1, 1, 1, "ok"),
    "matrix": (
        BOXED,
        r"\boxed{\begin{pmatrix} 4 \\ 6/2 \end{pmatrix}}",
        r"\begin{pmatrix}4\\3\end{pmatrix}",
        1, 1, 1, "ok",
    ),
    "the last box": (BOXED, r"\boxed{5}, no, \boxed{6}", "5", 0, 0, 1, "not equal"),
    "dollars in the box": (BOXED, r"\boxed{$5$}", "5", 1, 1, 1, "ok"),
    "several answers as one": (BOXED, r"\boxed{4 \text{ or } 5}", "5", 0, 0, 1, "not equal"),
    "not in a box": (BOXED, "The answer is $5$.", "5", 0, 1, 0, r"no complete \boxed{}"),
    "empty box": (BOXED, r"\boxed{}", "5", 0, 0, 0, "empty answer"),
    "no mathematics": (BOXED, r"\boxed{)(}", "5", 0, 0, 1, "the answer can't be parsed"),
    "too long": (BOXED, rf"\boxed{{{'1+' * 1000}1}}", "1001", 0, 0, 1, "longer than 2000"),
    "in tags": (TAGS, "x</think>\n<answer>1/2</answer>", "0.5", 1, 1, 1, "ok"),
    "formula in tags": (TAGS, "x</think>\n<answer>$\\frac12$</answer>", "0.5", 1, 1, 1, "ok"),
    "box in tags": (TAGS, "x</think>\n<answer>So \\boxed{7}.</answer>", "7", 1, 1, 1, "ok"),
    "tags, not the format": (TAGS, "x</think><answer>7.0</answer>", "7", 1, 1, 0, "ok"),
    "box instead of tags": (TAGS, r"x</think> \boxed{7}", "7", 0, 1, 0, "no <answer> tag"),
    "on a line": (LINE, "x\nAnswer: $\\frac{14}{2}$", "7", 1, 1, 1, "ok"),
    "gold can't be parsed": (BOXED, r"\boxed{5}", r"\frac{", 0, 0, 1, "the gold answer can't"),
    "gold can't be parsed, as text": (BOXED, r"\boxed{\sin^2 t}", r"\sin^2 t", 1, 1, 1, "ok"),
    "no gold, no answer": (BOXED, r"\boxed{}", "", 0, 0, 0, "empty answer"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_verdict(name: str) -> None:
    style, completion, gold, correct, lenient, format_, reason = CASES[name]
    (verdict,) = grade([completion], [gold], style)
    assert (verdict.correct, verdict.lenient, verdict.format) == (correct, lenient, format_), (
        verdict
    )
    assert reason in verdict.reason
    assert len(verdict.extracted or "") <= MAX_CHARACTERS


def test_a_batch_is_graded_in_order() -> None:
    cases = [case for case in CASES.values() if case[0] == BOXED]
    verdicts = grade([case[1] for case in cases], [case[2] for case in cases], BOXED)
    assert [(v.correct, v.lenient, v.format) for v in verdicts] == [case[3:6] for case in cases]
    assert grade([], [], BOXED) == []


def test_from_a_thread_that_ends() -> None:
    # A process whose parent is a thread's own would end with the thread.
    verdicts: list[int] = []
    for _ in range(2):
        thread = threading.Thread(
            target=lambda: verdicts.append(grade([r"\boxed{2/4}"], ["1/2"], BOXED)[0].correct)
        )
        thread.start()
        thread.join()
    assert verdicts == [1, 1]


def test_gold_answers_that_cannot_serve() -> None:
    golds = ["5", r"\frac{", "", r"\text{Evelyn}", "1+" * 1000 + "1"]
    problems = gold_problems("math", golds)
    assert [bool(problem) for problem in problems] == [False, True, True, False, True]


def test_the_gold_answer_itself_takes_no_judge() -> None:
    # No judge would be through with this in time.
    gold = "(10^{9})! + 0 \\cdot x"
    assert grade([rf"\boxed{{{gold}}}"], [gold], BOXED)[0].correct == 1
