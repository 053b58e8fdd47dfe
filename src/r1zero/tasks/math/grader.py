r"""Grader of MATH and similar sets: an answer in LaTeX that is equal to the gold answer.

math-verify decides, in processes that can be killed: on some answers sympy works for hours, or
until the memory is full. An answer that is not decided within `SECONDS` counts as wrong.

The answer is extracted here, in linear time, and only the answer is sent to math-verify. Answers
longer than `MAX_CHARACTERS` are wrong; the longest gold answer of MATH has 159. For the lenient
verdict math-verify itself searches the last `MAX_CHARACTERS` of the completion for an answer, in
LaTeX or plain.
"""

import re
from collections.abc import Sequence
from fractions import Fraction

from r1zero.core.sandbox.workers import Result, Workers
from r1zero.tasks.answers.extraction import extract
from r1zero.tasks.answers.tags import WHITE_SPACE, Parsed
from r1zero.tasks.base import Grade, Options, Rows
from r1zero.tasks.prompts import Style

SECONDS = 3.0
MAX_CHARACTERS = 2000
_BYTES = 2**30

_MARKUP = re.compile(r"\\(?:left|right)(?![A-Za-z])|\\[!,;: ]|\\[()\[\]]|\\?\$|\s")
# `\dfrac{1}{2}` and `\frac12`.
_FRACTION = re.compile(r"\\[dt]?frac(?:\{([^{}]*)\}|([0-9]))(?:\{([^{}]*)\}|([0-9]))")
_PLAIN_FRACTION = re.compile(r"\\frac\{([0-9]{1,40})\}\{([0-9]{1,40})\}")
_NUMBER = re.compile(
    r"(?P<sign>[-+]?)"
    r"(?P<whole>(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]{1,40})(?:\.[0-9]{1,40})?|\.[0-9]{1,40})"
    r"(?:/(?P<below>[0-9]{1,40}))?"
)

_judges = Workers("r1zero.tasks.answers.equivalence.judge", deadline=SECONDS, memory=_BYTES)
# A longer limit: which rows are kept must not depend on how busy the machine is.
_gold_judges = Workers(
    "r1zero.tasks.answers.equivalence.judge_gold", deadline=10 * SECONDS, memory=_BYTES
)


def grade(completions: Sequence[str], rows: Rows, style: Style, rewards: Options) -> list[Grade]:
    """Grade completions by the `answer` of their rows. Never raises, and takes bounded time.

    Thread-safe.
    """
    answers = [row["answer"] for row in rows]
    found = [extract(completion, style) for completion in completions]
    # The text of the gold answer itself needs no decision.
    asked = {
        index: (None if _problem(parsed) else _answer(parsed), completion[-MAX_CHARACTERS:], gold)
        for index, (parsed, completion, gold) in enumerate(
            zip(found, completions, answers, strict=True)
        )
        if not _answer(parsed) or _answer(parsed) != gold.strip()
    }
    judged = dict(zip(asked, _judges.map(list(asked.values())), strict=True))
    return [_grade(parsed, judged.get(index)) for index, parsed in enumerate(found)]


def vote(answer: str) -> str | None:
    r"""An answer in a canonical notation, so that equal answers are counted together.

    Plain numbers and fractions become their value. In any other answer `$`, `\left`, `\right`,
    white space and a full stop at the end are removed, and every fraction becomes `\frac{}{}`.
    sympy is too slow for this: votes are counted on every completion.
    """
    text = _FRACTION.sub(_fraction, _MARKUP.sub("", answer).rstrip(".,;"))
    plain = _PLAIN_FRACTION.sub(r"\1/\2", text).replace("{,}", ",")
    number = _NUMBER.fullmatch(plain)
    if number is None or not int(number["below"] or 1):
        return text or None
    whole = Fraction(number["sign"] + number["whole"].replace(",", ""))
    return str(whole / int(number["below"] or 1))


def _fraction(match: re.Match[str]) -> str:
    above, above_digit, below, below_digit = match.groups()
    return rf"\frac{{{above_digit or above}}}{{{below_digit or below}}}"


def gold_problems(rows: Rows) -> list[str]:
    """Why the gold answer of each row cannot be matched; empty if it is found equal to itself."""
    answers = [row["answer"] for row in rows]
    results = _gold_judges.map([answer[:MAX_CHARACTERS] for answer in answers])
    return [
        _too_long(answer) or result.problem or result.value
        for answer, result in zip(answers, results, strict=True)
    ]


def _grade(parsed: Parsed, judged: Result | None) -> Grade:
    """The verdict; `judged` is the result of `equivalence.judge`, or None if it was not needed."""
    problem, anywhere = "", True
    if judged is not None:
        problem, anywhere = (judged.problem, False) if judged.problem else judged.value
        problem = _problem(parsed) or problem
    answer = _answer(parsed)
    return Grade(
        correct=int(not problem),
        lenient=int(anywhere),
        format=parsed.format,
        extracted=None if answer is None else answer[:MAX_CHARACTERS],
        reason=problem or "ok",
    )


def _answer(parsed: Parsed) -> str | None:
    return None if parsed.answer is None else parsed.answer.strip(WHITE_SPACE)


def _problem(parsed: Parsed) -> str:
    """Why there is no answer to compare; empty if there is one."""
    answer = _answer(parsed)
    if answer is None:
        return parsed.problem
    return _too_long(answer) if answer else "empty answer"


def _too_long(answer: str) -> str:
    return f"longer than {MAX_CHARACTERS} characters" if len(answer) > MAX_CHARACTERS else ""
