"""Countdown: reach a target with the given numbers, each used exactly once.

`grade` is the one judgement, of training, evaluation and `python -m r1zero grade countdown`. So a
score in the report means what the reward meant.

An answer is an expression of `arithmetic`; an equation (`1 + 2 = 3`) is none, as in the published
rewards of mini-R1 and Datawhale-R1. Numbers must be used exactly once each: the prompt says "only
once", every public reward demands all of them.
"""

from collections.abc import Sequence

from r1zero.rewards import tags
from r1zero.rewards.arithmetic import MAX_CHARACTERS, ArithmeticProblem, evaluate
from r1zero.rewards.grade import Grade
from r1zero.rewards.styles import extract
from r1zero.tasks.prompts import Style

# What `evaluate` skips between tokens; other white space makes an answer invalid.
_PADDING = " \t\n"
_PREFILLED = Style(thought="prefilled", answer="tags")


def grade(completion: str, nums: Sequence[int], target: int, style: Style = _PREFILLED) -> Grade:
    """Grade one completion. Never raises, and takes bounded time, whatever the completion.

    The lenient verdict is on the last `<answer>` that is closed, as in TinyZero, wherever it stands
    and however many there are.
    """
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


def vote(answer: str) -> str | None:
    """The expression without white space; equal values found in other ways are other answers."""
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
