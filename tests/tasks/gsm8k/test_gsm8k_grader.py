"""The number that a completion gives, and whether it is the gold one."""

import time
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graders import gold_problems
from graders import grade_gsm8k as grade
from r1zero.tasks.gsm8k.grader import MAX_CHARACTERS, announced_number, number
from r1zero.tasks.prompts import Style

HASH = Style(thought="free", answer="hash")
TAGS = Style(thought="prefilled", answer="tags")
BOXED = Style(thought="free", answer="boxed")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("18", 18), ("18.", 18), ("18.00", 18), ("-18", -18), ("\u221218", -18), ("\u201318", -18),
        (".5", Fraction(1, 2)), ("0.1", Fraction(1, 10)), ("1,234", 1234),
        ("1,234,567.50", Fraction("1234567.5")), ("12,34", None), ("1,2,3", None), ("$18", 18),
        ("-$18", -18), ("$-18", -18), ("18 dollars", 18), ("18%", 18), ("3/4", Fraction(3, 4)),
        ("3/0", None), ("10-4", None), ("3 * 6", None), ("x-4", None), ("**18**", 18),
        ("- 4 apples", -4),
        (r"\$1{,}234", 1234), (r"1,\!234", 1234), (r"\frac{3}{4}", Fraction(3, 4)), (r"18\%", 18),
        (r"18\text{ dollars}", 18), ("9" * 401, None), ("\u0663\uff13", None), ("none", None),
        ("", None), ("1 1/2", Fraction(3, 2)), ("25 m^2", 25), ("25 kg CO2", 25), ("70 000", 70000),
        ("not 18", None), ("18 or 19", None), ("18 million", 18 * 10**6), ("18 squared", None),
    ],
)  # fmt: skip
def test_the_number_of_a_text(text: str, found: Fraction | None) -> None:
    assert number(text) == found


@pytest.mark.parametrize(
    ("completion", "found"),
    [
        ("2 + 3 = 5\n#### 5", 5),
        ("#### 5\nQuestion: 7 apples and 8 pears", 5),
        ("#### 5\n#### 6", 6),
        ("A: 5 (of 9)", 5),
        ("Answer: 2 + 3 = 5 apples", 5),
        ("The answer is 5. That took 3 steps.", 5),
        ("**Answer:** 5", 5),
        (r"\boxed{5} of 9", 5),
        ("<answer>5</answer> 9", 5),
        ("Answer:\n\n5", 5),
        ("So 2 + 3 = 5 of 9 apples", 9),
        ("A: nobody knows, 5 or 6", None),
        ("The answer is 5-6", None),
        ("The answer is 2 2/3 cups", Fraction(8, 3)),
        ("5 apples\nA: nobody knows", 5),
        ("none", None),
        ("", None),
    ],
)
def test_the_number_that_is_announced(completion: str, found: Fraction | None) -> None:
    assert announced_number(completion) == found


@pytest.mark.parametrize(
    ("style", "completion", "correct", "lenient", "format_", "reason"),
    [
        (HASH, "#### 5", 1, 1, 1, "ok"),
        (HASH, "#### $5.00 dollars.", 1, 1, 1, "ok"),
        (HASH, "#### 2 + 3 = 5", 1, 1, 1, "ok"),
        (HASH, "#### 6", 0, 0, 1, "the answer is 6, not 5"),
        (HASH, "#### 5.0001", 0, 0, 1, "the answer is 50001/10000, not 5"),
        (HASH, "#### 5 or 6", 0, 0, 1, "not one number"),
        (HASH, "#### five", 0, 0, 1, "no number in the answer"),
        (HASH, "####", 0, 0, 0, "empty answer"),
        (HASH, "So it is 5", 0, 1, 0, "the last line doesn't begin with ####"),
        (HASH, "#### " + "5 " * 200, 0, 0, 1, f"longer than {MAX_CHARACTERS} characters"),
        (TAGS, "x</think>\n<answer>5</answer>", 1, 1, 1, "ok"),
        (TAGS, "x</think><answer>5</answer>", 1, 1, 0, "ok"),
        (TAGS, "x</think>\n#### 5", 0, 1, 0, "no <answer> tag"),
        (BOXED, r"\boxed{5}", 1, 1, 1, "ok"),
    ],
)
def test_verdict(
    style: Style, completion: str, correct: int, lenient: int, format_: int, reason: str
) -> None:
    (verdict,) = grade([completion], ["5"], style)
    assert (verdict.correct, verdict.lenient, verdict.format) == (correct, lenient, format_)
    assert verdict.reason == reason
    assert len(verdict.extracted or "") <= MAX_CHARACTERS


@pytest.mark.parametrize("gold", ["", "none", "1 2"])
def test_gold_answers_that_are_no_number_pay_nothing(gold: str) -> None:
    assert gold_problems("gsm8k", [gold]) != [""]
    (verdict,) = grade([f"#### {gold}"], [gold], HASH)
    assert (verdict.correct, verdict.lenient) == (0, 0)
    assert "gold" in verdict.reason


@settings(deadline=1000)
@given(
    st.integers(-(10**12), 10**12),
    st.sampled_from(["{}", "{:,}", "{}.", "{}.00", "{:,}.0", "{} apples", "**{}**", "x = {}"]),
)
def test_an_integer_is_read_in_every_notation(number: int, notation: str) -> None:
    (verdict,) = grade([f"thought 3\n#### {notation.format(number)}"], [f"{number:,}"], HASH)
    assert (verdict.correct, verdict.lenient, verdict.format) == (1, 1, 1)
    (other,) = grade([f"#### {notation.format(number + 1)}"], [str(number)], HASH)
    assert (other.correct, other.lenient) == (0, 0)


@settings(deadline=1000)
@given(st.text(st.sampled_from("0123456789,./-$%=#A:\\{}boxed \n\ud800"), max_size=60))
def test_no_text_raises_and_lenient_is_never_below_strict(completion: str) -> None:
    for style in (HASH, BOXED, TAGS):
        (verdict,) = grade([completion], ["5"], style)
        assert verdict.lenient >= verdict.correct
        assert (verdict.reason == "ok") == bool(verdict.correct)


@pytest.mark.parametrize(
    "piece",
    [
        "9",
        "9,",
        "1,234",
        "-",
        "1/",
        ".",
        "#### ",
        "\nA:",
        "answer ",
        "\n",
        "=",
        r"\frac{1}{",
        r"\boxed{",
        "{,}",
        "$",
        "1 ",
    ],
)
def test_time_is_linear(piece: str) -> None:
    completion = piece * (1_000_000 // len(piece))
    start = time.process_time()
    grade([completion, "#### " + completion, completion + "\n#### 5"], ["5"] * 3, HASH)
    assert time.process_time() - start < 5
