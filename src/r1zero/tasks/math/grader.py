r"""MATH and its like: an answer in LaTeX or plain text that means the same as the gold answer.

What answers mean is the grammar of `tasks.answers`; most are told apart or found equal by it alone,
in bounded time. What it leaves open, sympy and math-verify judge, in the processes of `workers`: on
some answers sympy works for hours, or until the memory is full. What is not judged within `SECONDS`
is wrong.

Answers longer than `MAX_CHARACTERS` are wrong; the longest gold answer of MATH has 159.
"""

from collections.abc import Sequence
from typing import NamedTuple

from r1zero.tasks.answers.tags import WHITE_SPACE, Parsed
from r1zero.core.sandbox.workers import Workers
from r1zero.tasks.answers.announced import announced
from r1zero.tasks.answers.extraction import extract
from r1zero.tasks.answers.reading import MAX_CHARACTERS, Reading, key, read, same
from r1zero.tasks.base import Grade, Options, Rows
from r1zero.tasks.prompts import Style


SECONDS = 3.0
_BYTES = 2**30

_judges = Workers("r1zero.tasks.answers.equivalence.equal", deadline=SECONDS, memory=_BYTES)
# More time: which rows there are must not depend on how busy a machine is.
_gold_judges = Workers(
    "r1zero.tasks.answers.equivalence.judge_gold", deadline=10 * SECONDS, memory=_BYTES
)


class _Found(NamedTuple):
    """An answer of a completion, and whether it is the gold one; None if it has to be judged."""

    reading: Reading
    text: str
    right: bool | None


def grade(completions: Sequence[str], rows: Rows, style: Style, rewards: Options) -> list[Grade]:
    """Grade completions by the `answer` of their rows. Never raises, and takes bounded time.

    Thread-safe.
    """
    answers = [row["answer"] for row in rows]
    parsed = [extract(completion, style) for completion in completions]
    strict = [_given(one, gold) for one, gold in zip(parsed, answers, strict=True)]
    strict, problems = _judged(strict, answers)
    lenient = [
        found if found and found.right else _announced(completion, found, gold)
        for completion, found, gold in zip(completions, strict, answers, strict=True)
    ]
    lenient, _ = _judged(lenient, answers)
    return [
        _grade(one, gold, found, problem, bool(anywhere and anywhere.right))
        for one, gold, found, problem, anywhere in zip(
            parsed, answers, strict, problems, lenient, strict=True
        )
    ]


def vote(answer: str) -> str | None:
    """One text for answers that are equal by their forms, to be counted together.

    sympy takes no part: votes are counted on every completion, right or wrong.
    """
    text = answer.strip(WHITE_SPACE)
    return key(read(text)) if 0 < len(text) <= MAX_CHARACTERS else text[:MAX_CHARACTERS] or None


def gold_problems(rows: Rows) -> list[str]:
    """Why the gold answer of each row cannot be matched; empty if it can."""
    answers = [row["answer"] for row in rows]
    readings = [read(_text(answer)) for answer in answers]
    asked = [index for index, reading in enumerate(readings) if reading.foreign]
    judged = dict(
        zip(asked, _gold_judges.map([_text(answers[index]) for index in asked]), strict=True)
    )
    problems = [_unreadable(answer, read(_text(answer))) for answer in answers]
    for index, result in judged.items():
        problems[index] = problems[index] or result.problem or result.value
    return problems


def _given(parsed: Parsed, gold: str) -> _Found | None:
    """The answer that stands where the prompt asks for it."""
    if parsed.answer is None or _problem(parsed):
        return None
    return _compared(read(_text(parsed.answer)), _text(parsed.answer), gold)


def _announced(completion: str, given: _Found | None, gold: str) -> _Found | None:
    """The answer that the completion seems to give, if that is another one."""
    reading = announced(completion)
    if reading is None or (given and reading.text == given.reading.text):
        return None
    return _compared(reading, reading.source, gold)


def _compared(reading: Reading, text: str, gold: str) -> _Found:
    if text == _text(gold):
        return _Found(reading, text, bool(text))
    wanted = read(_text(gold))
    if len(gold) > MAX_CHARACTERS:
        return _Found(reading, text, False)
    if wanted.foreign or reading.foreign:
        known = all(found.foreign or found.nodes for found in (wanted, reading))
        same_text = wanted.text == reading.text
        return _Found(reading, text, same_text or (None if known else False))
    return _Found(reading, text, same(wanted, reading))


def _judged(
    found: Sequence[_Found | None], answers: Sequence[str]
) -> tuple[list[_Found | None], list[str]]:
    """Let the judges tell what is open; why one told nothing is the problem of an answer."""
    asked = [index for index, one in enumerate(found) if one and one.right is None]
    questions = []
    for index in asked:
        one, gold = found[index], _text(answers[index])
        assert one is not None
        questions.append((read(gold), one.reading, gold, one.text))
    judged, problems = list(found), [""] * len(found)
    for index, result in zip(asked, _judges.map(questions), strict=True):
        one = found[index]
        assert one is not None
        judged[index] = one._replace(right=bool(result.value))
        problems[index] = result.problem
    return judged, problems


def _grade(parsed: Parsed, gold: str, found: _Found | None, problem: str, anywhere: bool) -> Grade:
    right = bool(found and found.right)
    answer = None if parsed.answer is None else _text(parsed.answer)
    if not right and not problem:
        problem = _problem(parsed) or _unreadable(gold, read(_text(gold))).replace(
            "it", "the gold answer"
        )
        if not problem and found and not (found.reading.nodes or found.reading.choice):
            problem = "the answer can't be parsed"
    return Grade(
        correct=int(right),
        lenient=int(right or anywhere),
        format=parsed.format,
        extracted=None if answer is None else answer[:MAX_CHARACTERS],
        reason="ok" if right else problem or "not equal to the gold answer",
    )


def _problem(parsed: Parsed) -> str:
    """Why there is no answer to judge, or nothing if there is one."""
    if parsed.answer is None:
        return parsed.problem
    return _too_long(parsed.answer) if _text(parsed.answer) else "empty answer"


def _unreadable(answer: str, reading: Reading) -> str:
    if _too_long(answer):
        return _too_long(answer)
    if reading.nodes or reading.choice or reading.foreign:
        return ""
    return "it can't be parsed"


def _too_long(answer: str) -> str:
    long = len(_text(answer)) > MAX_CHARACTERS
    return f"longer than {MAX_CHARACTERS} characters" if long else ""


def _text(answer: str) -> str:
    return answer.strip(WHITE_SPACE)
