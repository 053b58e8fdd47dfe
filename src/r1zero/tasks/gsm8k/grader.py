r"""GSM8K: a number that equals the gold answer, exactly.

Numbers are read by the grammar of `tasks.answers`, in every notation of it: `1,234.00`, `70 000`,
`3/4`, `\frac{3}{4}`, `1 1/2`, `7e4`. What people put around one is no part of it: currency, percent
signs, units, words that don't change it. So `$1,234.00 dollars.` is 1234. A calculation that is not
carried out (`3 + 4`, `3 * 4`) is no number. Numbers are compared as fractions, so 0.1 is 1/10 and
nothing near it.

Strict verdict: what stands where the prompt asks for the answer (`styles`) holds exactly one
number, and it is the gold one. After an equals sign only what follows the last one counts.

Lenient verdict: the number that the completion announces (`tasks.answers.announced`).

Everything takes time linear in the length of the completion.
"""

import re
from collections.abc import Sequence
from functools import lru_cache

from r1zero.tasks.answers import exact
from r1zero.tasks.answers.announced import announced
from r1zero.tasks.answers.extraction import extract
from r1zero.tasks.answers.nodes import (
    Measured,
    Node,
    Number,
    Power,
    Product,
    Rational,
    Relation,
)
from r1zero.tasks.answers.reading import Reading, read
from r1zero.tasks.answers.tags import WHITE_SPACE
from r1zero.tasks.base import Grade, Options, Rows
from r1zero.tasks.prompts import Style

MAX_CHARACTERS = 256
_NO_GOLD = "the gold answer is not one number"
_PLAIN = re.compile(r"-?[0-9]{1,40}")


def grade(completions: Sequence[str], rows: Rows, style: Style, rewards: Options) -> list[Grade]:
    """Grade completions by the `answer` of their rows. Never raises, and takes linear time."""
    return [
        _grade(completion, row["answer"], style)
        for completion, row in zip(completions, rows, strict=True)
    ]


def vote(answer: str) -> str | None:
    """The number that an answer gives, as a fraction in lowest terms; None if not exactly one."""
    value = number(answer)
    return None if value is None else str(value)


def gold_problems(rows: Rows) -> list[str]:
    """Why the gold answer of each row cannot be matched; empty if it can."""
    return ["" if number(row["answer"]) is not None else _NO_GOLD for row in rows]


@lru_cache(maxsize=4096)
def number(text: str) -> Rational | None:
    """The one number that a text gives; None if it gives none, or several."""
    text = text.strip(WHITE_SPACE)
    if _PLAIN.fullmatch(text):
        return int(text)
    return None if len(text) > MAX_CHARACTERS else _value(read(text, numbers=True))


def announced_number(completion: str) -> Rational | None:
    """The number that a completion seems to give as its answer; None if it gives none."""
    reading = announced(completion, numbers=True)
    return None if reading is None else _value(reading)


def _value(reading: Reading) -> Rational | None:
    """The value of a reading; None without one, or with different ones."""
    values = {_rational(node) for node in reading.nodes}
    return values.pop() if len(values) == 1 else None


def _rational(node: Node) -> Rational | None:
    if isinstance(node, Relation) and set(node.signs) == {"="}:
        node = node.sides[-1]
    if isinstance(node, Measured):  # GSM8K asks for the number of percent
        node = node.value
    match node:
        case Number(value):
            return value
        case Product((Number(-1), Product() as positive)):
            found = _rational(positive)
            return None if found is None else -found
        case Product((Number(), Power(Number(10), Number(int())))) | Power(
            Number(10), Number(int())
        ):
            return exact.rational(node)
    return None


def _grade(completion: str, gold: str, style: Style) -> Grade:
    parsed = extract(completion, style)
    answer = None if parsed.answer is None else parsed.answer.strip(WHITE_SPACE)
    wanted = number(gold)
    if wanted is None:
        problem, lenient = _NO_GOLD, False
    else:
        problem = parsed.problem if answer is None else _problem(answer, wanted)
        lenient = not problem or announced_number(completion) == wanted
    return Grade(
        correct=int(not problem),
        lenient=int(lenient),
        format=parsed.format,
        extracted=None if answer is None else answer[:MAX_CHARACTERS],
        reason=problem or "ok",
    )


def _problem(answer: str, gold: Rational) -> str:
    """Why an answer is not the gold one, or nothing if it is."""
    if not answer:
        return "empty answer"
    if len(answer) > MAX_CHARACTERS:
        return f"longer than {MAX_CHARACTERS} characters"
    found = number(answer)
    if found is None:
        digits = any(character in "0123456789" for character in answer)
        return "not one number" if digits else "no number in the answer"
    return "" if found == gold else f"the answer is {found}, not {gold}"
