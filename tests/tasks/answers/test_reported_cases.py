"""Cases of public bug reports about other graders, with the verdicts that are right."""

import json
from pathlib import Path

from graders import grade_gsm8k, grade_math
from r1zero.tasks.prompts import Style


def test_reported_cases(shared_data: Path) -> None:
    lines = (shared_data / "reports" / "grader_cases.jsonl").read_text(encoding="utf-8")
    cases = [json.loads(line) for line in lines.splitlines()]
    differ = []
    for case in cases:
        grade = grade_gsm8k if case["task"] == "gsm8k" else grade_math
        style = Style(thought="free", answer=case["style"])
        (verdict,) = grade([case["completion"]], [case["answer"]], style)
        if (verdict.lenient if case["lenient"] else verdict.correct) != case["right"]:
            differ.append((case, verdict))
    print(f"\n{len(cases) - len(differ)} of {len(cases)} verdicts are right; {differ}")
    assert len(cases) == 66
    assert not differ
