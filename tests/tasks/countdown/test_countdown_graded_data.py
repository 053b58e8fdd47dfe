"""The grader on real problems and real rollouts."""

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from graders import grade_countdown as grade

ROLLOUTS = "completions/qwen25_3b_countdown_success.jsonl.gz"


def rollouts_of(shared_data: Path) -> list[dict[str, Any]]:
    with gzip.open(shared_data / ROLLOUTS, "rt", encoding="utf-8") as stream:
        return [json.loads(line) for line in stream]


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("countdown_tasks_3to4_train_first10240.jsonl", 10_240),
        ("countdown_tasks_3to4_test1024.jsonl", 1_024),
    ],
)
def test_every_shipped_solution_is_correct(shared_data: Path, name: str, rows: int) -> None:
    lines = (shared_data / "countdown" / name).read_text(encoding="utf-8").splitlines()
    assert len(lines) == rows
    for line in lines:
        problem = json.loads(line)
        completion = f"x</think>\n<answer>{problem['solution']}</answer>"
        verdict = grade(completion, problem["nums"], problem["target"])
        assert (verdict.correct, verdict.format) == (1, 1), (problem, verdict)
        assert not grade(completion, problem["nums"], problem["target"] + 1).correct


def test_rollouts_that_a_public_reward_passed(shared_data: Path) -> None:
    """Four of 2,281 fail here, each for a reason that the public reward doesn't look at."""
    rollouts = rollouts_of(shared_data)
    verdicts = [grade(row["completion"], row["nums_in_answer"], row["value"]) for row in rollouts]
    reasons = Counter(verdict.reason for verdict in verdicts)
    print(f"\n{reasons['ok']} of {len(rollouts)} rollouts agree; the others:")
    for index, verdict in enumerate(verdicts):
        if not verdict.correct:
            print(f"  row {index}: {verdict.reason} ({verdict.extracted})")
    assert reasons == {
        "ok": 2277,
        # (-8 + 30) + 79 - 37 and (-27 + 96) - 17: a sign is none of the four operations.
        "not an arithmetic expression: unexpected '-'": 2,
        # Five thoughts and five answers by turns; the public reward took the first answer.
        "several answers: 5 <answer> and 5 </answer> tags": 1,
        # The thought is never closed, so that what stands in it is no answer yet.
        "no </think> before the answer": 1,
    }


def test_format_of_rollouts_that_a_public_reward_passed(shared_data: Path) -> None:
    """The public reward for the format is another function; these passed the one for the answer."""
    verdicts = [grade(row["completion"], [], 0) for row in rollouts_of(shared_data)]
    # The nine others have text or a blank line before the answer, text after it, several thoughts
    # or answers, or a thought that is never closed.
    assert sum(verdict.format for verdict in verdicts) == 2272
