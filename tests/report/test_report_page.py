from pathlib import Path

import pytest

from r1zero.errors import UserError
from r1zero.report.load import load
from r1zero.report.page import (
    chosen_samples,
    duration,
    fenced,
    index,
    inline_code,
    read_completions,
)
from r1zero.report.tables import main_table
from report_files import RunFiles, paths, small_run, write_completions


def run_with_completions(folder: Path, text: str = "<think>…</think>") -> RunFiles:
    """Three problems; base length 50; the trained model solves p0000 and p0001, in 40 and 70."""
    run = RunFiles(folder)
    run.train(steps=[0, 20])
    run.evaluate(0, [[0], [0], [0]], length=[[50]] * 3)
    completions = run.folder / "completions.parquet"
    write_completions(completions, [(f"p{i:04d}", 0, f"{text} {i}", int(i < 2)) for i in range(3)])
    run.evaluate(20, [[1], [1], [0]], length=[[40], [70], [90]], completions=completions)
    return run


def page_of(*runs: RunFiles) -> str:
    results = load(*paths(*runs))
    return index(results, main_table(results))


def test_the_page_has_its_numbers_from_the_files(tmp_path: Path) -> None:
    text = page_of(small_run(tmp_path), small_run(tmp_path, seed=1))
    for part in (
        "scale `mini`",
        "| datawhale_r1 | countdown | trl | 0, 1 | mini-base | 0, 20, 40 |",
        "Some CPU, 2 cores, 23.5 GiB",
        "torch 2.13.0, transformers 5.17.0, trl 1.16.0",
        "c0ffee" * 6,
        "| 40 × 2 |",
        "| 5.0 min | 123,456 | 38 s |",
        "| `config-of-da` | `da7ada7ada7a` | `c0ffeec0ffee` |",
        "metrics.jsonl",
        "figures/learning_curve.svg",
        "accuracy (%)",
    ):
        assert part in text
    assert "## Samples" not in text


def test_samples_are_chosen_by_rule(tmp_path: Path) -> None:
    run = run_with_completions(tmp_path)
    suite = load(*paths(run))[0].suites[0]
    completions = read_completions(run.folder / "completions.parquet", suite.trained)
    chosen = {title: row["problem_id"] for title, row in chosen_samples(suite, completions)}
    assert chosen == {
        "Correct": "p0000",
        "Correct, longer than the base model's mean": "p0001",
        "Wrong": "p0002",
    }
    assert "<think>…</think> 2" in page_of(run)


def test_completions_cannot_leave_their_fence(tmp_path: Path) -> None:
    text = page_of(run_with_completions(tmp_path, "```\n# Heading\n````\n<img src=x>"))
    opening = text.index("`````text")
    assert text.index("# Heading", opening) < text.index("\n`````\n", opening)


def test_fences() -> None:
    assert fenced("a") == "```text\na\n```"
    assert fenced("a ```` b") == "`````text\na ```` b\n`````"
    assert fenced("a\x1b[31m\u202eb\tc\n") == "```text\na\ufffd[31m\ufffdb\tc\n\n```"
    assert "[… 500 more characters]" in fenced("x" * 2000)


def test_inline_code() -> None:
    assert inline_code("a b") == "`a b`"
    assert inline_code("a `b`\nc") == "`` a `b`⏎c ``"


@pytest.mark.parametrize(
    ("seconds", "expected"), [(9.6, "10 s"), (300.1, "5.0 min"), (11520, "3.2 h")]
)
def test_durations(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected


def test_completions_with_other_columns_are_refused(tmp_path: Path) -> None:
    run = run_with_completions(tmp_path)
    path = run.folder / "completions.parquet"
    path.write_text("no parquet")
    with pytest.raises(UserError, match="problem_id, sample, completion, correct") as caught:
        page_of(run)
    assert str(path) in str(caught.value)


def test_completions_of_another_evaluation_are_refused(tmp_path: Path) -> None:
    run = run_with_completions(tmp_path)
    path = run.folder / "completions.parquet"
    write_completions(path, [("p0002", 0, "1 + 1", 1)])
    with pytest.raises(UserError, match="problem p0002, sample 0 isn't as in") as caught:
        page_of(run)
    assert str(path) in str(caught.value)
