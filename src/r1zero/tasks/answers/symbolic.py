r"""The judge of what `comparison` leaves open: sympy, by math-verify's rules.

This module is imported where it may hang or crash: in processes that can be killed. What
math-verify finds equal within 15 digits must also be equal where both are exact: the difference is
evaluated to as many digits as it takes to tell it from zero.
"""

import logging
from functools import lru_cache
from typing import Any

import sympy
from math_verify import verify
from sympy.core.evalf import PrecisionExhausted

from r1zero.tasks.answers.nodes import (
    Braces,
    Brackets,
    Call,
    Constant,
    InBase,
    Measured,
    Node,
    Number,
    Power,
    Product,
    SetOperation,
    Sum,
    Symbol,
)

# It warns in every process that its time limits are off.
logging.getLogger("math_verify").setLevel(logging.ERROR)

_CONSTANTS = {"pi": sympy.pi, "e": sympy.E, "i": sympy.I, "infinity": sympy.oo}
_FUNCTIONS: dict[str, Any] = {
    **{name: getattr(sympy, name) for name in "sin cos tan cot sec csc sinh cosh tanh".split()},
    **{f"arc{name}": getattr(sympy, f"a{name}") for name in "sin cos tan cot sec csc".split()},
    **{name: getattr(sympy, name) for name in "log factorial binomial floor ceiling gcd".split()},
    **{name: getattr(sympy, name) for name in "lcm sign arg".split()},
    "abs": sympy.Abs,
    "max": sympy.Max,
    "min": sympy.Min,
    "Re": sympy.re,
    "Im": sympy.im,
}
_SETS = {"\\mathbb R": sympy.S.Reals, "mathbb R": sympy.S.Reals, "mathbb Z": sympy.S.Integers}
# Their values take too long.
_UNEVALUATED = (sympy.Integral, sympy.Sum, sympy.Product, sympy.Limit, sympy.Derivative)
_MOST_DIGITS = 2000


def judge(gold: Node, answer: Node) -> bool:
    """Whether two expressions, or two sets, are equal."""
    one, other = expression(gold), expression(answer)
    return bool(verify([one], [other], timeout_seconds=None)) and not differ(one, other)


def differ(one: Any, other: Any) -> bool:
    """Whether two results of sympy that were found equal differ by what 15 digits don't show."""
    if isinstance(one, sympy.MatrixBase) and isinstance(other, sympy.MatrixBase):
        return any(map(differ, one.flat(), other.flat()))
    if isinstance(one, sympy.Tuple) and isinstance(other, sympy.Tuple):
        return any(map(differ, one.args, other.args))
    if not (isinstance(one, sympy.Expr) and isinstance(other, sympy.Expr)):
        return False
    if one == other or one.has(sympy.Float) or other.has(sympy.Float):
        return False
    difference = (one - other).doit()
    if difference.is_zero or difference.has(*_UNEVALUATED):
        return False
    # Where symbols are left, they take values that no identity depends on.
    values = {
        symbol: sympy.Rational(97 + 10 * index, 89)
        for index, symbol in enumerate(sorted(difference.free_symbols, key=str))
    }
    try:
        value = difference.subs(values).evalf(5, maxn=_MOST_DIGITS, strict=True)
    except PrecisionExhausted:
        return False
    return bool(value.is_number and value != 0)


@lru_cache(maxsize=256)  # the completions of a group share their gold answer
def expression(node: Node) -> Any:
    """What a tree is for sympy."""
    match node:
        case Number(value):
            return sympy.Rational(value.numerator, value.denominator)
        case InBase(digits, base):
            whole, _, decimals = digits.partition(".")
            return sympy.Rational(int(whole + decimals, base), base ** len(decimals))
        case Symbol(name):
            return _SETS.get(name) or sympy.Symbol(name, real=True)
        case Constant(name):
            return _CONSTANTS[name]
        case Sum(terms):
            return sympy.Add(*map(expression, terms))
        case Product(factors):
            return sympy.Mul(*map(expression, factors))
        case Power(base, Number(value)) if value.denominator % 2 and value.denominator > 1:
            of = expression(base)
            # As one writes it: the odd root of a negative number is negative.
            if of.is_negative:
                root = sympy.root(-of, value.denominator) ** value.numerator
                return -root if value.numerator % 2 else root
            return of ** sympy.Rational(value.numerator, value.denominator)
        case Power(base, exponent):
            return sympy.Pow(expression(base), expression(exponent))
        case Measured("percent", value):
            return expression(value) / 100
        case Measured("degree", value):
            return expression(value) * sympy.pi / 180
        case Call(name, arguments):
            function = _FUNCTIONS.get(name) or sympy.Function(name)
            return function(*map(expression, arguments))
        case Braces(items):
            return sympy.FiniteSet(*map(expression, items))
        case Brackets(opening, (start, end), closing):
            return sympy.Interval(
                expression(start), expression(end), opening == "(", closing == ")"
            )
        case SetOperation(name, parts):
            sets = list(map(expression, parts))
            if name == "cup":
                return sympy.Union(*sets)
            return sympy.Intersection(*sets) if name == "cap" else sympy.Complement(*sets)
    raise ValueError(f"nothing for sympy: {type(node).__name__}")
