"""Countdown: reach a target with the given numbers, each used exactly once.

`grade` is the one judgement. Training reads it through the two reward functions below, in TRL's
signature; evaluation and `python -m r1zero grade countdown` read it directly. So a score in the
report means what the reward meant.

An answer is an expression of `arithmetic`; an equation (`1 + 2 = 3`) is none, as in the published
rewards of mini-R1 and Datawhale-R1. Numbers must be used exactly once each: the prompt says "only
once", every public reward demands all of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from r1zero.rewards import tags
from r1zero.rewards.arithmetic import MAX_CHARACTERS, ArithmeticProblem, evaluate

# What `evaluate` skips between tokens; other white space makes an answer invalid.
_PADDING = " \t\n"


@dataclass(frozen=True, slots=True)
class Grade:
    """Verdict on one completion."""

    # 1 if the answer reaches the target by the rules, else 0. It doesn't take the format.
    correct: int
    # 1 if the completion has the R1 format, else 0. It doesn't take a correct answer.
    format: int
    # The answer without the white space around it, cut to the length that is graded; None where it
    # isn't clear which answer is meant.
    extracted: str | None
    # "ok" if correct, otherwise why not, as a short sentence.
    reason: str


def grade(completion: str, nums: Sequence[int], target: int) -> Grade:
    """Grade one completion. Never raises, and takes bounded time, whatever the completion."""
    parsed = tags.parse(completion)
    if parsed.answer is None:
        return Grade(0, parsed.format, None, parsed.problem)
    answer = parsed.answer.strip(_PADDING)
    problem = _problem(answer, nums, target)
    return Grade(
        correct=int(not problem),
        format=parsed.format,
        extracted=answer[:MAX_CHARACTERS],
        reason=problem or "ok",
    )


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


# The two names below are what TRL logs (`rewards/correct`, `rewards/format`): it takes them from
# `__name__`. Hence a `format` that hides the builtin in this module, which doesn't use the builtin.

Completion = str | Sequence[Mapping[str, str]]


def correct(
    completions: Sequence[Completion],
    nums: Sequence[Sequence[int]],
    target: Sequence[int],
    **kwargs: object,
) -> list[float]:
    """TRL reward: 1.0 for each completion that solves its problem, else 0.0.

    `completions` are plain texts, or conversations whose last message is the completion; `nums` and
    `target` are the columns of the data set, one entry per completion. The rest is ignored.
    """
    return [
        float(grade(_text(completion), numbers, goal).correct)
        for completion, numbers, goal in zip(completions, nums, target, strict=True)
    ]


def format(completions: Sequence[Completion], **kwargs: object) -> list[float]:
    """TRL reward: 1.0 for each completion in the R1 format, else 0.0.

    `completions` are as for `correct`; the rest is ignored.
    """
    return [float(tags.parse(_text(completion)).format) for completion in completions]


def _text(completion: Completion) -> str:
    return completion if isinstance(completion, str) else completion[-1]["content"]


# Terms that a recipe may name.
REWARDS = ("correct", "format")
