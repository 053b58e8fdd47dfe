"""Grading must not slow training down: thousands of completions per step, on one core."""

import time

from graders import grade_countdown as grade

GRADES_PER_SECOND = 20_000


def test_grades_per_second() -> None:
    thought = "Let me try 12 + 3 = 15, then 15 * 4 = 60, and 60 - 7 = 53. That works. " * 5
    completions = [
        f"{thought}</think>\n<answer>(12 + 3) * 4 - 7</answer>",
        f"{thought}</think>\n<answer>12 + 3 * 4 - 7</answer>",
        f"{thought}</think>\n<answer>12 + 3 = 15</answer>",
        thought,
    ]
    rounds = 2_000
    # The best of a few tries: another process may have the core for a while.
    seconds = min(timed(completions, rounds) for _ in range(5))
    speed = rounds * len(completions) / seconds
    print(f"\n{speed:,.0f} grades/s")
    assert speed >= GRADES_PER_SECOND


def timed(completions: list[str], rounds: int) -> float:
    start = time.process_time()
    for _ in range(rounds):
        for completion in completions:
            grade(completion, [3, 4, 7, 12], 53)
    return time.process_time() - start
