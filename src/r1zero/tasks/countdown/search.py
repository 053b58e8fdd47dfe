"""What completions calculate, and how far a random search with as many operations gets."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from r1zero.tasks.base import Rows, Search
from r1zero.tasks.countdown.arithmetic import ArithmeticProblem, evaluate

Floats = NDArray[np.float64]

# An equation: an expression with an operation, and an integer. The lengths bound the work.
_EQUATION = re.compile(
    r"([0-9(][0-9()+\-*/ ]{1,127}[0-9)])[ ]{0,4}=[ ]{0,4}(-?[0-9]{1,9})(?![0-9.])"
)
# Each further number multiplies the random attempts to enumerate by about 50.
_MOST_NUMBERS = 4
_CLOSE = 1e-9


def search(completions: Sequence[str], rows: Rows) -> list[Search]:
    """Count the equations of completions, and give a random search as many operations.

    An attempt of the random search takes two of the numbers that are left, in random order, puts
    one of the four operations between them, and goes on until one value is left. It remembers
    nothing. All choices are equally likely, so its chance is exact: with a share p of right
    attempts, a attempts contain a right one with probability 1 - (1 - p)^a.
    """
    shares = _shares([row["nums"] for row in rows], [row["target"] for row in rows])
    return [
        _counted(completion, len(row["nums"]), share)
        for completion, row, share in zip(completions, rows, shares, strict=True)
    ]


def _counted(completion: str, numbers: int, share: float | None) -> Search:
    steps = wrong = operations = 0
    for written in _EQUATION.finditer(completion):
        try:
            value, literals = evaluate(written[1])
        except ArithmeticProblem:
            continue
        if len(literals) > 1:
            steps += 1
            wrong += value != int(written[2])
            operations += len(literals) - 1
    attempts = max(1, operations // max(1, numbers - 1))
    return Search(
        steps, wrong, attempts, None if share is None else round(1 - (1 - share) ** attempts, 6)
    )


def _shares(numbers: Sequence[Sequence[int]], targets: Sequence[int]) -> list[float | None]:
    """Share of right ones among all random attempts, of each row; None for too many numbers."""
    found: list[float | None] = [None] * len(numbers)
    of_length: defaultdict[int, list[int]] = defaultdict(list)
    for index, row in enumerate(numbers):
        of_length[len(row)].append(index)
    for length, indices in of_length.items():
        if length > _MOST_NUMBERS:
            continue
        wanted = np.array([targets[index] for index in indices], dtype=np.float64)
        columns = [np.array([numbers[i][k] for i in indices], float) for k in range(length)]
        hits, count = np.zeros(len(indices)), 0
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            for value in _attempts(columns):
                hits += np.abs(value - wanted) < _CLOSE
                count += 1
        for index, share in zip(indices, hits / count, strict=True):
            found[index] = float(share)
    return found


def _attempts(pool: list[Floats]) -> Iterator[Floats]:
    """Values of all attempts, each as likely as any other; one array over the rows for each."""
    if len(pool) == 1:
        yield pool[0]
        return
    for i, left in enumerate(pool):
        for j, right in enumerate(pool):
            if i == j:
                continue
            rest = [value for k, value in enumerate(pool) if k not in (i, j)]
            for value in (left + right, left - right, left * right, left / right):
                yield from _attempts([*rest, value])
