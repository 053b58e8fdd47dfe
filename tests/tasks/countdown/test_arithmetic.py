from fractions import Fraction

import pytest

from r1zero.tasks.countdown.arithmetic import (
    MAX_CHARACTERS,
    MAX_DEPTH,
    MAX_DIGITS,
    ArithmeticProblem,
    evaluate,
)


@pytest.mark.parametrize(
    ("text", "value", "literals"),
    [
        ("7", 7, [7]),
        ("0", 0, [0]),
        ("1+2*3", 7, [1, 2, 3]),
        ("(1+2)*3", 9, [1, 2, 3]),
        ("10-4-3", 3, [10, 4, 3]),
        ("10-(4-3)", 9, [10, 4, 3]),
        ("24/4/3", 2, [24, 4, 3]),
        ("24/(4/3)", 18, [24, 4, 3]),
        ("2*6/4", 3, [2, 6, 4]),
        ("1/3*3", 1, [1, 3, 3]),
        ("1/3+1/6", Fraction(1, 2), [1, 3, 1, 6]),
        ("3/(1-5/4)", -12, [3, 1, 5, 4]),
        ("((((8))))", 8, [8]),
        (" \t\n( 1\n+\t2 ) ", 3, [1, 2]),
        ("8/(3-8/3)", 24, [8, 3, 8, 3]),
        ("0/5", 0, [0, 5]),
    ],
)
def test_exact_value(text: str, value: Fraction | int, literals: list[int]) -> None:
    assert evaluate(text) == (value, literals)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "it ends too early"),
        ("1+", "it ends too early"),
        ("(1+2", "it ends too early"),
        ("1+2)", "unexpected ')'"),
        ("()", "unexpected ')'"),
        ("1 2", "unexpected '2'"),
        ("2(3)", "unexpected '('"),
        ("(2)(3)", "unexpected '('"),
        ("-1+2", "unexpected '-'"),
        ("2*-1", "unexpected '-'"),
        ("2**3", "unexpected '*'"),
        ("7//2", "unexpected '/'"),
        ("3.5", "unexpected '.'"),
        ("1=1", "unexpected '='"),
        ("1_0", "unexpected '_'"),
        ("07", "leading zero in '07'"),
        ("00", "leading zero in '00'"),
        ("٣", r"unexpected '\u0663'"),
        ("²", r"unexpected '\xb2'"),
        ("1\u00a0+2", r"unexpected '\xa0'"),
        ("1\r+2", r"unexpected '\r'"),
        ("\ud800", r"unexpected '\ud800'"),
        ("1\0", r"unexpected '\x00'"),
        ("1/0", "division by zero"),
        ("1/(2-2)", "division by zero"),
        ("0/0", "division by zero"),
    ],
)
def test_rejected(text: str, problem: str) -> None:
    with pytest.raises(ArithmeticProblem) as raised:
        evaluate(text)
    assert problem in str(raised.value)
    assert str(raised.value).isprintable()


def test_caps_admit_their_limit_and_no_more() -> None:
    evaluate("9" * MAX_DIGITS)
    with pytest.raises(ArithmeticProblem, match=f"more than {MAX_DIGITS} digits"):
        evaluate("9" * (MAX_DIGITS + 1))
    evaluate("(" * MAX_DEPTH + "1" + ")" * MAX_DEPTH)
    with pytest.raises(ArithmeticProblem, match=f"more than {MAX_DEPTH} nested"):
        evaluate("(" * (MAX_DEPTH + 1) + "1" + ")" * (MAX_DEPTH + 1))
    evaluate("1".rjust(MAX_CHARACTERS))
    with pytest.raises(ArithmeticProblem, match=f"longer than {MAX_CHARACTERS}"):
        evaluate("1".rjust(MAX_CHARACTERS + 1))


def test_depth_counts_open_parentheses_only() -> None:
    pairs = "+".join(["(1)"] * (MAX_DEPTH + 5))
    assert evaluate(pairs).value == MAX_DEPTH + 5


def test_the_largest_numbers_stay_small() -> None:
    # As many divisions of the largest literals as fit, added up: the worst case for the size of an
    # unreduced denominator.
    fraction = f"{'9' * (MAX_DIGITS - 1)}7/{'9' * MAX_DIGITS}"
    longest = "+".join([fraction] * (MAX_CHARACTERS // (len(fraction) + 1)))
    value = evaluate(longest).value
    assert value.denominator < 10**MAX_CHARACTERS
    assert abs(value.numerator) < 10**MAX_CHARACTERS
