"""Print how many Countdown completions one core grades per second.

    PYTHONPATH=src python scripts/bench_grader.py [ROLLOUTS.jsonl.gz]

The file has one JSON object per line with `completion`, `nums_in_answer` and `value`; without it
only written-out completions are measured.
"""

import gzip
import json
import sys
import time
from collections.abc import Sequence

from r1zero.rewards.countdown import grade

Item = tuple[str, list[int], int]

NUMS, TARGET = [3, 4, 7, 12], 53
WRITTEN = {
    "short, correct": "12 + 3</think>\n<answer>(12 + 3) * 4 - 7</answer>",
    "short, wrong value": "12 + 3</think>\n<answer>(12 + 4) * 3 - 7</answer>",
    "short, wrong numbers": "12 + 3</think>\n<answer>(12 + 3) * 5 - 7</answer>",
    "short, not arithmetic": "12 + 3</think>\n<answer>(12 + 3) * 4 - 7 = 53</answer>",
    "short, no answer": "I will try (12 + 3) * 4 - 7",
    "long thought (4,000 characters)": "12 + 3; " * 500 + "</think>\n<answer>(12+3)*4-7</answer>",
    "deepest answer": f"x</think>\n<answer>{'(' * 32}1{'+1)' * 32}</answer>",
    "longest answer": "x</think>\n<answer>" + "+".join(["99/98"] * 42) + "</answer>",
}


def main() -> None:
    """Measure each kind of completion for about half a second."""
    for name, completion in WRITTEN.items():
        report(name, [(completion, NUMS, TARGET)])
    for path in sys.argv[1:]:
        with gzip.open(path, "rt", encoding="utf-8") as stream:
            rows = [json.loads(line) for line in stream]
        report(path, [(row["completion"], row["nums_in_answer"], row["value"]) for row in rows])


def report(name: str, items: Sequence[Item]) -> None:
    """Print the speed on `items`, gone over until half a second has passed."""
    graded = 0
    start = time.perf_counter()
    while (seconds := time.perf_counter() - start) < 0.5:
        for completion, nums, target in items:
            grade(completion, nums, target)
        graded += len(items)
    print(f"{graded / seconds:12,.0f} grades/s  {name}")


if __name__ == "__main__":
    main()
