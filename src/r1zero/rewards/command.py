"""`python -m r1zero grade <task>`: grade completions by hand or from another program."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, replace
from typing import Annotated, Any, get_args, get_origin

import typer

from r1zero.core.errors import UserError
from r1zero.tasks.base import Grade, Task
from r1zero.tasks.prompts import Answer, Style, Thought
from r1zero.tasks.registry import TASKS

_TYPES: dict[Any, str] = {
    dict: "an object",
    str: "a string",
    int: "an integer",
    list[int]: "a list of integers",
    list[str]: "a list of strings",
}
_Answer = Annotated[
    Answer, typer.Option("--style", help="How the prompt asks for the answer to be marked.")
]
_Thought = Annotated[
    Thought,
    typer.Option(help="Whether <think> ends the prompt, begins the completion, or is absent."),
]
_Lenient = Annotated[
    bool,
    typer.Option("--lenient", help="Report the lenient verdict, on the answer anywhere."),
]

app = typer.Typer(
    help="Grade completions read from standard input, by the grader of a task.",
    no_args_is_help=True,
)


def _check(value: Any, kind: Any, key: str, where: str) -> None:
    """Raise `UserError` unless a JSON value is of a type of `Task.columns`; `true` is no integer.

    The message does not show the value, which may be megabytes long.
    """
    if type(value) is not (get_origin(kind) or kind):
        raise UserError(f"`{key}` must be {_TYPES[kind]}", where=where)
    for item_kind in get_args(kind):
        for index, item in enumerate(value):
            _check(item, item_kind, f"{key}[{index}]", where)


def _command(task: Task) -> Callable[..., None]:
    def command(
        style: _Answer = task.style.answer,
        thought: _Thought = task.style.thought,
        lenient: _Lenient = False,
    ) -> None:
        for grade in grade_lines(sys.stdin.buffer, task, Style(thought=thought, answer=style)):
            shown = _leniently(grade) if lenient else grade
            # Flushed line by line, so that another program can use this one interactively. ASCII
            # output, since UTF-8 cannot encode lone surrogates.
            print(json.dumps(asdict(shown)), flush=True)

    return command


def _help(task: Task) -> str:
    columns = "".join(f", `{name}` ({_TYPES[kind]})" for name, kind in task.columns.items())
    return (
        f"Grade completions of {task.name}, one JSON object per line in and out, in order.\n\n"
        f"In: `completion` (a string){columns}.\n\n"
        "Out: `correct`, `lenient`, `format` (0 or 1), `extracted` (a string or null), `reason`."
    )


for _task in TASKS.values():
    app.command(_task.name, help=_help(_task))(_command(_task))


def grade_lines(lines: Iterable[bytes], task: Task, style: Style) -> Iterator[Grade]:
    """Grade each line as it is read.

    Raises:
        UserError: The first line that cannot be graded, with its number and key.

    """
    for number, line in enumerate(lines, start=1):
        where = f"standard input, line {number}"
        request = _read(line, where)
        kinds: dict[str, Any] = {"completion": str, **task.columns}
        for key, kind in kinds.items():
            if key not in request:
                raise UserError(f"`{key}` is missing", where=where)
            _check(request[key], kind, key, where)
        yield from task.grade([request["completion"]], [request], style, {})


def _leniently(grade: Grade) -> Grade:
    reason = "ok" if grade.lenient else grade.reason
    return replace(grade, correct=grade.lenient, reason=reason)


def _read(line: bytes, where: str) -> dict[str, Any]:
    try:
        request = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"not valid JSON: {error}", where=where) from None
    _check(request, dict, "request", where)
    return request  # type: ignore[no-any-return]
