"""`python -m r1zero grade <task>`: grade completions by hand or from another program."""

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

import typer

from r1zero.errors import UserError
from r1zero.rewards.countdown import Grade, grade

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


@app.command()
def countdown() -> None:
    """Grade Countdown completions, one JSON object per line in and out, in the same order.

    In: `completion` (text), `nums` (list of integers), `target` (integer).
    Out: `correct` (0 or 1), `format` (0 or 1), `extracted` (text or null), `reason` (text).
    """
    for verdict in grade_lines(sys.stdin.buffer):
        # Flushed line by line, so that another program can converse with this one. ASCII output
        # carries lone surrogates, which UTF-8 cannot.
        print(json.dumps(asdict(verdict)), flush=True)


def grade_lines(lines: Iterable[bytes]) -> Iterator[Grade]:
    """Grade each line as it comes.

    Raises `UserError`, naming the line and the key, at the first line that can't be graded.
    """
    for number, line in enumerate(lines, start=1):
        where = f"standard input, line {number}"
        request = _read(line, where)
        completion, nums, target = (
            _value(request, key, where) for key in ("completion", "nums", "target")
        )
        if not isinstance(completion, str):
            raise _wrong_type("completion", "a string", completion, where)
        if not isinstance(nums, list):
            raise _wrong_type("nums", "a list of integers", nums, where)
        for index, value in enumerate(nums):
            if not _is_integer(value):
                raise _wrong_type(f"nums[{index}]", "an integer", value, where)
        if not _is_integer(target):
            raise _wrong_type("target", "an integer", target, where)
        yield grade(completion, nums, target)


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


def _value(request: dict[str, Any], key: str, where: str) -> Any:
    if key not in request:
        raise UserError(f"`{key}` is missing", where=where)
    return request[key]


def _is_integer(value: object) -> bool:
    # bool is a subclass of int, and JSON's `true` is no number.
    return isinstance(value, int) and not isinstance(value, bool)


def _wrong_type(key: str, wanted: str, value: object, where: str) -> UserError:
    return UserError(f"`{key}` must be {wanted}, got {_describe(value)}", where=where)


def _describe(value: object) -> str:
    # By type alone: the value may be megabytes long.
    return _TYPES[type(value)]
