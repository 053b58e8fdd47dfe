"""TL;DR: summaries of posts, rewarded for their length as in TRL's quickstart."""

from r1zero.tasks.base import Task
from r1zero.tasks.prompts import Style
from r1zero.tasks.tldr.generator import Posts
from r1zero.tasks.tldr.grader import grade
from r1zero.tasks.tldr.rows import normalise
from r1zero.tasks.tldr.traces import PostTraces

TASK = Task(
    name="tldr",
    fields={"post": "post"},
    columns={},
    style=Style(thought="free", answer="free"),
    normalise=normalise,
    grade=grade,
    generated=Posts,
    traces=PostTraces,
)
