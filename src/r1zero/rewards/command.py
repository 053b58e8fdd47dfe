"""`python -m r1zero grade <task>`: grade completions by hand or from another program."""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from typing import Annotated, Any

import typer

from r1zero.core.errors import UserError
from r1zero.rewards.grade import Grade
from r1zero.rewards.grading import grade_batch
from r1zero.tasks.prompts import Answer, Style, Thought

app = typer.Typer(no_args_is_help=True)

_TYPES = {
    dict: "an object",
    list: "a list",
    str: "a string",
    int: "an integer",
    float: "a number that is not an integer",
    bool: "a truth value",
    type(None): "null",
}


# Typer runs an app of a single command without its name; with a callback the name stays.
@app.callback()
def main() -> None:
    """Grade completions read from standard input."""


_PREFILLED_TAGS = Style(thought="prefilled", answer="tags")
_Format = Annotated[
    Answer,
    typer.Option("--style", help="How the prompt asks for the answer to be marked."),
]
_Think = Annotated[Thought, typer.Option(help="Where <think> stands by the prompt.")]
_Lenient = Annotated[
    bool,
    typer.Option("--lenient", help="Let `correct` be the lenient verdict: the answer anywhere."),
]


@app.command()
def countdown() -> None:
    """Grade Countdown completions, one JSON object per line in and out, in the same order.

    In: `completion` (text), `nums` (list of integers), `target` (integer).
    Out: `correct` (0 or 1), `lenient` (0 or 1), `format` (0 or 1), `extracted` (text or null),
    `reason` (text).
    """
    _converse("countdown", _PREFILLED_TAGS)


@app.command()
def gsm8k(style: _Format = "hash", thought: _Think = "free", lenient: _Lenient = False) -> None:
    """Grade GSM8K completions by the number they give.

    One JSON object per line in and out, in the same order. In: `completion` (text), `answer` (the
    gold answer, text). Out: as for `countdown`.
    """
    _converse("gsm8k", Style(thought=thought, answer=style), lenient)


@app.command()
def math(style: _Format = "boxed", thought: _Think = "free", lenient: _Lenient = False) -> None:
    """Grade MATH completions by what their answer means.

    In and out: as for `gsm8k`.
    """
    _converse("math", Style(thought=thought, answer=style), lenient)


def _converse(task: str, style: Style, lenient: bool = False) -> None:
    for verdict in grade_lines(sys.stdin.buffer, task, style):
        shown = _leniently(verdict) if lenient else verdict
        # Flushed line by line, so that another program can converse with this one. ASCII output
        # carries lone surrogates, which UTF-8 cannot.
        print(json.dumps(asdict(shown)), flush=True)


def _leniently(verdict: Grade) -> Grade:
    reason = "ok" if verdict.lenient else verdict.reason
    return replace(verdict, correct=verdict.lenient, reason=reason)


def grade_lines(
    lines: Iterable[bytes], task: str = "countdown", style: Style = _PREFILLED_TAGS
) -> Iterator[Grade]:
    """Grade each line as it comes.

    Raises `UserError`, naming the line and the key, at the first line that can't be graded.
    """
    for number, line in enumerate(lines, start=1):
        where = f"standard input, line {number}"
        request = _read(line, where)
        completion = _text(request, "completion", where)
        row = _numbers(request, where) if task == "countdown" else _gold(request, where)
        yield from grade_batch(task, [completion], [row], style)


def _numbers(request: Mapping[str, Any], where: str) -> dict[str, Any]:
    nums, target = (_value(request, key, where) for key in ("nums", "target"))
    if not isinstance(nums, list):
        raise _wrong_type("nums", "a list of integers", nums, where)
    for index, value in enumerate(nums):
        if not _is_integer(value):
            raise _wrong_type(f"nums[{index}]", "an integer", value, where)
    if not _is_integer(target):
        raise _wrong_type("target", "an integer", target, where)
    return {"nums": nums, "target": target}


def _gold(request: Mapping[str, Any], where: str) -> dict[str, Any]:
    return {"answer": _text(request, "answer", where)}


def _read(line: bytes, where: str) -> dict[str, Any]:
    try:
        request = json.loads(line.decode("utf-8"))
    except json.JSONDecodeError as error:
        raise UserError(
            f"not valid JSON: {error.msg} at column {error.colno}", where=where
        ) from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"not valid JSON: {error}", where=where) from None
    if not isinstance(request, dict):
        raise UserError(f"expected a JSON object, got {_describe(request)}", where=where)
    return request


def _value(request: Mapping[str, Any], key: str, where: str) -> Any:
    if key not in request:
        raise UserError(f"`{key}` is missing", where=where)
    return request[key]


def _text(request: Mapping[str, Any], key: str, where: str) -> str:
    value = _value(request, key, where)
    if not isinstance(value, str):
        raise _wrong_type(key, "a string", value, where)
    return value


def _is_integer(value: object) -> bool:
    # bool is a subclass of int, and JSON's `true` is no number.
    return isinstance(value, int) and not isinstance(value, bool)


def _wrong_type(key: str, wanted: str, value: object, where: str) -> UserError:
    return UserError(f"`{key}` must be {wanted}, got {_describe(value)}", where=where)


def _describe(value: object) -> str:
    # By type alone: the value may be megabytes long.
    return _TYPES[type(value)]
