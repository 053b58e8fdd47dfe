"""What completions calculate, against a random search that is really made."""

import random
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1zero.tasks.countdown import TASK
from r1zero.tasks.countdown.search import search


def counted(completion: str, nums: list[int], target: int) -> tuple[int, int, int]:
    (found,) = search([completion], [{"nums": nums, "target": target}])
    return found.steps, found.wrong_steps, found.attempts


@pytest.mark.parametrize(
    ("completion", "expected"),
    [
        ("", (0, 0, 1)),
        ("<answer>1+2+3</answer>", (0, 0, 1)),
        ("1+2=3,3+3=6 yes", (2, 0, 1)),
        ("1+2=4,4+3=7 no;3-2=1,1*1=1 no;2*3 = 6, 6+1 = 7", (6, 1, 3)),
        ("(1 + 2) * 3 = 9", (1, 0, 1)),
        ("1/0=5, 3 = 3, x = 4, 1 + 2 = 3.5", (0, 0, 1)),
    ],
)
def test_equations_are_counted(completion: str, expected: tuple[int, int, int]) -> None:
    assert counted(completion, [1, 2, 3], 6) == expected


@given(st.text(alphabet="0123456789()+-*/= .,\n", max_size=300))
def test_any_text_is_counted(completion: str) -> None:
    steps, wrong, attempts = counted(completion, [5, 7, 9], 12)
    assert 0 <= wrong <= steps
    assert attempts >= 1


@pytest.mark.parametrize(("nums", "target"), [([4, 6], 24), ([3, 8, 8], 19), ([1, 2, 3, 4], 10)])
def test_the_chance_is_that_of_random_attempts(nums: list[int], target: int) -> None:
    rng = random.Random(0)
    made = 6000
    hits = sum(attempt(nums, rng) == target for _ in range(made))
    (found,) = search(["1+1=2," * 2 * (len(nums) - 1)], [{"nums": nums, "target": target}])
    share = hits / made
    assert found.attempts == 2
    assert found.by_chance == pytest.approx(1 - (1 - share) ** 2, abs=0.03)
    assert found.by_chance > 0


def attempt(nums: list[int], rng: random.Random) -> Fraction | None:
    pool = [Fraction(number) for number in nums]
    while len(pool) > 1:
        rng.shuffle(pool)
        left, right = pool.pop(), pool.pop()
        operation = rng.choice("+-*/")
        if operation == "/" and not right:
            return None
        calculate = {"+": left.__add__, "-": left.__sub__, "*": left.__mul__}
        pool.append(left / right if operation == "/" else calculate[operation](right))
    return pool[0]


def test_rows_of_many_numbers_have_no_chance_and_still_counts() -> None:
    assert TASK.search is not None
    few, many = TASK.search(
        ["1+2=3", "1+2=3"], [{"nums": [1, 2], "target": 3}, {"nums": [1] * 6, "target": 6}]
    )
    assert few.by_chance is not None
    assert (many.by_chance, many.steps) == (None, 1)
