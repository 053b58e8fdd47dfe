"""MATH and similar sets: mathematical problems whose answer is a number or formula in LaTeX."""

from r1zero.tasks.base import Task
from r1zero.tasks.math.generator import Expressions
from r1zero.tasks.math.grader import gold_problems, grade, vote
from r1zero.tasks.math.rows import normalise
from r1zero.tasks.math.traces import ExpressionTraces
from r1zero.tasks.prompts import Style

TASK = Task(
    name="math",
    fields={"question": "question"},
    columns={"answer": str},
    style=Style(thought="free", answer="boxed"),
    normalise=normalise,
    grade=grade,
    vote=vote,
    gold_problems=gold_problems,
    generated=Expressions,
    traces=ExpressionTraces,
)
