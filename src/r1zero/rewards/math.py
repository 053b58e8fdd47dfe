r"""MATH and its like: an answer in LaTeX that means the same as the gold answer.

math-verify is the judge, in the processes of `workers`: on some answers sympy works for hours, or
until the memory is full. What is not judged within `SECONDS` is wrong.

The answer is found here, in linear time (`styles`), and only it is sent to be judged. Answers
longer than `MAX_CHARACTERS` are wrong; the longest gold answer of MATH has 159. For the lenient
verdict math-verify itself looks for an answer, in LaTeX or plain, in the last `MAX_CHARACTERS` of
the completion.
"""

import re
from collections.abc import Sequence
from fractions import Fraction

from r1zero.rewards.grade import Grade
from r1zero.rewards.styles import extract
from r1zero.rewards.tags import WHITE_SPACE, Parsed
from r1zero.rewards.workers import Result, Workers
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

_judges = Workers("r1zero.rewards.equivalence.judge", deadline=SECONDS, memory=_BYTES)
# More time: which rows there are must not depend on how busy a machine is.
_gold_judges = Workers(
    "r1zero.rewards.equivalence.judge_gold", deadline=10 * SECONDS, memory=_BYTES
)


def grade(completions: Sequence[str], answers: Sequence[str], style: Style) -> list[Grade]:
    """Grade completions, each by its gold answer. Never raises, and takes bounded time.

    Any thread may call it, and many at once.
    """
    found = [extract(completion, style) for completion in completions]
    # The answer as it was given takes no judge.
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
    r"""An answer as one would write it plainly, to be counted together with its equals.

    Plain numbers and fractions of them go by their value. Of anything else `$`, `\left`, `\right`,
    white space and a full stop at the end are left out, and every fraction is a `\frac{}{}`. sympy
    takes no part: votes are counted on every completion, right or wrong.
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


def gold_problems(answers: Sequence[str]) -> list[str]:
    """Why each answer can't serve as the gold one, as a short sentence; empty where it can.

    It can if it is found equal to itself.
    """
    results = _gold_judges.map([answer[:MAX_CHARACTERS] for answer in answers])
    return [
        _too_long(answer) or result.problem or result.value
        for answer, result in zip(answers, results, strict=True)
    ]


def gold_problem(answer: str) -> str:
    """Why an answer can't serve as the gold one, as a short sentence; empty if it can."""
    return gold_problems([answer])[0]


def _grade(parsed: Parsed, judged: Result | None) -> Grade:
    """The verdict, from what the judge says where one was asked."""
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
    """Why there is no answer to judge, or nothing if there is one."""
    answer = _answer(parsed)
    if answer is None:
        return parsed.problem
    return _too_long(answer) if answer else "empty answer"


def _too_long(answer: str) -> str:
    return f"longer than {MAX_CHARACTERS} characters" if len(answer) > MAX_CHARACTERS else ""
