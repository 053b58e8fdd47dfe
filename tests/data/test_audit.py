"""The audit against a count by hand, on any rows."""

from collections import Counter
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from r1zero.data.audit import audit
from r1zero.tasks.registry import TASKS

# Few values, so that rows meet.
NUMBERS = st.lists(st.lists(st.integers(1, 3), min_size=1, max_size=3), max_size=12)
WORDS = st.lists(
    st.tuples(
        st.sampled_from(["a b", "a  b", " a b", "c", "d", " "]), st.sampled_from(["1", "2", ""])
    ),
    max_size=12,
)


def countdown(rows: list[list[int]]) -> pl.DataFrame:
    columns = {"nums": rows, "target": [sum(row) for row in rows]}
    schema = {"nums": pl.List(pl.Int64), "target": pl.Int64}
    return TASKS["countdown"].normalise(pl.LazyFrame(columns, schema=schema), "here")


def questions(rows: list[tuple[str, str]]) -> pl.DataFrame:
    columns = {"question": [q for q, _ in rows], "answer": [a for _, a in rows]}
    schema = {"question": pl.String, "answer": pl.String}
    return TASKS["math"].normalise(pl.LazyFrame(columns, schema=schema), "here")


def check(found: dict[str, Any], kept: dict[str, pl.DataFrame]) -> None:
    """Every row that came in was kept or left out for one reason; nothing held out is in train."""
    for split, rows_in in found["rows_in"].items():
        left_out = found["left_out"][split]
        assert min(left_out.values()) >= 0
        assert rows_in == found["rows_out"][split] + sum(left_out.values())
        assert kept[split].height == found["rows_out"][split]
        assert kept[split]["problem_id"].is_unique().all()
    apart = set(kept["train"]["problem_id"]) & set(kept["test"]["problem_id"])
    assert not apart


@settings(max_examples=200, deadline=None)
@given(NUMBERS, NUMBERS, NUMBERS, st.none() | st.lists(st.integers(1, 3), max_size=3))
def test_numbers_of_an_audit_add_up(
    train: list[list[int]], test: list[list[int]], suite: list[list[int]], sizes: list[int] | None
) -> None:
    held_out = countdown(suite).unique("problem_id", maintain_order=True)
    rows = {"train": countdown(train), "test": countdown(test)}
    kept, found = audit(rows, TASKS["countdown"], {"suite": held_out}, sizes)
    check(found, kept)

    wanted = [row for row in train if sizes is None or len(row) in sizes]
    problems = {tuple(sorted(row)) for row in wanted}
    tested = {tuple(sorted(row)) for row in test if sizes is None or len(row) in sizes}
    of_suite = {tuple(sorted(row)) for row in suite}
    assert found["left_out"]["train"] == {
        "other_numbers": len(train) - len(wanted),
        "no_answer": 0,
        "exact_duplicates": len(wanted) - len({tuple(row) for row in wanted}),
        "same_problem": len({tuple(row) for row in wanted}) - len(problems),
        "unusable_answer": 0,
        "held_out": len(problems & (tested | of_suite)),
    }
    assert found["held_out"] == {
        "test": {"problems": len(tested), "in_train": len(problems & tested)},
        "suite": {"problems": len(of_suite), "in_train": len(problems & of_suite)},
    }
    # The first of each problem stays, in the order of the rows.
    first = {tuple(sorted(row)): row for row in reversed(wanted)}
    stay = [row for row in wanted if first[tuple(sorted(row))] is row]
    out = tested | of_suite
    assert kept["train"]["nums"].to_list() == [r for r in stay if tuple(sorted(r)) not in out]


@settings(max_examples=200, deadline=None)
@given(WORDS, WORDS)
def test_numbers_of_an_audit_of_questions_add_up(
    train: list[tuple[str, str]], test: list[tuple[str, str]]
) -> None:
    rows = {"train": questions(train), "test": questions(test)}
    kept, found = audit(rows, TASKS["math"], {})
    check(found, kept)
    answered = [(question, answer) for question, answer in train if question.strip() and answer]
    problems = {question.replace(" ", "") for question, _ in answered}
    assert found["left_out"]["train"]["no_answer"] == len(train) - len(answered)
    assert found["left_out"]["train"]["exact_duplicates"] == len(answered) - len(set(answered))
    assert found["left_out"]["train"]["same_problem"] == len(set(answered)) - len(problems)
    answers = Counter(q for q, _ in {(q.replace(" ", ""), a) for q, a in answered})
    assert found["conflicting_answers"]["train"] == sum(n > 1 for n in answers.values())


def test_answers_that_cannot_be_graded_leave_train_and_are_counted_in_test() -> None:
    train, test = [("a", "1"), ("b", "bad"), ("c", "3")], [("d", "bad"), ("e", "5")]
    rows = {"train": questions(train), "test": questions(test)}
    kept, found = audit(rows, TASKS["gsm8k"], {})
    check(found, kept)
    assert kept["train"]["question"].to_list() == ["a", "c"]
    assert kept["test"]["question"].to_list() == ["d", "e"]
    assert found["left_out"]["train"]["unusable_answer"] == 1
    assert found["unusable_answers"] == {"train": 1, "test": 1}
