r"""MATH and its like: an answer in LaTeX or plain text that means the same as the gold answer.

What answers mean is the grammar of `tasks.answers`; most are told apart or found equal by it alone,
in bounded time. What it leaves open, sympy and math-verify judge, in the processes of `workers`: on
some answers sympy works for hours, or until the memory is full. What is not judged within `SECONDS`
of CPU time is wrong.

Answers longer than `MAX_CHARACTERS` are wrong; the longest gold answer of MATH has 159.
"""

from collections.abc import Sequence
from functools import lru_cache

from r1zero.core.sandbox.workers import Workers
from r1zero.tasks.answers.announced import announced
from r1zero.tasks.answers.extraction import extract
from r1zero.tasks.answers.reading import MAX_CHARACTERS, Reading, key, read, same
from r1zero.tasks.answers.tags import WHITE_SPACE
from r1zero.tasks.base import Grade, Options, Rows
from r1zero.tasks.prompts import Style

SECONDS = 3.0
_BYTES = 2**30
_UNREADABLE = "the gold answer can't be parsed"

_judges = Workers("r1zero.tasks.answers.equivalence.equal", deadline=SECONDS, memory=_BYTES)
# More time: which rows there are must not depend on how fast a machine is.
_gold_judges = Workers(
    "r1zero.tasks.answers.equivalence.judge_gold", deadline=10 * SECONDS, memory=_BYTES
)


def grade(completions: Sequence[str], rows: Rows, style: Style, rewards: Options) -> list[Grade]:
    """Grade completions by the `answer` of their rows. Never raises, and takes bounded time.

    Thread-safe.
    """
    cases = [
        _Case(completion, row["answer"].strip(WHITE_SPACE), style)
        for completion, row in zip(completions, rows, strict=True)
    ]
    _ask([case for case in cases if case.right is None])
    wrong = [case for case in cases if not case.right]
    for case in wrong:
        case.look_elsewhere()
    _ask([case for case in wrong if case.right is None])
    return [case.verdict() for case in cases]


def vote(answer: str) -> str | None:
    """One text for answers that are equal by their forms, to be counted together.

    sympy takes no part: votes are counted on every completion, right or wrong.
    """
    text = answer.strip(WHITE_SPACE)
    return key(read(text)) if 0 < len(text) <= MAX_CHARACTERS else text[:MAX_CHARACTERS] or None


def gold_problems(rows: Rows) -> list[str]:
    """Why the gold answer of each row cannot be matched; empty if it can."""
    answers = [row["answer"].strip(WHITE_SPACE) for row in rows]
    problems = [_gold_problem(answer) for answer in answers]
    asked = [i for i, text in enumerate(answers) if not problems[i] and read(text).foreign]
    for index, result in zip(asked, _gold_judges.map([answers[i] for i in asked]), strict=True):
        problems[index] = result.problem or result.value
    return problems


class _Case:
    """One completion on its way to a verdict."""

    __slots__ = ("answer", "completion", "found", "gold", "parsed", "problem", "right", "strict")

    def __init__(self, completion: str, gold: str, style: Style) -> None:
        self.completion, self.gold = completion, gold
        self.parsed = extract(completion, style)
        answer = self.parsed.answer
        self.answer = None if answer is None else answer.strip(WHITE_SPACE)
        self.problem = self.parsed.problem
        if self.answer is not None:
            self.problem = _too_long(self.answer) if self.answer else "empty answer"
        # What is compared with the gold answer, and whether it is that; None if only a judge knows.
        self.found: Reading | None = None
        self.right: bool | None = False
        if not self.problem and self.answer is not None:
            self.right = True
            if self.answer != gold:
                self.found = read(self.answer)
                self.right = _is_gold(gold, self.found)
        self.strict = True

    def look_elsewhere(self) -> None:
        """Look for another answer in a completion whose own is wrong."""
        given, self.strict = self.found, False
        self.problem = self.problem or self._why_wrong()
        self.found = announced(self.completion)
        if self.found and not (given and given.text == self.found.text):
            self.right = _is_gold(self.gold, self.found)

    def question(self) -> tuple[Reading, Reading]:
        """The gold answer and the one that was found, for a judge."""
        assert self.found is not None
        return read(self.gold), self.found

    def verdict(self) -> Grade:
        correct = bool(self.right) and self.strict
        return Grade(
            correct=int(correct),
            lenient=int(bool(self.right)),
            format=self.parsed.format,
            extracted=None if self.answer is None else self.answer[:MAX_CHARACTERS],
            reason="ok" if correct else self.problem,
        )

    def _why_wrong(self) -> str:
        if problem := _gold_problem(self.gold):
            return problem
        if self.found and not (self.found.nodes or self.found.choice or self.found.foreign):
            return "the answer can't be parsed"
        return "not equal to the gold answer"


def _ask(cases: Sequence[_Case]) -> None:
    """Let the judges tell whether answers are right."""
    results = _judges.map([case.question() for case in cases])
    for case, result in zip(cases, results, strict=True):
        case.right = bool(result.value)
        if case.strict:
            case.problem = result.problem


@lru_cache(maxsize=4096)  # many completions have the same answer
def _is_gold(gold: str, answer: Reading) -> bool | None:
    """Whether an answer is the gold one; None if only a judge can tell."""
    wanted = read(gold) if len(gold) <= MAX_CHARACTERS else Reading("")
    if not (wanted.foreign or answer.foreign):
        return same(wanted, answer)
    if wanted.text == answer.text:
        return True
    known = all(found.foreign or found.nodes for found in (wanted, answer))
    return None if known else False


def _gold_problem(answer: str) -> str:
    """Why an answer can't be a gold answer, as far as it can be told without a judge."""
    if problem := _too_long(answer):
        return f"the gold answer is {problem}"
    reading = read(answer)
    return "" if reading.nodes or reading.choice or reading.foreign else _UNREADABLE


def _too_long(answer: str) -> str:
    long = len(answer) > MAX_CHARACTERS
    return f"longer than {MAX_CHARACTERS} characters" if long else ""
