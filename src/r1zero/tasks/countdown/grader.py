"""Grader of Countdown: an expression that reaches the target with each number used exactly once.

An answer is an expression as defined in `arithmetic`. An equation (`1 + 2 = 3`) is not an answer,
as in the published rewards of mini-R1 and Datawhale-R1. Each number must be used exactly once: the
prompts say "only once", and every published reward demands all of them.
"""

from collections.abc import Sequence

from r1zero.tasks.answers import tags
from r1zero.tasks.answers.extraction import extract
from r1zero.tasks.base import Grade, Options, Rows
from r1zero.tasks.countdown.arithmetic import MAX_CHARACTERS, ArithmeticProblem, evaluate
from r1zero.tasks.countdown.solver import unsolvable
from r1zero.tasks.prompts import Style

_NO_SOLUTION = "no expression of the numbers reaches the target"
# What `evaluate` skips between tokens; other white space makes an answer invalid.
_PADDING = " \t\n"


def grade(completions: Sequence[str], rows: Rows, style: Style, rewards: Options) -> list[Grade]:
    """Grade completions by the `nums` and `target` of their rows.

    The lenient verdict is on the last closed `<answer>`, as in TinyZero, wherever it stands and
    however many there are. Never raises, and takes bounded time.
    """
    return [
        _grade(completion, row["nums"], row["target"], style)
        for completion, row in zip(completions, rows, strict=True)
    ]


def _grade(completion: str, nums: Sequence[int], target: int, style: Style) -> Grade:
    parsed = extract(completion, style)
    if parsed.answer is None:
        answer, problem = None, parsed.problem
    else:
        answer = parsed.answer.strip(_PADDING)
        problem = _problem(answer, nums, target)
    return Grade(
        correct=int(not problem),
        lenient=int(not problem or _right_somewhere(completion, nums, target)),
        format=parsed.format,
        extracted=None if answer is None else answer[:MAX_CHARACTERS],
        reason=problem or "ok",
    )


def gold_problems(rows: Rows) -> list[str]:
    """Why no expression reaches the target of each row; empty if one does.

    Rows of more than `solver.MOST_NUMBERS` numbers are not searched.
    """
    unsolved = set(unsolvable([row["nums"] for row in rows], [row["target"] for row in rows]))
    return [_NO_SOLUTION if index in unsolved else "" for index in range(len(rows))]


def vote(answer: str) -> str | None:
    """The expression without white space: another expression of the same value is another vote."""
    return "".join(answer.split()) or None


def _right_somewhere(completion: str, nums: Sequence[int], target: int) -> bool:
    """Whether the last answer in tags solves the problem."""
    end = completion.rfind(tags.END_ANSWER)
    start = completion.rfind(tags.ANSWER, 0, max(end, 0))
    if start < 0:
        return False
    return not _problem(completion[start + len(tags.ANSWER) : end].strip(_PADDING), nums, target)


def _problem(answer: str, nums: Sequence[int], target: int) -> str:
    """Why `answer` doesn't solve the problem, or nothing if it does."""
    if not answer:
        return "empty answer"
    try:
        value, literals = evaluate(answer)
    except ArithmeticProblem as problem:
        return str(problem)
    unused = list(nums)
    for number in literals:
        if number not in unused:
            given = "more often than it is given" if number in nums else "which is not given"
            return f"uses {number}, {given}"
        unused.remove(number)
    if unused:
        return f"does not use {unused[0]}"
    return "" if value == target else f"the value is {value}, not {target}"
