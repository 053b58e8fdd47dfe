"""Verdicts on hand-written and generated completions, most of them hostile."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graders import grade_countdown as grade
from r1zero.tasks.base import Grade
from r1zero.tasks.countdown.arithmetic import MAX_CHARACTERS
from r1zero.tasks.prompts import Style

TEN_MILLION = 10_000_000
# Far above what is needed (well below 1 ms), since other processes may have the core.
SECONDS = 0.25
SECONDS_FOR_MEGABYTES = 2.0


def answered(answer: str) -> str:
    return f"some thought</think>\n<answer>{answer}</answer>"


@dataclass(frozen=True)
class Case:
    """A completion, or what makes it where it is long, and the verdict it must get."""

    completion: str | Callable[[], str]
    nums: list[int]
    target: int
    correct: int
    format: int
    reason: str


def good(answer: str, nums: list[int], target: int) -> Case:
    return Case(answered(answer), nums, target, correct=1, format=1, reason="ok")


def bad(answer: str, nums: list[int], target: int, reason: str) -> Case:
    return Case(answered(answer), nums, target, correct=0, format=1, reason=reason)


def unexpected(answer: str, nums: list[int], target: int, what: str) -> Case:
    return bad(answer, nums, target, f"not an arithmetic expression: unexpected {what}")


CASES = {
    # right
    "plain": good("(1 + 2) * 3", [1, 2, 3], 9),
    "order of numbers is free": good("3 * (2 + 1)", [1, 2, 3], 9),
    "a number given twice, used twice": good("5*5-1", [5, 1, 5], 24),
    "fractions on the way": good("8 / (3 - 8 / 3)", [3, 3, 8, 8], 24),
    "negative on the way": good("(1 - 5) + 10", [1, 5, 10], 6),
    "needless parentheses": good("((1)+(2))", [1, 2], 3),
    "negative target": good("1-5", [1, 5], -4),
    "over several lines": good("\n 1 +\n\t2 \n", [1, 2], 3),
    # right, but not the format
    "no newline before the answer": Case("x</think><answer>1+2</answer>", [1, 2], 3, 1, 0, "ok"),
    "text after the answer": Case(answered("1+2") + " Done!", [1, 2], 3, 1, 0, "ok"),
    # wrong
    "wrong value": bad("1+2", [1, 2], 4, "the value is 3, not 4"),
    "near miss": bad("7/2", [7, 2], 3, "the value is 7/2, not 3"),
    # The public graders compare floats with a tolerance of 1e-5.
    "less than 1e-5 off": bad(
        "1000000/999999", [1000000, 999999], 1, "the value is 1000000/999999"
    ),
    "number not used": bad("1+2", [1, 2, 3], 3, "does not use 3"),
    "number used twice": bad("2+2", [2, 4], 4, "uses 2, more often than it is given"),
    "number not given": bad("1+8", [1, 2], 9, "uses 8, which is not given"),
    "target as the answer": bad("98", [44, 19, 35], 98, "uses 98, which is not given"),
    "digits joined": bad("12", [1, 2], 12, "uses 12, which is not given"),
    "given number split": bad("1+2", [12], 3, "uses 1, which is not given"),
    "number cancelled away": bad("4+3*0", [4, 3], 4, "uses 0, which is not given"),
    "empty answer": bad("", [1, 2], 3, "empty answer"),
    "blank answer": bad(" \n\t", [1, 2], 3, "empty answer"),
    "words": unexpected("one plus two", [1, 2], 3, "'o'"),
    "LaTeX": unexpected(r"\frac{6}{2}", [6, 2], 3, "'\\\\'"),
    # tricks that the public graders, eval() behind ^[\d+\-*/().\s]+$, count as right
    "decimal point joins two numbers": unexpected("3.5*2", [3, 5, 2], 7, "'.'"),
    "leading decimal point": unexpected("1/.5", [1, 5], 2, "'.'"),
    "power": unexpected("2**3", [2, 3], 8, "'*'"),
    "floor division": unexpected("7//2", [7, 2], 3, "'/'"),
    "minus sign before parentheses": unexpected("-(3-5)", [3, 5], 2, "'-'"),
    "minus sign before a number": unexpected("-3+5", [3, 5], 2, "'-'"),
    "plus sign": unexpected("+3", [3], 3, "'+'"),
    "double minus": unexpected("3--2", [3, 2], 5, "'-'"),
    "plus minus": unexpected("5+-3", [5, 3], 2, "'-'"),
    "minus sign on its own": unexpected("8/-(2-6)", [8, 2, 6], 2, "'-'"),
    # other notations
    "equation": unexpected("1+2=3", [1, 2], 3, "'='"),
    "implied multiplication": unexpected("2(3+4)", [2, 3, 4], 14, "'('"),
    "numbers side by side": unexpected("1 2", [1, 2], 12, "'2'"),
    "times and division signs": unexpected("2×3", [2, 3], 6, r"'\xd7'"),
    "division sign": unexpected("6÷2", [6, 2], 3, r"'\xf7'"),
    "typographic minus": unexpected("5−3", [5, 3], 2, r"'\u2212'"),
    "caret": unexpected("2^3", [2, 3], 8, "'^'"),
    "modulo": unexpected("7%4", [7, 4], 3, "'%'"),
    "factorial": unexpected("3!", [3], 6, "'!'"),
    "square brackets": unexpected("[1+2]", [1, 2], 3, "'['"),
    "comma": unexpected("1,000", [1000], 1000, "','"),
    "hexadecimal": unexpected("0x10", [16], 16, "'x'"),
    "underscore": unexpected("1_0", [10], 10, "'_'"),
    "exponent": unexpected("1e2", [100], 100, "'e'"),
    "imaginary": unexpected("2j", [2], 2, "'j'"),
    "not a number": unexpected("nan", [1], 1, "'n'"),
    "infinity": unexpected("inf", [1], 1, "'i'"),
    "leading zero": bad("07", [7], 7, "not an arithmetic expression: leading zero in '07'"),
    # look-alikes and invisible characters
    "full-width digit": unexpected("３+2", [3, 2], 5, r"'\uff13'"),
    "Arabic digits": unexpected("٣+٢", [3, 2], 5, r"'\u0663'"),
    "superscript": unexpected("2³", [2, 3], 8, r"'\xb3'"),
    "vulgar fraction": unexpected("½", [1, 2], 1, r"'\xbd'"),
    "zero-width space": unexpected("1\u200b+2", [1, 2], 3, r"'\u200b'"),
    "byte-order mark": unexpected("\ufeff1+2", [1, 2], 3, r"'\ufeff'"),
    "no-break space": unexpected("1\u00a0+2", [1, 2], 3, r"'\xa0'"),
    "no-break space at the edge": unexpected("1+2\u00a0", [1, 2], 3, r"'\xa0'"),
    "right-to-left override": unexpected("\u202e1+2", [1, 2], 3, r"'\u202e'"),
    "full-width parenthesis": unexpected("（1+2）", [1, 2], 3, r"'\uff08'"),
    "null character": unexpected("1+2\0", [1, 2], 3, r"'\x00'"),
    "lone surrogate": unexpected("1+\ud800", [1, 2], 3, r"'\ud800'"),
    # broken syntax
    "empty parentheses": unexpected("()", [1], 1, "')'"),
    "unopened parenthesis": unexpected("1+2)", [1, 2], 3, "')'"),
    "unclosed parenthesis": bad("(1+2", [1, 2], 3, "it ends too early"),
    "dangling operator": bad("1+2+", [1, 2], 3, "it ends too early"),
    # code
    "call": unexpected("exit()", [1], 1, "'e'"),
    "import": unexpected("__import__('os').system('false')", [1], 1, "'_'"),
    "format specifier": unexpected("{nums}", [1], 1, "'{'"),
    # no single answer
    "several answers": Case(
        answered("1+2") + "\n<answer>2+1</answer>", [1, 2], 3, 0, 0, "several answers"
    ),
    "draft answer in the thought": Case(
        "<answer>9</answer>" + answered("1+2"), [1, 2], 3, 0, 0, "several answers"
    ),
    "nested answers": Case(answered("<answer>1+2</answer>"), [1, 2], 3, 0, 0, "several answers"),
    "two answers in one": unexpected("1+2\n2+1", [1, 2], 3, "'2'"),
    "tags in upper case": Case(
        "x</think>\n<ANSWER>1+2</ANSWER>", [1, 2], 3, 0, 0, "no <answer> tag"
    ),
    "answer only inside the thought": Case(
        "<answer>1+2</answer></think>\n1+2", [1, 2], 3, 0, 0, "inside a thought"
    ),
    "no thought": Case("<answer>1+2</answer>", [1, 2], 3, 0, 0, "no </think>"),
    "no answer": Case("1+2", [1, 2], 3, 0, 0, "no <answer> tag"),
    "cut off": Case("x</think>\n<answer>1+", [1, 2], 3, 0, 0, "not closed"),
    "thought tag in the answer": Case(answered("<think>1+2"), [1, 2], 3, 0, 0, "unexpected '<'"),
    "empty completion": Case("", [1, 2], 3, 0, 0, "no <answer> tag"),
    # division by zero
    "1/0": bad("1/0", [1, 0], 1, "division by zero"),
    "divisor that comes to zero": bad("6/(2-2)", [6, 2, 2], 1, "division by zero"),
    "0/0": bad("0/0", [0, 0], 0, "division by zero"),
    # bombs
    "tower of powers": unexpected("99**99**9", [99, 99, 9], 1, "'*'"),
    "tower of products": bad(
        "*".join(["999999999"] * 25), [1], 1, "uses 999999999, which is not given"
    ),
    "long number": bad("1234567890", [1], 1, "a number of more than 9 digits"),
    "33 nested parentheses": bad("(" * 33 + "1" + ")" * 33, [1], 1, "nested parentheses"),
    "100,000 nested parentheses": bad(
        "(" * 100_000 + "1" + ")" * 100_000, [1], 1, "longer than 256 characters"
    ),
    "100,000 signs": bad("-" * 100_000 + "1", [1], 1, "longer than 256 characters"),
    "10 MB of digits": Case(
        lambda: answered("9" * TEN_MILLION), [9], 9, 0, 1, "longer than 256 characters"
    ),
    "10 MB of spaces in the answer": Case(
        lambda: answered("1" + " " * TEN_MILLION + "+2"), [1, 2], 3, 0, 1, "longer than"
    ),
    "10 MB of spaces around the answer": Case(
        lambda: answered(" " * TEN_MILLION + "1+2"), [1, 2], 3, 1, 1, "ok"
    ),
    "10 MB of thought": Case(lambda: "x" * TEN_MILLION + answered("1+2"), [1, 2], 3, 1, 1, "ok"),
    "10 MB of '<'": Case(lambda: "<" * TEN_MILLION, [1, 2], 3, 0, 0, "no <answer> tag"),
    "10 MB of '<' before the answer": Case(
        lambda: "<" * TEN_MILLION + answered("1+2"), [1, 2], 3, 1, 1, "ok"
    ),
    "10 MB of '<answer>'": Case(
        lambda: "<answer>" * (TEN_MILLION // 8), [1, 2], 3, 0, 0, "several answers"
    ),
    "10 MB of '<answer'": Case(
        lambda: "<answer" * (TEN_MILLION // 7), [1, 2], 3, 0, 0, "no <answer> tag"
    ),
    "10 MB of '</think>'": Case(
        lambda: "</think>" * (TEN_MILLION // 8) + answered("1+2"), [1, 2], 3, 1, 0, "ok"
    ),
    "10 MB of white space after": Case(
        lambda: answered("1+2") + "\n " * (TEN_MILLION // 2), [1, 2], 3, 1, 1, "ok"
    ),
}


def graded_in_time(case: Case) -> tuple[Grade, float]:
    completion = case.completion if isinstance(case.completion, str) else case.completion()
    start = time.process_time()
    verdict = grade(completion, case.nums, case.target)
    return verdict, time.process_time() - start


@pytest.mark.parametrize("name", CASES)
def test_verdict(name: str) -> None:
    case = CASES[name]
    verdict, seconds = graded_in_time(case)
    assert (verdict.correct, verdict.format) == (case.correct, case.format), verdict.reason
    assert case.reason in verdict.reason
    assert len(verdict.reason) < 100
    assert verdict.reason.isascii()
    assert len(verdict.extracted or "") <= MAX_CHARACTERS
    assert seconds < (SECONDS if isinstance(case.completion, str) else SECONDS_FOR_MEGABYTES)


def test_extracted_is_the_answer_or_none() -> None:
    assert grade(answered(" 1 + 2 "), [1, 2], 3).extracted == "1 + 2"
    assert grade(answered("a" * 1000), [1, 2], 3).extracted == "a" * MAX_CHARACTERS
    assert grade("no answer", [1, 2], 3).extracted is None


@pytest.mark.parametrize(
    ("completion", "lenient"),
    [
        (answered("1+2"), 1),
        (answered("1+3"), 0),
        ("<answer>1+2</answer>", 1),  # no thought
        (answered("9") + "<answer>1+2</answer>", 1),
        (answered("1+2") + "<answer>9</answer>", 0),
        (answered("1+2") + "<answer>9", 1),  # the last one is not closed
        ("</answer><answer>", 0),
        ("</answer>", 0),
        ("1+2", 0),
        ("", 0),
    ],
)
def test_lenient_takes_the_last_answer_wherever_it_stands(completion: str, lenient: int) -> None:
    assert grade(completion, [1, 2], 3).lenient == lenient


def test_a_thought_that_the_model_opens() -> None:
    style = Style(thought="generated", answer="tags")
    opened = grade("<think>x</think> <answer>1+2</answer>", [1, 2], 3, style)
    assert (opened.correct, opened.format) == (1, 1)
    not_opened = grade(answered("1+2"), [1, 2], 3, style)
    assert (not_opened.correct, not_opened.format) == (1, 0)


# Expression trees: a number, or (operator, left, right).
Tree = int | tuple[str, Any, Any]
trees = st.recursive(
    st.integers(0, 99),
    lambda children: st.tuples(st.sampled_from("+-*/"), children, children),
    max_leaves=8,
)


def value_of(tree: Tree) -> Fraction:
    if isinstance(tree, int):
        return Fraction(tree)
    operator, left, right = tree
    a, b = value_of(left), value_of(right)
    return {"+": a + b, "-": a - b, "*": a * b}[operator] if operator != "/" else a / b


def tokens_of(tree: Tree) -> list[str]:
    if isinstance(tree, int):
        return [str(tree)]
    operator, left, right = tree
    return ["(", *tokens_of(left), operator, *tokens_of(right), ")"]


def numbers_of(tree: Tree) -> list[int]:
    return [tree] if isinstance(tree, int) else numbers_of(tree[1]) + numbers_of(tree[2])


@settings(deadline=1000)
@given(tree=trees, miss=st.integers(-3, 3), shuffled=st.randoms())
def test_agrees_with_exact_arithmetic(tree: Tree, miss: int, shuffled: Any) -> None:
    nums = numbers_of(tree)
    shuffled.shuffle(nums)
    completion = answered("".join(tokens_of(tree)))
    try:
        value = value_of(tree)
    except ZeroDivisionError:
        assert grade(completion, nums, 0).reason == "division by zero"
        return
    target = int(value) + miss
    assert grade(completion, nums, target).correct == (value == target)
    assert not grade(completion, [*nums, 5], target).correct
    assert not grade(completion, nums[1:], target).correct


@settings(deadline=1000)
@given(st.data())
def test_spaces_between_tokens_change_nothing(data: st.DataObject) -> None:
    tree = data.draw(trees)
    tokens = tokens_of(tree)
    space = st.sampled_from(["", " ", "\n", "\t", "  "])
    spaced = "".join(token + data.draw(space) for token in tokens)
    nums, target = numbers_of(tree), data.draw(st.integers(-5, 200))
    tight, loose = (grade(answered(text), nums, target) for text in ("".join(tokens), spaced))
    assert (tight.correct, tight.format, tight.reason) == (
        loose.correct,
        loose.format,
        loose.reason,
    )


@settings(deadline=1000)
@given(
    tree=trees,
    where=st.integers(0, 60),
    char=st.characters(exclude_characters="0123456789+-*/() \t\n"),
)
def test_any_foreign_character_spoils_an_answer(tree: Tree, where: int, char: str) -> None:
    text = "".join(tokens_of(tree))
    spoilt = text[:where] + char + text[where:]
    assert not grade(answered(spoilt), numbers_of(tree), 1).correct


@settings(deadline=1000)
@given(
    st.lists(
        st.one_of(
            st.sampled_from(["<think>", "</think>", "\n", "<answer>", "</answer>", "1", "2", "+"]),
            st.text(st.characters(), max_size=8),
            st.text("0123456789+-*/(). ", max_size=40),
        )
    ).map("".join)
)
def test_no_text_raises(completion: str) -> None:
    for text in (completion, answered(completion)):
        verdict = grade(text, [1, 2], 3)
        assert verdict.correct in (0, 1)
        assert verdict.format in (0, 1)
        assert verdict.reason.isascii()
        assert (verdict.reason == "ok") == (verdict.correct == 1)
