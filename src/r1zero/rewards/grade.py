"""The verdict that every grader gives."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Grade:
    """Verdict on one completion."""

    # Strict verdict: 1 if the answer that stands where the prompt asks for it is right, else 0. It
    # doesn't take the rest of the format.
    correct: int
    # Lenient verdict: 1 if the answer is right wherever it stands, else 0. Never below `correct`.
    lenient: int
    # 1 if the completion has the format that the prompt asks for, else 0. It doesn't take a correct
    # answer.
    format: int
    # The answer of the strict verdict, cut to the length that is graded; None where there is none,
    # or it isn't clear which one is meant.
    extracted: str | None
    # "ok" if correct, otherwise why not, as a short sentence.
    reason: str
