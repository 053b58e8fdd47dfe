"""Which targets a set of numbers can reach, vectorised over rows."""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]
Ratio = tuple[int, int]

# The search for fractions takes a second for five numbers, and minutes for six.
MOST_NUMBERS = 5
_ROWS_AT_ONCE = 4096


def solvable(numbers: Integers, targets: Integers, *, only_sums: bool = False) -> Booleans:
    """Whether the target of each row can be reached with all its numbers.

    Intermediate results are non-negative integers, and divisions leave no remainder. The rows of
    Countdown-Tasks-3to4 seem to be chosen so: all of 10,240 published rows are solvable in this
    sense, and numbers drawn for uniform targets until they are have the published distribution.

    Args:
        numbers: `[n_rows, k]`, positive.
        targets: `[n_rows]`.
        only_sums: Allow only `+` and `-`, with intermediate results of any sign.

    Returns:
        `[n_rows]` booleans.

    """
    k = numbers.shape[1]
    reached: dict[int, list[Integers]] = {1 << i: [numbers[:, i]] for i in range(k)}
    for subset in sorted(range(1, 1 << k), key=int.bit_count):
        if subset in reached:
            continue
        values: list[Integers] = []
        part = (subset - 1) & subset
        while part:
            rest = subset ^ part
            if part > rest:  # each split once
                for left in reached[part]:
                    for right in reached[rest]:
                        values += _signed(left, right) if only_sums else _natural(left, right)
            part = (part - 1) & subset
        reached[subset] = values
    found = np.zeros(len(targets), dtype=bool)
    for value in reached[(1 << k) - 1]:
        # A sum of signed parts and its negative use the same operations.
        found |= (np.abs(value) if only_sums else value) == targets
    return found


def unsolvable(numbers: Sequence[Sequence[int]], targets: Sequence[int]) -> Iterator[int]:
    """Indices of the rows whose target no expression reaches, with fractions on the way or not.

    Args:
        numbers: Positive integers of each row; a row of more than `MOST_NUMBERS` is never found.
        targets: Target of each row.

    """
    of_length: defaultdict[int, list[int]] = defaultdict(list)
    for index, row in enumerate(numbers):
        of_length[len(row)].append(index)
    for length, indices in of_length.items():
        if not 0 < length <= MOST_NUMBERS:
            continue
        for start in range(0, len(indices), _ROWS_AT_ONCE):
            part = indices[start : start + _ROWS_AT_ONCE]
            found = solvable(
                np.array([numbers[i] for i in part]), np.array([targets[i] for i in part])
            )
            # Few are left for the slower search.
            for index in (i for i, easy in zip(part, found, strict=True) if not easy):
                if not _reaches(numbers[index], targets[index]):
                    yield index


def _reaches(numbers: Sequence[int], target: int) -> bool:
    """Whether an expression with all numbers has the value, by values of all parts of them."""
    values: dict[int, set[Ratio]] = {1 << i: {(n, 1)} for i, n in enumerate(numbers)}
    everything = (1 << len(numbers)) - 1
    for subset in range(1, everything + 1):
        if subset in values:
            continue
        found: set[Ratio] = set()
        part = (subset - 1) & subset
        while part:
            if part > subset ^ part:  # each split once
                for left in values[part]:
                    for right in values[subset ^ part]:
                        found.update(_combined(left, right))
            part = (part - 1) & subset
        values[subset] = found
    return any(above == target * below for above, below in values[everything])


def _combined(left: Ratio, right: Ratio) -> Iterator[Ratio]:
    """All that two values give, as fractions in lowest terms."""
    (a, b), (c, d) = left, right
    for above, below in (
        (a * d + c * b, b * d),
        (a * d - c * b, b * d),
        (c * b - a * d, b * d),
        (a * c, b * d),
        (a * d, b * c),
        (c * b, d * a),
    ):
        if below:
            divisor = math.gcd(above, below) * (1 if below > 0 else -1)
            yield above // divisor, below // divisor


def _signed(left: Integers, right: Integers) -> list[Integers]:
    return [left + right, left - right]


def _natural(left: Integers, right: Integers) -> list[Integers]:
    """Combine two parts by each operation; -1 marks an impossible result and is propagated."""
    possible = (left >= 0) & (right >= 0)
    high, low = np.maximum(left, right), np.minimum(left, right)
    divisor = np.maximum(low, 1)
    quotient = np.where(low == 0, 0, high // divisor)  # the only quotient with a 0 is 0 / high
    divisible = (high > 0) & (high % divisor == 0)
    return [
        np.where(possible, left + right, -1),
        np.where(possible, np.abs(left - right), -1),
        np.where(possible, left * right, -1),
        np.where(possible & divisible, quotient, -1),
    ]
