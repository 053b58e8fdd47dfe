"""The vectorised solver against enumeration."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from countdown_search import reachable, signed_sums, with_fractions
from r1zero.tasks.countdown.solver import MOST_NUMBERS, solvable, unsolvable

TARGETS = range(0, 121)


def solved(numbers: list[int], *, only_sums: bool = False) -> set[int]:
    """Targets the solver calls solvable."""
    rows = np.tile(np.array(numbers), (len(TARGETS), 1))
    found = solvable(rows, np.array(TARGETS), only_sums=only_sums)
    return set(np.array(TARGETS)[found].tolist())


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 99), min_size=1, max_size=3))
def test_up_to_three_numbers_reach_what_enumeration_reaches(numbers: list[int]) -> None:
    assert solved(numbers) == reachable(numbers).keys() & set(TARGETS)


# Small numbers meet zeros, ones and exact divisions, which large ones hardly ever do.
@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(1, 12), min_size=4, max_size=4))
def test_four_numbers_reach_what_enumeration_reaches(numbers: list[int]) -> None:
    assert solved(numbers) == reachable(numbers).keys() & set(TARGETS)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 99), min_size=1, max_size=5))
def test_sums_alone_are_the_signed_sums(numbers: list[int]) -> None:
    assert solved(numbers, only_sums=True) == signed_sums(numbers) & set(TARGETS)


@pytest.mark.parametrize(
    ("numbers", "target", "expected"),
    [
        ([7], 7, True),
        ([7], 8, False),
        ([3, 3, 8, 8], 24, False),  # 8 / (3 - 8 / 3): a fraction on the way does not count
        ([1, 5, 10], 6, True),
        ([5, 5, 7], 0, True),  # (5 - 5) * 7
        ([5, 5, 7, 3], 3, True),  # (5 - 5) / 7 + 3
        ([5, 5, 7], 7, True),
        ([2, 3], 9, False),
    ],
)
def test_known_rows(numbers: list[int], target: int, expected: bool) -> None:
    assert solvable(np.array([numbers]), np.array([target])).tolist() == [expected]


def test_rows_do_not_mix() -> None:
    numbers = np.array([[1, 2, 3], [50, 50, 50], [2, 3, 4]])
    assert solvable(numbers, np.array([6, 6, 24])).tolist() == [True, False, True]


@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=4))
def test_a_row_is_unsolvable_if_no_fractions_on_the_way_help(numbers: list[int]) -> None:
    reached = with_fractions([Fraction(number) for number in numbers])
    missing = [target for target in TARGETS if target not in reached]
    assert list(unsolvable([numbers] * len(TARGETS), TARGETS)) == missing


def test_rows_that_are_unsolvable_keep_their_places() -> None:
    rows = [[2, 3], [3, 3, 8, 8], [7], [2, 3], [1] * (MOST_NUMBERS + 1)]
    assert sorted(unsolvable(rows, [100, 24, 8, 6, 999])) == [0, 2]
