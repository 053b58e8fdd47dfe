r"""Values of expressions in floating point, with a bound on their errors.

A value is a complex number and a radius within which the exact value lies. So two expressions whose
values lie apart are different, for certain; of values that lie together nothing is said. Symbols
have fixed positive values. The radius is that of running error analysis: each operation adds the
errors that its operands pass on, and a few units in the last place of its own.
"""

import cmath
import math
import zlib
from functools import lru_cache
from typing import NamedTuple

from r1zero.tasks.answers.nodes import (
    Call,
    Constant,
    InBase,
    Measured,
    Node,
    Number,
    Power,
    Product,
    Sum,
    Symbol,
)

_EPSILON = 2.0**-50
# Beyond these the range of floating point is near, and with it errors that have no bound here.
_SMALLEST, _LARGEST = 1e-250, 1e250


class Ball(NamedTuple):
    """A disc in the complex plane."""

    value: complex
    radius: float


class Unknown(ArithmeticError):
    """There is no value, or no bound on its error."""


def apart(left: Node, right: Node) -> bool:
    """Whether two expressions differ, for certain."""
    try:
        a, b = ball(left), ball(right)
    except (ArithmeticError, ValueError, RecursionError):
        return False
    return abs(a.value - b.value) > 4 * (a.radius + b.radius)


@lru_cache(maxsize=512)
def ball(node: Node) -> Ball:
    """The value of an expression; raises `ArithmeticError` or `ValueError` where there is none."""
    match node:
        case Number(value):
            return _rounded(value.numerator / value.denominator)
        case InBase(digits, base):
            whole, _, decimals = digits.partition(".")
            return _rounded(int(whole + decimals, base) / base ** len(decimals))
        case Symbol(name):
            # Between 1/2 and 3/2, and no simple number.
            return Ball(complex(0.5 + zlib.crc32(name.encode()) / 2**32), 0.0)
        case Constant("pi"):
            return _rounded(math.pi)
        case Constant("e"):
            return _rounded(math.e)
        case Constant("i"):
            return Ball(1j, 0.0)
        case Sum(terms):
            balls = [ball(term) for term in terms]
            size = sum(abs(part.value) for part in balls)
            radius = sum(part.radius for part in balls) + len(balls) * _EPSILON * size
            return Ball(sum((part.value for part in balls), 0j), radius)
        case Product(factors):
            result = ball(factors[0])
            for factor in factors[1:]:
                result = _times(result, ball(factor))
            return result
        case Power(base, exponent):
            return _power(ball(base), exponent)
        case Measured(unit, value):
            share = 0.01 if unit == "percent" else math.pi / 180
            return _times(ball(value), _rounded(share))
        case Call(name, arguments):
            return _call(name, [ball(argument) for argument in arguments])
    raise Unknown


def _rounded(value: complex, radius: float = 0.0) -> Ball:
    size = abs(value)
    if value and not _SMALLEST < size < _LARGEST:
        raise Unknown
    return Ball(complex(value), radius + _EPSILON * size)


def _times(a: Ball, b: Ball) -> Ball:
    x, y = abs(a.value), abs(b.value)
    return _rounded(a.value * b.value, x * b.radius + y * a.radius + a.radius * b.radius)


def _inverse(a: Ball) -> Ball:
    size = abs(a.value)
    if size <= 2 * a.radius:
        raise Unknown
    return _rounded(1 / a.value, 2 * a.radius / size**2)


def _power(base: Ball, node: Node) -> Ball:
    exponent = ball(node)
    if isinstance(node, Number) and isinstance(node.value, int):
        if node.value < 0:
            base = _inverse(base)
        return _integer_power(base, abs(node.value))
    real = exponent.value.real
    if base.value.imag or base.value.real <= 2 * base.radius:
        if base.value == 0 and base.radius == 0 and real > 0 and not exponent.value.imag:
            return Ball(0j, 0.0)
        # The real root of a negative number, where the exponent says which.
        if isinstance(node, Number) and node.value.denominator % 2 and not base.value.imag:
            if base.value.real >= -2 * base.radius:
                raise Unknown
            root = _exp(_times(exponent, _log(Ball(-base.value, base.radius))))
            return Ball(-root.value, root.radius) if node.value.numerator % 2 else root
        if not (isinstance(node, Number) and node.value.denominator == 2):
            raise Unknown
        if not base.value.imag and base.value.real >= -2 * base.radius:
            raise Unknown
    return _exp(_times(exponent, _log(base)))


def _integer_power(base: Ball, exponent: int) -> Ball:
    result = Ball(1 + 0j, 0.0)
    if exponent > 10**6:
        raise Unknown
    for bit in bin(exponent)[2:]:
        result = _times(result, result)
        if bit == "1":
            result = _times(result, base)
    return result


def _exp(a: Ball) -> Ball:
    value = cmath.exp(a.value)
    if a.radius > 0.1:
        raise Unknown
    return _rounded(value, abs(value) * (2 * a.radius + _EPSILON * abs(a.value)))


def _log(a: Ball) -> Ball:
    size = abs(a.value)
    if size <= 4 * a.radius or size == 0:
        raise Unknown
    # On the cut along the negative numbers a rounding error would turn the sign.
    if a.value.real < 0 and abs(a.value.imag) <= 2 * a.radius and a.value.imag:
        raise Unknown
    value = cmath.log(complex(a.value.real, a.value.imag or 0.0))
    return Ball(value, 2 * a.radius / size + 4 * _EPSILON * (abs(value) + 1))


def _call(name: str, balls: list[Ball]) -> Ball:
    if name == "log":
        return _times(_log(balls[0]), _inverse(_log(balls[1])))
    if len(balls) != 1 or name not in ("sin", "cos", "tan", "cot", "sec", "csc", "abs"):
        return _other(name, balls)
    (a,) = balls
    if name == "abs":
        return _rounded(abs(a.value), a.radius)
    if a.value.imag or a.radius > 0.1 or abs(a.value) > 1e6:
        raise Unknown
    radius = 2 * a.radius + 4 * _EPSILON
    sine, cosine = Ball(cmath.sin(a.value), radius), Ball(cmath.cos(a.value), radius)
    match name:
        case "sin":
            return sine
        case "cos":
            return cosine
        case "tan":
            return _times(sine, _inverse(cosine))
        case "cot":
            return _times(cosine, _inverse(sine))
        case "sec":
            return _inverse(cosine)
    return _inverse(sine)


def _other(name: str, balls: list[Ball]) -> Ball:
    """Functions of real numbers that are steep nowhere near a value that is taken here."""
    if any(part.value.imag or part.radius > 1e-6 for part in balls):
        raise Unknown
    values = [part.value.real for part in balls]
    radius = sum(part.radius for part in balls)
    match name, values:
        case "arctan", [x]:
            return _rounded(math.atan(x), radius + _EPSILON)
        case "arcsin" | "arccos", [x] if abs(x) < 0.99:
            value = math.asin(x) if name == "arcsin" else math.acos(x)
            return _rounded(value, 10 * radius + 4 * _EPSILON)
        case "factorial", [x] if radius == 0 or x.is_integer():
            if not (x.is_integer() and 0 <= x <= 100 and radius < _EPSILON * 200):
                raise Unknown
            return _rounded(float(math.factorial(int(x))))
        case "binomial", [n, k] if n.is_integer() and k.is_integer() and 0 <= k <= n <= 500:
            return _rounded(float(math.comb(int(n), int(k))))
    raise Unknown
