"""The grader of MATH on real completions, published verdicts and every gold answer there is."""

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from graders import gold_problems
from graders import grade_math as grade
from r1zero.core.sandbox.workers import Workers
from r1zero.tasks.math.rows import boxed
from r1zero.tasks.prompts import Style

pytestmark = pytest.mark.slow

BOXED = Style(thought="free", answer="boxed")


def rows_of(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as lines:
        return [json.loads(line) for line in lines]


def test_cases_of_math_verify(shared_data: Path) -> None:
    cases = rows_of(shared_data / "verdicts" / "math_verify_cases.jsonl")
    assert len(cases) == 134
    results = Workers("verdict_cases.verdict", deadline=30).map(cases)
    differ = [
        (case["gold"][:60], case["pred"][:60], result)
        for case, result in zip(cases, results, strict=True)
        if result.value != case["expected"]
    ]
    print(f"\n{len(cases) - len(differ)} of {len(cases)} verdicts agree {differ}")
    assert not differ


def test_scored_completions(shared_data: Path) -> None:
    rows = rows_of(shared_data / "completions" / "qwen25math_math_cot_50x8.jsonl")
    verdicts = grade([row["completion"] for row in rows], [row["gold"] for row in rows], BOXED)
    differ = [
        (row["gold"], row["pred"], row["score"], verdict)
        for row, verdict in zip(rows, verdicts, strict=True)
        if bool(verdict.correct) != row["score"]
    ]
    formats = sum(verdict.format for verdict in verdicts)
    print(f"\n{len(rows) - len(differ)} of {len(rows)} agree; {formats} with a box; {differ}")
    assert len(rows) == 400
    assert not differ


def test_cases_of_hendrycks(shared_data: Path) -> None:
    """They compare texts, after some clean-up; two of 16 differ here, each by what it means."""
    cases = rows_of(shared_data / "verdicts" / "hendrycks_is_equiv_cases.jsonl")
    differ = set()
    print()
    for case in cases:
        (verdict,) = grade([rf"\boxed{{{case['b']}}}"], [case["a"]], BOXED)
        if bool(verdict.correct) != case["equivalent"]:
            print(f"{case['name']}: {case['a']!r} and {case['b']!r}: {verdict.reason}")
            differ.add(case["name"])
    # The order of numbers between commas: for math-verify they are a set.
    assert differ == {"test_order", "test_decimals"}


@pytest.mark.parametrize(
    ("name", "unusable"),
    [
        # Prepared by others, who took the spaces out and made `\\` one backslash: no matrix is
        # left whole, "4 \text{ and } 5" became "4{}5", `\mbox{four}` became nothing.
        ("math_train_7500.jsonl.gz", 106),
        ("math500_test.jsonl", 0),
        ("aime24_test.jsonl", 0),
    ],
)
def test_gold_answers_that_cannot_be_parsed(shared_data: Path, name: str, unusable: int) -> None:
    golds = [row["answer"] for row in rows_of(shared_data / "math" / name)]
    found = [
        (gold, problem)
        for gold, problem in zip(golds, gold_problems("math", golds), strict=True)
        if problem
    ]
    print(f"\n{name}: {len(found)} of {len(golds)}: {Counter(problem for _, problem in found)}")
    for gold, problem in found:
        print(f"  {gold!r}: {problem}")
    assert len(found) == unusable


def test_gold_answers_of_the_solutions(shared_data: Path) -> None:
    r"""As they were written: two are in no box, and one has `\phantom`."""
    golds = [
        boxed(row["solution"]) or ""
        for row in rows_of(shared_data / "math" / "math_train_7500.jsonl.gz")
    ]
    found = [
        (gold, problem)
        for gold, problem in zip(golds, gold_problems("math", golds), strict=True)
        if problem
    ]
    print(f"\n{len(found)} of {len(golds)}: {found}")
    assert len(found) == 3
