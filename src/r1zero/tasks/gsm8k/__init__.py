"""GSM8K: word problems of primary school whose answer is one number."""

from r1zero.tasks.base import Task
from r1zero.tasks.gsm8k.generator import WordProblems
from r1zero.tasks.gsm8k.grader import gold_problems, grade, vote
from r1zero.tasks.gsm8k.rows import normalise
from r1zero.tasks.gsm8k.traces import WordProblemTraces
from r1zero.tasks.prompts import Style

TASK = Task(
    name="gsm8k",
    fields={"question": "question"},
    columns={"answer": str},
    style=Style(thought="free", answer="hash"),
    normalise=normalise,
    grade=grade,
    vote=vote,
    gold_problems=gold_problems,
    generated=WordProblems,
    traces=WordProblemTraces,
)
