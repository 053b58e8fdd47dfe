r"""Grader of GSM8K: a number that equals the gold answer exactly.

A number is ASCII digits, with commas between thousands, decimals, a sign, or a fraction (`3/4`,
`\frac{3}{4}`). Currency, percent signs, units and markup around it are skipped, so that
`$1,234.00 dollars.` is 1234. Numbers are compared as fractions: 0.1 equals 1/10 and nothing else.

Strict verdict: the text where the prompt asks for the answer (`answers.extraction`) holds exactly
one number, which equals the gold answer. If it has equals signs, only the part after the last one
counts.

Lenient verdict: the number that the last marker of the completion announces (`####`, `A:` at the
start of a line, `answer:` or `answer is`, `\boxed{`, `<answer>`), which is the first on its line,
again after the last equals sign there. Without a marker, or where none follows, it is the last
number of the completion.

Everything takes time linear in the length of the completion.
"""

import re
from collections import deque
from collections.abc import Iterator, Sequence
from fractions import Fraction

from r1zero.tasks.answers.extraction import extract
from r1zero.tasks.answers.tags import WHITE_SPACE
from r1zero.tasks.base import Grade, Options, Rows
from r1zero.tasks.prompts import Style

MAX_CHARACTERS = 256
# Longer numbers are ignored, since the work on one grows with the square of its digits.
_MAX_DIGITS = 40
_NO_GOLD = "the gold answer is not one number"

_DIGITS = r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)"
_NUMBER = re.compile(
    # A minus after a digit, a letter or a parenthesis is the operation.
    r"(?P<sign>(?<![0-9A-Za-z).])[-\u2212])?"
    r"\$?"
    rf"(?P<whole>{_DIGITS}(?:\.[0-9]+)?|\.[0-9]+)"
    r"(?:/(?P<below>[0-9]+)(?![0-9.]))?"
)
_MARKER = re.compile(
    r"####|^[ \t>*]{0,8}A:|\banswer(?:[ ]is\b|[*]{0,2}:)|\\boxed\{|<answer>",
    re.IGNORECASE | re.MULTILINE,
)
_FRACTION = re.compile(r"\\[dt]?frac\{([0-9]{1,40})\}\{([0-9]{1,40})\}")
_LATEX = re.compile(r"\\[!,;]|\{,\}|\\\$")


def grade(completions: Sequence[str], rows: Rows, style: Style, rewards: Options) -> list[Grade]:
    """Grade completions by the `answer` of their rows. Never raises, and takes linear time."""
    return [
        _grade(completion, row["answer"], style)
        for completion, row in zip(completions, rows, strict=True)
    ]


def vote(answer: str) -> str | None:
    """The number that an answer gives, as a fraction in lowest terms; None if not exactly one."""
    found = numbers(answer.rpartition("=")[2])
    return str(found[0]) if len(found) == 1 else None


def gold_problems(rows: Rows) -> list[str]:
    """Why the gold answer of each row cannot be matched; empty if it can."""
    return ["" if len(numbers(row["answer"])) == 1 else _NO_GOLD for row in rows]


def numbers(text: str) -> list[Fraction]:
    """All numbers of a text, from left to right."""
    found = (_value(match) for match in _NUMBER.finditer(_plain(text)))
    return [number for number in found if number is not None]


def announced(completion: str) -> Fraction | None:
    """The number that a completion seems to give as its answer, None if it gives none."""
    marker = _last(_MARKER.finditer(completion))
    if marker is not None:
        line, _, _ = completion[marker.end() :].lstrip(WHITE_SPACE).partition("\n")
        first = _NUMBER.search(_plain(line.rpartition("=")[2]))
        if first is not None:
            return _value(first)
    # Only the last one is converted: a long completion may hold a million numbers.
    last = _last(_NUMBER.finditer(_plain(completion)))
    return None if last is None else _value(last)


def _last(matches: Iterator[re.Match[str]]) -> re.Match[str] | None:
    last = deque(matches, maxlen=1)
    return last[0] if last else None


def _grade(completion: str, gold: str, style: Style) -> Grade:
    parsed = extract(completion, style)
    answer = None if parsed.answer is None else parsed.answer.strip(WHITE_SPACE)
    wanted = numbers(gold)
    if len(wanted) != 1:
        problem, lenient = _NO_GOLD, 0
    else:
        problem = parsed.problem if answer is None else _problem(answer, wanted[0])
        lenient = int(not problem or announced(completion) == wanted[0])
    return Grade(
        correct=int(not problem),
        lenient=lenient,
        format=parsed.format,
        extracted=None if answer is None else answer[:MAX_CHARACTERS],
        reason=problem or "ok",
    )


def _problem(answer: str, gold: Fraction) -> str:
    """Why an answer is not the gold one, or nothing if it is."""
    if not answer:
        return "empty answer"
    if len(answer) > MAX_CHARACTERS:
        return f"longer than {MAX_CHARACTERS} characters"
    found = numbers(answer.rpartition("=")[2])
    if len(found) != 1:
        return f"{len(found)} numbers in the answer" if found else "no number in the answer"
    return "" if found[0] == gold else f"the answer is {found[0]}, not {gold}"


def _plain(text: str) -> str:
    """The text with numbers in LaTeX notation rewritten in plain notation."""
    return _FRACTION.sub(r"\1/\2", _LATEX.sub(_without_latex, text)) if "\\" in text else text


def _without_latex(match: re.Match[str]) -> str:
    return {r"\$": "$", "{,}": ","}.get(match[0], "")


def _value(match: re.Match[str]) -> Fraction | None:
    whole, below = match["whole"].replace(",", ""), match["below"] or "1"
    if len(whole) > _MAX_DIGITS or len(below) > _MAX_DIGITS or not int(below):
        return None
    return Fraction(whole) / int(below) * (-1 if match["sign"] else 1)
