"""Print how many completions of each task are graded per second.

    PYTHONPATH=src python scripts/bench_grader.py [ROLLOUTS.jsonl.gz]

The file has Countdown rollouts, one JSON object per line with `completion`, `nums_in_answer` and
`value`; without it only written-out completions are measured. Countdown and GSM8K are graded on one
core, MATH in as many processes as training uses.
"""

import gzip
import json
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from r1zero.tasks.prompts import Style
from r1zero.tasks.registry import find_task

TAGS = Style(thought="prefilled", answer="tags")
HASH = Style(thought="free", answer="hash")
BOXED = Style(thought="free", answer="boxed")

NUMBERS = {"nums": [3, 4, 7, 12], "target": 53}
COUNTDOWN = {
    "short, correct": "12 + 3</think>\n<answer>(12 + 3) * 4 - 7</answer>",
    "short, wrong value": "12 + 3</think>\n<answer>(12 + 4) * 3 - 7</answer>",
    "short, wrong numbers": "12 + 3</think>\n<answer>(12 + 3) * 5 - 7</answer>",
    "short, not arithmetic": "12 + 3</think>\n<answer>(12 + 3) * 4 - 7 = 53</answer>",
    "short, no answer": "I will try (12 + 3) * 4 - 7",
    "long thought (4,000 characters)": "12 + 3; " * 500 + "</think>\n<answer>(12+3)*4-7</answer>",
    "deepest answer": f"x</think>\n<answer>{'(' * 32}1{'+1)' * 32}</answer>",
    "longest answer": "x</think>\n<answer>" + "+".join(["99/98"] * 42) + "</answer>",
}
STEPS = "Then 12 + 30 = 42, and 42 / 2 = 21. " * 10
GSM8K = {
    "correct": f"{STEPS}\n#### 21",
    "wrong": f"{STEPS}\n#### 22",
    "in another format": f"{STEPS} The answer is 21.",
}
# Gold answer and completion; N is another number in each, since processes remember verdicts.
MATH = {
    "the gold answer's text": (r"\frac{N}{7}", r"So it is $\boxed{\frac{N}{7}}$."),
    "right number": (r"\frac{N}{7}", r"So it is $\boxed{N/7}$."),
    "wrong number": (r"\frac{N}{7}", r"So it is $\boxed{N}$."),
    "right formula": (r"(x-N)(x+2)", r"So it is $\boxed{x^2 - (N-2)x - 2 \cdot N}$."),
    "wrong formula": (r"(x-N)(x+2)", r"So it is $\boxed{x^2 - N}$."),
    "no answer": (r"\frac{N}{7}", "So it is N."),
}


def main() -> None:
    """Measure each kind of completion for about half a second."""
    for name, completion in COUNTDOWN.items():
        report("countdown", name, [completion], [NUMBERS], TAGS)
    for name, completion in GSM8K.items():
        report("gsm8k", name, [completion], [{"answer": "21"}], HASH)
    for name, (gold, completion) in MATH.items():
        numbers = [str(number) for number in range(1001, 2001) if number % 7]
        rows = [{"answer": gold.replace("N", number)} for number in numbers]
        texts = [STEPS + completion.replace("N", number) for number in numbers]
        report("math", name, texts, rows, BOXED)
    for path in sys.argv[1:]:
        with gzip.open(path, "rt", encoding="utf-8") as stream:
            rows = [json.loads(line) for line in stream]
        problems = [{"nums": row["nums_in_answer"], "target": row["value"]} for row in rows]
        report("countdown", path, [row["completion"] for row in rows], problems, TAGS)


def report(
    task: str,
    name: str,
    completions: Sequence[str],
    rows: Sequence[Mapping[str, Any]],
    style: Style,
) -> None:
    """Print the speed on a batch, graded until half a second has passed."""
    grade = find_task(task).grade
    grade(completions[:4], rows[:4], style, {})  # starts the processes, if there are any
    graded = 0
    start = time.perf_counter()
    while (seconds := time.perf_counter() - start) < 0.5:
        grade(completions, rows, style, {})
        graded += len(completions)
    print(f"{graded / seconds:12,.0f} grades/s  {task}: {name}")


if __name__ == "__main__":
    main()
