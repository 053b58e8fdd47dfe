"""Countdown by brute force: slow, and too simple to be wrong."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import permutations, product


def reachable(numbers: Sequence[int]) -> dict[int, str]:
    """Values that can be made of all numbers with integers from 0 on the way, and how."""
    return dict(_combined([(number, str(number)) for number in numbers]))


def _combined(pool: list[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    if len(pool) == 1:
        yield pool[0]
    for i, j in permutations(range(len(pool)), 2):
        rest = [pool[k] for k in range(len(pool)) if k not in (i, j)]
        (a, left), (b, right) = pool[i], pool[j]
        yield from _combined([*rest, (a + b, f"({left}+{right})")])
        yield from _combined([*rest, (a * b, f"({left}*{right})")])
        if a >= b:
            yield from _combined([*rest, (a - b, f"({left}-{right})")])
        if b and a % b == 0:
            yield from _combined([*rest, (a // b, f"({left}/{right})")])


def signed_sums(numbers: Sequence[int]) -> set[int]:
    """Values from 0 of all numbers with a sign before each."""
    signs = product((1, -1), repeat=len(numbers))
    return {abs(sum(s * n for s, n in zip(choice, numbers, strict=True))) for choice in signs}


def with_fractions(numbers: Sequence[Fraction]) -> set[Fraction]:
    """Values that can be made of all numbers with any fractions on the way."""
    if len(numbers) == 1:
        return set(numbers)
    found = set()
    for i, j in permutations(range(len(numbers)), 2):
        rest = [numbers[k] for k in range(len(numbers)) if k not in (i, j)]
        a, b = numbers[i], numbers[j]
        for value in (a + b, a - b, a * b, *([a / b] if b else [])):
            found |= with_fractions([*rest, value])
    return found
