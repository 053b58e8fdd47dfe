"""The grader of GSM8K on its own solutions, and on those that OpenAI labelled."""

import gzip
import json
from pathlib import Path

import pytest

from graders import gold_problems
from graders import grade_gsm8k as grade
from r1zero.tasks.prompts import Style

HASH = Style(thought="free", answer="hash")


def test_labelled_solutions(shared_data: Path) -> None:
    """They end in `A: 26`, which is no `#### 26`: the lenient verdict is the one to compare."""
    with gzip.open(shared_data / "gsm8k" / "openai_model_solutions.jsonl.gz", "rt") as lines:
        rows = [json.loads(line) for line in lines]
    verdicts = grade([row["solution"] for row in rows], [row["gold"] for row in rows], HASH)
    differ = [
        (row["gold"], row["is_correct"], row["solution"][-80:])
        for row, verdict in zip(rows, verdicts, strict=True)
        if bool(verdict.lenient) != row["is_correct"]
    ]
    right = sum(verdict.lenient for verdict in verdicts)
    print(f"\n{len(rows) - len(differ)} of {len(rows)} labels agree, {right} right; {differ}")
    assert (len(rows), right) == (5276, 2001)
    assert not differ


@pytest.mark.parametrize(("name", "count"), [("train.jsonl", 7473), ("test.jsonl", 1319)])
def test_every_shipped_solution_is_correct(shared_data: Path, name: str, count: int) -> None:
    lines = (shared_data / "gsm8k" / name).read_text(encoding="utf-8").splitlines()
    solutions = [json.loads(line)["answer"] for line in lines]
    golds = [solution.rpartition("####")[2].strip() for solution in solutions]
    assert len(golds) == count
    assert not any(gold_problems("gsm8k", golds))
    for verdict in grade(solutions, golds, HASH):
        assert (verdict.correct, verdict.lenient, verdict.format) == (1, 1, 1), verdict
