"""Expressions: their solutions hold, and the order of operations matters."""

import random
import re
from fractions import Fraction

import pytest

from r1zero.core.errors import UserError
from r1zero.tasks.generators import distinct
from r1zero.tasks.math.generator import (
    LARGEST_RESULT,
    Items,
    Problem,
    generate,
    literals,
    lowest,
    next_place,
    possible,
    reduce,
    values,
    write,
)
from r1zero.tasks.math.rows import boxed

PROBLEMS = generate(2000, seed=3)


def exact(latex: str) -> Fraction:
    """Value of an expression, by Python's own reading of it."""
    text = re.sub(r"\\frac\{(.*)\}\{(\d+)\}", r"(\1)/Fraction(\2)", latex)
    return Fraction(eval(text.replace(r"\times", "*"), {"Fraction": Fraction}))


def test_every_form_in_a_solution_has_the_value_of_the_problem() -> None:
    for problem in PROBLEMS:
        question = problem.row.problem.removeprefix("Compute $").removesuffix("$.")
        answer = boxed(problem.row.solution)
        assert answer is not None
        forms = problem.row.solution.strip("$.").replace(rf"\boxed{{{answer}}}", answer)
        assert forms.split(" = ")[0] == question
        assert forms.split(" = ")[-1] == answer
        assert {exact(form) for form in forms.split(" = ")} == {exact(question)}


def test_fractions_are_in_lowest_terms() -> None:
    answers = [boxed(problem.row.solution) or "" for problem in PROBLEMS]
    fractions = [answer for answer in answers if "frac" in answer]
    assert 0.05 < len(fractions) / len(answers) < 0.5
    for answer in fractions:
        value = exact(answer)
        assert answer == rf"\frac{{{value.numerator}}}{{{value.denominator}}}"


def test_another_order_can_give_another_value() -> None:
    assert all(len(values(problem.items)) > 1 for problem in PROBLEMS)


def test_parentheses_come_first_then_products_then_what_is_left() -> None:
    items: Items = (2, " + ", 3, r" \times ", "(", 4, " - ", 1, ")")
    steps = []
    while len(items) > 1:
        items = reduce(items, next_place(items))
        steps.append(write(items, 1))
    assert steps == [r"2 + 3 \times 3", "2 + 9", "11"]
    assert next_place((9, " - ", 2, " + ", 1)) == 1


def test_whatever_is_possible_ends_in_a_number() -> None:
    for problem in PROBLEMS:
        rng, items = random.Random(0), problem.items
        while len(items) > 1:
            items = reduce(items, rng.choice(possible(items)))
        assert items in values(problem.items)
    # 1 + 2 would leave 1 - 3.
    assert possible((1, " - ", 1, " + ", 2)) == [1]


def test_possible_operations_stand_between_numbers_and_stay_in_bounds() -> None:
    assert possible((2, " + ", 3, r" \times ", "(", 4, " - ", 1, ")")) == [1, 6]
    assert possible((1, " - ", 2, " + ", 3)) == []
    assert possible((LARGEST_RESULT, " + ", 1)) == []


def test_lowest_terms() -> None:
    assert lowest((12,), 4) == ((3,), 1)
    assert lowest((10,), 4) == ((5,), 2)
    assert write(*lowest((10,), 4)) == r"\frac{5}{2}"


def test_the_level_is_the_number_of_operations() -> None:
    for problem in PROBLEMS:
        signs = len(re.findall(r"[-+]|\\times|\\frac", problem.row.problem))
        assert problem.row.level == f"Level {signs}"
    assert {problem.row.level for problem in PROBLEMS} == {"Level 2", "Level 3", "Level 4"}


def test_what_is_written_is_made_of_literals_digits_and_parentheses() -> None:
    for problem in PROBLEMS:
        text = problem.row.problem
        for piece in sorted(literals(), key=len, reverse=True):
            text = text.replace(piece, "")
        assert not set(text) - set("0123456789()}")


def test_problems_are_distinct_and_none_is_excluded() -> None:
    held_out = {problem.key for problem in PROBLEMS}
    assert len(held_out) == len(PROBLEMS)
    assert not held_out & {p.key for p in generate(2000, seed=3, exclude=held_out)}
    assert generate(500, seed=3) == PROBLEMS[:500]
    assert generate(500, seed=4) != PROBLEMS[:500]


def test_more_problems_than_there_are_is_an_error() -> None:
    few: list[Problem] = PROBLEMS[:3]
    with pytest.raises(UserError, match="4 distinct rows were asked for, 3 were found"):
        distinct(lambda rng: rng.choice(few), 4, seed=0)
