"""Searches say nothing that is false, whatever the numbers."""

import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graders import grade_countdown as grade
from r1zero.tasks.countdown.traces import HIT, LARGEST_RESULT, MISS, random_attempt, search

STEP = re.compile(r"(\d+)([-+*/])(\d+)=(\d+)")
NUMBERS = st.lists(st.integers(1, 99), min_size=2, max_size=4)


def search_of(nums: list[int], target: int, seed: int, **options: float) -> tuple[str, str]:
    chosen = {"p_continue": 0.7, "max_attempts": 6, **options}
    return search(nums, target, random.Random(seed), **chosen)  # type: ignore[arg-type]


def attempts_of(nums: list[int], target: int, seed: int, **options: float) -> list[str]:
    return search_of(nums, target, seed, **options)[0].split(";")


@settings(max_examples=300, deadline=None)
@given(NUMBERS, st.integers(10, 100), st.integers())
def test_a_search_is_right_if_it_says_so(nums: list[int], target: int, seed: int) -> None:
    thought, answer = search_of(nums, target, seed)
    verdict = grade(f"{thought}</think>\n<answer>{answer}</answer>", nums, target)
    *misses, last = thought.split(";")
    assert last.endswith((HIT, MISS))
    assert verdict.correct == last.endswith(HIT), verdict.reason
    assert all(attempt.endswith(MISS) for attempt in misses)


@settings(max_examples=300, deadline=None)
@given(NUMBERS, st.integers(10, 100), st.integers())
def test_every_step_of_a_search_is_true_and_uses_what_is_there(
    nums: list[int], target: int, seed: int
) -> None:
    for attempt in attempts_of(nums, target, seed):
        steps = attempt.removesuffix(HIT).removesuffix(MISS).split(",")
        there = sorted(nums)
        for step in steps:
            match = STEP.fullmatch(step)
            assert match, step
            left, operation, right, value = match.groups()
            there.remove(int(left))
            there.remove(int(right))
            there.append(int(value))
            assert exact(int(left), operation, int(right)) == int(value)
            assert 0 < int(value) <= LARGEST_RESULT
        assert len(there) == 1
        assert (there[0] == target) == attempt.endswith(HIT)


def exact(left: int, operation: str, right: int) -> int | None:
    if operation == "/":
        return left // right if left % right == 0 else None
    return {"+": left + right, "-": left - right, "*": left * right}[operation]


@settings(max_examples=100, deadline=None)
@given(NUMBERS, st.integers())
def test_an_attempt_says_its_own_value(nums: list[int], seed: int) -> None:
    steps, expression, value = random_attempt(nums, random.Random(seed))
    assert steps.endswith(f"={value}")
    assert grade(f"x</think>\n<answer>{expression}</answer>", nums, value).correct


def test_every_solution_of_a_small_problem_turns_up() -> None:
    rng = random.Random(0)
    values = {random_attempt([2, 3], rng)[2] for _ in range(300)}
    assert values == {5, 1, 6}


@pytest.mark.parametrize("most", [1, 2, 5])
def test_a_patient_search_stops_at_the_limit(most: int) -> None:
    # 97 cannot be made of these.
    counts = {
        len(attempts_of([1, 2, 3], 97, seed, p_continue=1.0, max_attempts=most))
        for seed in range(20)
    }
    assert counts == {most}


def test_persistence_is_the_chance_to_go_on_after_a_miss() -> None:
    counts = [
        len(attempts_of([50, 60, 70], 97, seed, p_continue=0.5, max_attempts=1000))
        for seed in range(1000)
    ]
    # A geometric distribution with mean 2 and variance 2: four standard errors are 0.18.
    assert sum(counts) / len(counts) == pytest.approx(2, abs=0.18)


def test_a_generator_state_gives_the_same_search() -> None:
    assert search_of([44, 19, 35], 98, 1) == search_of([44, 19, 35], 98, 1)
    assert len({search_of([44, 19, 35], 98, seed) for seed in range(20)}) > 10
