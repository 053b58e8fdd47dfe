"""All tasks by name, and the types of the settings that name one."""

from functools import reduce
from importlib import import_module
from operator import or_
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from r1zero.core.errors import UserError
from r1zero.tasks.base import Task
from r1zero.tasks.generators import Generated
from r1zero.tasks.traces import Traces

# Each is a folder beside this file with an object `TASK`.
_FOLDERS = (
    "countdown",
    "gsm8k",
    "math",
    "tldr",
)

TASKS: dict[str, Task] = {name: import_module(f"r1zero.tasks.{name}").TASK for name in _FOLDERS}


def find_task(name: str) -> Task:
    """The task of a name; raises `UserError` if there is none."""
    if name not in TASKS:
        hint = f"known tasks: {', '.join(TASKS)}"
        raise UserError(f"unknown task '{name}'", where="task", hint=hint)
    return TASKS[name]


def are_alike(first: str, second: str) -> bool:
    """Whether a run of one task can be evaluated on the rows of the other."""
    return find_task(first).is_like(find_task(second))


if TYPE_CHECKING:
    TaskName = str
    AnyGenerated = Generated
    AnyTraces = Traces
else:
    TaskName = Literal[tuple(TASKS)]
    AnyGenerated = Annotated[
        reduce(or_, (task.generated for task in TASKS.values() if task.generated)),
        Field(discriminator="task"),
    ]
    AnyTraces = Annotated[
        reduce(or_, (task.traces for task in TASKS.values() if task.traces)),
        Field(discriminator="task"),
    ]
