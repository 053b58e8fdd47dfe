r"""Draw arithmetic problems with the columns of MATH, `problem, level, type, solution`.

An expression has two or three operations, sometimes a pair of parentheses, and sometimes a
denominator. It is represented as the tuple of its numbers, operations and parentheses, and so is
every step of a calculation, right or wrong. The order of operations matters: another order may
give another value.
"""

import operator
import random
from collections.abc import Callable, Collection
from math import gcd
from typing import Any, Literal, NamedTuple

from r1zero.tasks.generators import Generated, distinct

_PLUS, _MINUS, _TIMES = " + ", " - ", r" \times "
_OPERATIONS: dict[int | str, Callable[[int, int], int]] = {
    _PLUS: operator.add,
    _MINUS: operator.sub,
    _TIMES: operator.mul,
}
_OPEN, _CLOSE = "(", ")"
_LARGEST_NUMBER = 10
LARGEST_RESULT = 99
_DENOMINATORS = (2, 5)
_PARENTHESES_SHARE, _DENOMINATOR_SHARE = 0.4, 0.25

Items = tuple[int | str, ...]
"""Numbers, operations and parentheses, from left to right."""


class Row(NamedTuple):
    """A problem as a row of MATH."""

    problem: str
    level: str
    type: str
    solution: str

    @property
    def key(self) -> str:
        """Identity of the problem."""
        return self.problem


class Problem(NamedTuple):
    """A problem, and its expression: `items`, over `denominator` unless that is 1."""

    row: Row
    items: Items
    denominator: int

    @property
    def key(self) -> str:
        """Identity of the problem."""
        return self.row.key


class Expressions(Generated):
    """Arithmetic expressions that a mini base can learn."""

    task: Literal["math"]
    """Task of the rows."""

    def draw(self, count: int, *, seed: int, exclude: Collection[Any] = ()) -> list[Row]:
        """Draw distinct rows."""
        return [problem.row for problem in generate(count, seed=seed, exclude=exclude)]


def generate(count: int, *, seed: int, exclude: Collection[str] = ()) -> list[Problem]:
    """Draw distinct problems, none of them among the problems `exclude`."""
    return distinct(_draw, count, seed=seed, exclude=exclude)


def possible(items: Items) -> list[int]:
    """Indices of the operations that may come next if the order of operations is ignored.

    They stand between two numbers, and from each the expression can be reduced to one number with
    every result in 0..`LARGEST_RESULT`.
    """
    return [place for place in _in_bounds(items) if values(reduce(items, place))]


def values(items: Items) -> set[Items]:
    """All values of an expression if the order of operations is ignored."""
    if len(items) == 1:
        return {items}
    return set().union(*(values(reduce(items, place)) for place in _in_bounds(items)))


def _in_bounds(items: Items) -> list[int]:
    return [
        place
        for place in range(1, len(items) - 1)
        if items[place] in _OPERATIONS
        and isinstance(items[place - 1], int)
        and isinstance(items[place + 1], int)
        and 0 <= _value(items, place) <= LARGEST_RESULT
    ]


def next_place(items: Items) -> int:
    """Index of the operation to do next: parentheses, then products, then from left to right."""
    first, end = 0, len(items)
    if _OPEN in items:
        first, end = items.index(_OPEN), items.index(_CLOSE)
    products = [place for place in range(first, end) if items[place] == _TIMES]
    sums = [place for place in range(first, end) if items[place] in (_PLUS, _MINUS)]
    return (products or sums)[0]


def reduce(items: Items, place: int) -> Items:
    """Replace one operation by its value; parentheses around a single number are dropped."""
    first, end = place - 1, place + 2
    if first > 0 and items[first - 1] == _OPEN and items[end] == _CLOSE:
        first, end = first - 1, end + 1
    return (*items[:first], _value(items, place), *items[end:])


def write(items: Items, denominator: int) -> str:
    """Write an expression in LaTeX."""
    text = "".join(map(str, items))
    return text if denominator == 1 else rf"\frac{{{text}}}{{{denominator}}}"


def lowest(items: Items, denominator: int) -> tuple[Items, int]:
    """A number over a denominator, in lowest terms."""
    (number,) = items
    common = gcd(int(number), denominator)
    return (int(number) // common,), denominator // common


def literals() -> list[str]:
    """Constant pieces of problems and solutions."""
    return [_PLUS, _MINUS, _TIMES, r"\frac{", "}{", "Compute $", "$.", " = "]


def _value(items: Items, place: int) -> int:
    left, right = int(items[place - 1]), int(items[place + 1])
    return _OPERATIONS[items[place]](left, right)


def _draw(rng: random.Random) -> Problem:
    while True:
        operations = rng.choice((2, 3))
        items = _expression(operations, rng)
        denominator = rng.randint(*_DENOMINATORS) if rng.random() < _DENOMINATOR_SHARE else 1
        states = _calculation(items, denominator)
        if states is None or len(values(items)) == 1:
            continue
        problem, *steps, answer = states
        row = Row(
            problem=f"Compute ${problem}$.",
            level=f"Level {operations + (denominator > 1)}",
            type="Prealgebra",
            solution=f"${' = '.join([problem, *steps])} = \\boxed{{{answer}}}$.",
        )
        return Problem(row, items, denominator)


def _expression(operations: int, rng: random.Random) -> Items:
    items: list[int | str] = [rng.randint(1, _LARGEST_NUMBER)]
    for _ in range(operations):
        items += [rng.choice((_PLUS, _MINUS, _TIMES)), rng.randint(1, _LARGEST_NUMBER)]
    if rng.random() < _PARENTHESES_SHARE:
        first = 2 * rng.randrange(operations)
        items[first : first + 3] = [_OPEN, *items[first : first + 3], _CLOSE]
    return tuple(items)


def _calculation(items: Items, denominator: int) -> list[str] | None:
    """All steps from an expression to its value; None if a result is out of bounds."""
    states = [write(items, denominator)]
    while len(items) > 1:
        place = next_place(items)
        if place not in _in_bounds(items):
            return None
        items = reduce(items, place)
        states.append(write(items, denominator))
    if lowest(items, denominator) != (items, denominator):
        states.append(write(*lowest(items, denominator)))
    return states
