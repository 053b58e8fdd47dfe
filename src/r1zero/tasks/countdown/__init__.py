"""Countdown: combine given numbers by arithmetic, each exactly once, to reach a target."""

from r1zero.tasks.base import Task
from r1zero.tasks.countdown.generator import CountdownRows
from r1zero.tasks.countdown.grader import gold_problems, grade, vote
from r1zero.tasks.countdown.rows import normalise
from r1zero.tasks.countdown.search import search
from r1zero.tasks.countdown.traces import CountdownTraces
from r1zero.tasks.prompts import Style

TASK = Task(
    name="countdown",
    fields={"numbers": "nums", "target": "target"},
    columns={"nums": list[int], "target": int},
    counted="nums",
    style=Style(thought="prefilled", answer="tags"),
    normalise=normalise,
    grade=grade,
    vote=vote,
    gold_problems=gold_problems,
    search=search,
    generated=CountdownRows,
    traces=CountdownTraces,
)
