"""Word problems: true, in the format of GSM8K, and readable by their words alone."""

import re

import pytest

from r1zero.tasks.gsm8k.generator import LARGEST_RESULT, OPERATIONS, apply, generate, words

PROBLEMS = generate(2000, seed=3)


def test_a_solution_is_true_and_ends_in_its_answer() -> None:
    for problem in PROBLEMS:
        steps = re.findall(r"(\d+) ([-+*/]) (\d+) = (\d+)", problem.row.answer)
        value = problem.start
        for step, (left, operation, right, result) in zip(problem.steps, steps, strict=True):
            assert (int(left), operation, int(right)) == (value, *step)
            exact = {
                "+": value + step.number,
                "-": value - step.number,
                "*": value * step.number,
                "/": value / step.number,
            }[operation]
            assert exact == int(result) == apply(value, step)
            value = int(result)
            assert 0 < value <= LARGEST_RESULT
        assert problem.row.answer.endswith(f"\n#### {value}")


def test_a_question_gives_its_numbers_in_their_order() -> None:
    for problem in PROBLEMS:
        numbers = [int(number) for number in re.findall(r"\d+", problem.row.question)]
        assert numbers == [problem.start, *(step.number for step in problem.steps)]


def test_the_words_decide_the_operations() -> None:
    meanings: dict[str, set[tuple[str, ...]]] = {}
    for problem in PROBLEMS:
        # Without names, things and numbers: what is left is the cues.
        cues = re.sub(r"\d+|\b[A-Z][a-z]+\b", "", problem.row.question)
        meanings.setdefault(cues, set()).add(tuple(step.operation for step in problem.steps))
    assert all(len(operations) == 1 for operations in meanings.values())
    assert {o for each in meanings.values() for pair in each for o in pair} == set(OPERATIONS)


def test_every_word_is_listed() -> None:
    known = set(words())
    for problem in PROBLEMS:
        assert set(re.findall(r" ?[A-Za-z]+", problem.row.question)) <= known


def test_problems_are_distinct_and_none_is_excluded() -> None:
    held_out = {problem.key for problem in PROBLEMS}
    assert len(held_out) == len(PROBLEMS)
    others = generate(2000, seed=3, exclude=held_out)
    assert len(others) == 2000
    assert not held_out & {problem.key for problem in others}


@pytest.mark.parametrize("count", [1, 500])
def test_a_seed_gives_the_same_problems_and_another_seed_others(count: int) -> None:
    assert generate(count, seed=3) == PROBLEMS[:count]
    assert generate(count, seed=4) != PROBLEMS[:count]
