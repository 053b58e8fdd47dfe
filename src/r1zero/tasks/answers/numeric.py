r"""Intervals that hold the values of expressions, by mpmath's interval arithmetic.

Expressions whose intervals don't meet are different, for certain; of others nothing is said.
Symbols have fixed positive values. Only real values have intervals here.
"""

import math
import zlib
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from mpmath import iv

from r1zero.tasks.answers.nodes import (
    Call,
    Constant,
    InBase,
    Measured,
    Node,
    Number,
    Power,
    Product,
    Rational,
    Sum,
    Symbol,
)

# What mpmath needs for a value grows with the size of its exponent, in bits.
_LARGEST_EXPONENT = 100_000
_LARGEST_ANGLE = 10**6
_LARGEST_FACTORIAL = 1000


class Unknown(ArithmeticError):
    """There is no real value, or none in bounded time."""


def apart(left: Node, right: Node) -> bool:
    """Whether two expressions differ, for certain."""
    try:
        one, other = interval(left), interval(right)
        return (one < other) is True or (one > other) is True  # None where they meet
    except (ArithmeticError, ValueError, RecursionError):
        return False


@lru_cache(maxsize=512)
def interval(node: Node) -> Any:
    """An `iv.mpf` that holds the value of an expression.

    Raises:
        ArithmeticError: There is no value, or it is not known to be one.
        ValueError: The same.

    """
    match node:
        case Number(value):
            return _of(value)
        case InBase(digits, base):
            whole, _, decimals = digits.partition(".")
            return iv.mpf(int(whole + decimals, base)) / base ** len(decimals)
        case Symbol(name):
            # Between 1/2 and 3/2, and no simple number.
            return iv.mpf(0.5 + zlib.crc32(name.encode()) / 2**32)
        case Constant("pi"):
            return +iv.pi
        case Constant("e"):
            return +iv.e
        case Sum(terms):
            return sum((interval(term) for term in terms[1:]), interval(terms[0]))
        case Product(factors):
            return math.prod(
                (interval(factor) for factor in factors[1:]), start=interval(factors[0])
            )
        case Power(base, exponent):
            return _power(base, exponent)
        case Measured(unit, value):
            return interval(value) * (iv.mpf(1) / 100 if unit == "percent" else iv.pi / 180)
        case Call(name, arguments) if name in _FUNCTIONS:
            return _FUNCTIONS[name](*map(interval, arguments))
    raise Unknown


def _of(value: Rational) -> Any:
    return iv.mpf(value.numerator) / value.denominator


def _power(base: Node, exponent: Node) -> Any:
    of, to = interval(base), interval(exponent)
    if isinstance(exponent, Number) and isinstance(exponent.value, int):
        size = abs(of)
        _check(size > 0 or exponent.value > 0)
        bits = iv.log(size, 2) if (size > 0) is True else iv.mpf(0)
        _check(abs(bits) * abs(exponent.value) < _LARGEST_EXPONENT)
        return of**exponent.value if exponent.value >= 0 else 1 / of**-exponent.value
    if (of < 0) is True and isinstance(exponent, Number) and exponent.value.denominator % 2:
        # The real root, as one writes it.
        return _exp(to * iv.log(-of)) * (-1 if exponent.value.numerator % 2 else 1)
    return _exp(to * _log(of))


def _exp(of: Any) -> Any:
    _check(abs(of) < _LARGEST_EXPONENT)
    return iv.exp(of)


def _log(of: Any, base: Any = None) -> Any:
    _check(of > 0)
    return iv.log(of) if base is None else iv.log(of) / _log(base)


def _circular(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def checked(angle: Any) -> Any:
        _check(abs(angle) < _LARGEST_ANGLE)
        return function(angle)

    return checked


def _factorial(of: Any) -> Any:
    _check(of >= 0)
    _check(of < _LARGEST_FACTORIAL)
    return iv.factorial(of)


def _check(certain: bool | None) -> None:
    if certain is not True:
        raise Unknown


_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    **{name: _circular(getattr(iv, name)) for name in ("sin", "cos", "tan", "cot", "sec", "csc")},
    "abs": abs,
    "log": _log,
    "factorial": _factorial,
}
