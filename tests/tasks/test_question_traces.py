"""Word problems and expressions worked out: without a slip, and right as often as is asked for."""

import random
import re
from fractions import Fraction

import pytest

from r1zero.tasks.gsm8k import generator as word_problems
from r1zero.tasks.gsm8k import traces as gsm8k
from r1zero.tasks.math import generator as expressions
from r1zero.tasks.math import traces as math
from r1zero.tasks.math.rows import boxed

WORDS = word_problems.generate(1500, seed=5)
EXPRESSIONS = expressions.generate(1500, seed=5)


def work_out(p_correct_step: float) -> list[tuple[str, str]]:
    rng = random.Random(0)
    return [gsm8k.work_out(problem, rng, p_correct_step=p_correct_step) for problem in WORDS]


def calculate(p_correct_step: float) -> list[tuple[str, str]]:
    rng = random.Random(0)
    return [math.calculate(problem, rng, p_correct_step=p_correct_step) for problem in EXPRESSIONS]


def right_words(p_correct_step: float) -> float:
    golds = [problem.row.answer.rpartition("#### ")[2] for problem in WORDS]
    answers = [answer for _, answer in work_out(p_correct_step)]
    return sum(map(str.__eq__, golds, answers)) / len(golds)


def right_expressions(p_correct_step: float) -> float:
    golds = [boxed(problem.row.solution) or "" for problem in EXPRESSIONS]
    answers = [answer for _, answer in calculate(p_correct_step)]
    return sum(map(str.__eq__, golds, answers)) / len(golds)


def value(latex: str) -> Fraction:
    text = re.sub(r"\\frac\{(.*)\}\{(\d+)\}", r"(\1)/Fraction(\2)", latex)
    return Fraction(eval(text.replace(r"\times", "*"), {"Fraction": Fraction}))


@pytest.mark.parametrize("p_correct_step", [0.0, 0.5, 1.0])
def test_a_step_of_a_word_problem_is_true_and_goes_on_from_the_last(p_correct_step: float) -> None:
    for problem, (thought, answer) in zip(WORDS, work_out(p_correct_step), strict=True):
        left = problem.start
        for step, meant in zip(thought.split(", "), problem.steps, strict=True):
            match = re.fullmatch(r"(\d+) ([-+*/]) (\d+) = (\d+)", step)
            assert match, step
            assert (int(match[1]), int(match[3])) == (left, meant.number)
            assert eval(f"{match[1]} {match[2]} {match[3]}") == int(match[4])
            left = int(match[4])
        assert answer == str(left)


@pytest.mark.parametrize("p_correct_step", [0.0, 0.5, 1.0])
def test_a_step_of_an_expression_does_one_operation(p_correct_step: float) -> None:
    for problem, (thought, answer) in zip(EXPRESSIONS, calculate(p_correct_step), strict=True):
        before = expressions.write(problem.items, problem.denominator)
        for state in thought.split(" = "):
            # The last step of a fraction takes it to lowest terms, which is no operation.
            numbers = [len(re.findall(r"\d+", text)) for text in (before, state)]
            assert numbers[1] < numbers[0] or value(state) == value(before)
            before = state
        assert before == answer
        assert not re.search(r"[-+(]|times", answer)


@pytest.mark.parametrize(
    ("right", "shares"),
    [(right_words, (0.0, 0.335, 1.0)), (right_expressions, (0.12, 0.57, 1.0))],
    ids=["words", "expressions"],
)
def test_more_correct_steps_give_more_right(right: object, shares: tuple[float, ...]) -> None:
    assert callable(right)
    # 1,500 answers: 0.05 are four standard errors.
    assert [right(chance) for chance in (0.0, 0.55, 1.0)] == pytest.approx(shares, abs=0.05)
