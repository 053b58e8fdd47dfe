"""The one entry to all graders: training and evaluation grade a batch by the name of its task."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from r1zero.core.errors import UserError
from r1zero.rewards import countdown, gsm8k, math, tldr
from r1zero.rewards.grade import Grade
from r1zero.tasks.prompts import Style

TASKS = ("countdown", "gsm8k", "math", "tldr")


def grade_batch(
    task: str, completions: Sequence[str], rows: Sequence[Mapping[str, Any]], style: Style
) -> list[Grade]:
    """Grade completions, each by the row of its problem.

    Args:
        task: One of `TASKS`.
        completions: What the model wrote.
        rows: The columns of the task: `nums` and `target` for Countdown, `answer` for GSM8K and
            MATH.
        style: The format that the prompt asks for.

    """
    if len(completions) != len(rows):
        raise ValueError(f"{len(completions)} completions and {len(rows)} rows")
    match task:
        case "countdown":
            return [
                countdown.grade(completion, row["nums"], row["target"], style)
                for completion, row in zip(completions, rows, strict=True)
            ]
        case "gsm8k":
            return gsm8k.grade(completions, [row["answer"] for row in rows], style)
        case "math":
            return math.grade(completions, [row["answer"] for row in rows], style)
        case "tldr":
            return tldr.grade(completions)
    raise _unknown(task)


def votes(task: str, extracted: Sequence[str | None]) -> list[str | None]:
    """The answer that each completion votes for where the most frequent one counts (maj@k).

    Args:
        task: One of `TASKS`.
        extracted: The answers of the strict verdicts.

    Returns:
        Equal texts for equal answers; None where there is no answer to vote for.

    """
    match task:
        case "countdown":
            vote: Callable[[str], str | None] = countdown.vote
        case "gsm8k":
            vote = gsm8k.vote
        case "math":
            vote = math.vote
        case "tldr":
            return [None] * len(extracted)
        case _:
            raise _unknown(task)
    return [None if answer is None else vote(answer) for answer in extracted]


def gold_problems(task: str, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Why each row can't be graded, as a short sentence; empty where it can.

    For when data is prepared: a row that no answer can satisfy only wastes rollouts.
    """
    match task:
        case "gsm8k":
            return [gsm8k.gold_problem(row["answer"]) for row in rows]
        case "math":
            return math.gold_problems([row["answer"] for row in rows])
        case "countdown" | "tldr":
            return [""] * len(rows)
    raise _unknown(task)


def _unknown(task: str) -> UserError:
    return UserError(
        f"no grader for task '{task}'", where="task", hint=f"there are: {', '.join(TASKS)}"
    )
