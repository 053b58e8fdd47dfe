"""Exact value of an untrusted arithmetic expression.

    expression = term {("+" | "-") term}
    term       = factor {("*" | "/") factor}
    factor     = literal | "(" expression ")"

A literal is ASCII digits without a leading zero. Spaces, tabs and newlines separate tokens. Signs,
powers, floor division, decimals and implied multiplication are not part of the grammar.
`/` is exact division, so `1 / 3 * 3` is 1.

The length of the text, the digits of a literal and the depth of parentheses (the parser recurses
once per pair) are limited, which bounds the work and the size of the exact numbers.
"""

import re
from fractions import Fraction
from typing import NamedTuple

MAX_CHARACTERS = 256
MAX_DIGITS = 9
MAX_DEPTH = 32

# A literal or any other single character. The two cannot match the same text, so that nothing is
# backtracked. `\d` would match the digits of every script.
_TOKEN = re.compile(r"[0-9]+|[^ \t\n]")
_DIGITS = frozenset("0123456789")
_END = ""


class ArithmeticProblem(ValueError):
    """The text has no value; the message says why."""


class Evaluated(NamedTuple):
    """Value of an expression, and its literals from left to right."""

    value: Fraction
    literals: list[int]


def evaluate(text: str) -> Evaluated:
    """Evaluate an expression exactly.

    Raises `ArithmeticProblem` if the text is not such an expression, exceeds a cap, or divides by
    zero.
    """
    if len(text) > MAX_CHARACTERS:
        raise ArithmeticProblem(f"longer than {MAX_CHARACTERS} characters")
    parser = _Parser(text)
    numerator, denominator = parser.expression()
    parser.expect_end()
    return Evaluated(Fraction(numerator, denominator), parser.literals)


class _Parser:
    """Recursive descent over the tokens of one expression.

    Values are pairs (numerator, denominator), not reduced: the length cap keeps them below 10^256,
    and plain integers are several times faster than `Fraction`.
    """

    __slots__ = ("depth", "literals", "position", "tokens")

    def __init__(self, text: str) -> None:
        self.tokens: list[str] = _TOKEN.findall(text)
        self.tokens.append(_END)
        self.position = 0
        self.depth = 0
        self.literals: list[int] = []

    def expression(self) -> tuple[int, int]:
        numerator, denominator = self.term()
        while (operator := self.tokens[self.position]) in ("+", "-"):
            self.position += 1
            other, other_denominator = self.term()
            scaled = other * denominator
            numerator *= other_denominator
            numerator += scaled if operator == "+" else -scaled
            denominator *= other_denominator
        return numerator, denominator

    def term(self) -> tuple[int, int]:
        numerator, denominator = self.factor()
        while (operator := self.tokens[self.position]) in ("*", "/"):
            self.position += 1
            other, other_denominator = self.factor()
            if operator == "/":
                if other == 0:
                    raise ArithmeticProblem("division by zero")
                other, other_denominator = other_denominator, other
            numerator *= other
            denominator *= other_denominator
        return numerator, denominator

    def factor(self) -> tuple[int, int]:
        first = self.tokens[self.position]
        if first[:1] in _DIGITS:
            self.position += 1
            return self.literal(first), 1
        if first != "(":
            raise _unexpected(first)
        if self.depth == MAX_DEPTH:
            raise ArithmeticProblem(f"more than {MAX_DEPTH} nested parentheses")
        self.position += 1
        self.depth += 1
        value = self.expression()
        if self.tokens[self.position] != ")":
            raise _unexpected(self.tokens[self.position])
        self.position += 1
        self.depth -= 1
        return value

    def literal(self, digits: str) -> int:
        if len(digits) > MAX_DIGITS:
            raise ArithmeticProblem(f"a number of more than {MAX_DIGITS} digits")
        if digits[0] == "0" and digits != "0":
            raise ArithmeticProblem(f"not an arithmetic expression: leading zero in '{digits}'")
        number = int(digits)
        self.literals.append(number)
        return number

    def expect_end(self) -> None:
        if self.tokens[self.position] != _END:
            raise _unexpected(self.tokens[self.position])


def _unexpected(token: str) -> ArithmeticProblem:
    # As ASCII, look-alikes, control characters and lone surrogates are visible and safe to print.
    # Cut, since the token may be a long run of digits after another literal.
    what = f"unexpected {token[:MAX_DIGITS]!a}" if token != _END else "it ends too early"
    return ArithmeticProblem(f"not an arithmetic expression: {what}")
