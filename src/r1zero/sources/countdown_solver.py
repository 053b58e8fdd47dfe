"""Which targets a set of numbers can reach, for many rows at once."""

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]


def solvable(numbers: Integers, targets: Integers, *, only_sums: bool = False) -> Booleans:
    """Tell for each row whether its target can be made of all its numbers.

    Intermediate results are integers from 0: differences are taken the positive way round, and a
    division counts only if it leaves no remainder. That is how the rows of Countdown-Tasks-3to4
    were chosen: every one of the 10,240 real rows we hold is solvable in this sense, and numbers
    that are drawn for uniform targets until it holds have the published rows' distribution.

    Args:
        numbers: `[n_rows, k]`, positive.
        targets: `[n_rows]`.
        only_sums: Allow `+` and `-` alone, with intermediate results of any sign.

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
        # A sum of signed parts and its negative are the same choice of operations turned round.
        found |= (np.abs(value) if only_sums else value) == targets
    return found


def _signed(left: Integers, right: Integers) -> list[Integers]:
    return [left + right, left - right]


def _natural(left: Integers, right: Integers) -> list[Integers]:
    """Combine two parts by each operation; -1 marks what cannot be made, and stays so."""
    possible = (left >= 0) & (right >= 0)
    high, low = np.maximum(left, right), np.minimum(left, right)
    divisor = np.maximum(low, 1)
    quotient = np.where(low == 0, 0, high // divisor)  # 0 / high, the one quotient with a 0 in it
    divisible = (high > 0) & (high % divisor == 0)
    return [
        np.where(possible, left + right, -1),
        np.where(possible, np.abs(left - right), -1),
        np.where(possible, left * right, -1),
        np.where(possible & divisible, quotient, -1),
    ]
