"""Which targets a set of numbers can reach, vectorised over rows."""

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]


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
