"""Rows in forms of their own: read as they are meant, or left out and counted."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from r1zero.core.errors import UserError
from tiny import stage, write_dataset, write_rows

ONE_ANSWER = {"problem": "What is 1 + 1?", "solution": r"It is $\boxed{2}$."}


def made(
    folder: Path, task: str, rows: list[dict[str, Any]], *, split: str = "train"
) -> tuple[dict[str, Any], list[dict[str, Any]], str]:
    """The audit, the rows that are kept, and what is printed."""
    files = {split: [write_rows(folder / "raw.jsonl", rows)]}
    dataset = write_dataset(folder / "dataset", task, files)
    printed = stage("data", "rows", dataset, "--out", folder / "rows")
    audit = json.loads((folder / "rows" / "audit.json").read_text())
    kept = pl.read_parquet(folder / "rows" / f"{split}.parquet").to_dicts()
    return audit, kept, printed


@pytest.mark.parametrize(
    ("problem", "solution", "answer"),
    [
        ("Find all values, separated by commas.", r"$\boxed{1}$ or $\boxed{9}$", "1, 9"),
        ("Find all possible d.", r"\boxed{5-i}, \boxed{11}, \boxed{3+6i}", "5-i, 11, 3+6i"),
        ("Give both points, separated by semicolons.", r"\boxed{(-2,18)};\boxed{(8,38)}",
         "(-2,18), (8,38)"),
        ("Find all x.", r"Either \boxed{2} or \fbox{\frac{1}{2}}, so again \boxed{0.5}", "2, 0.5"),
        # The same answer again, or an intermediate form of it, is one answer.
        ("Find x.", r"We get \boxed{\frac{2}{4}}, which is \boxed{\frac12}.", r"\frac12"),
        ("Find x.", r"\boxed{7} and again \boxed{7.0}", "7.0"),
    ],
)  # fmt: skip
def test_several_boxes_of_one_answer(
    problem: str, solution: str, answer: str, tmp_path: Path
) -> None:
    rows = [{"problem": problem, "solution": solution}]
    audit, kept, printed = made(tmp_path, "math", rows)
    assert [row["answer"] for row in kept] == [answer]
    joined = ", " in answer
    assert audit.get("joined_answers", {"train": 0})["train"] == int(joined)
    assert ("several boxes: 1" in printed) == joined
    assert "answer_note" not in kept[0]


@pytest.mark.parametrize(
    "problem",
    ["Find x.", "Find all solutions, but enter only one of them.", "What is the larger root?"],
)
def test_several_answers_where_one_is_asked_for_leave_the_row_out(
    problem: str, tmp_path: Path
) -> None:
    rows = [{"problem": problem, "solution": r"$\boxed{1}$ or $\boxed{9}$"}, ONE_ANSWER]
    audit, kept, printed = made(tmp_path, "math", rows)
    assert [row["answer"] for row in kept] == ["2"]
    assert audit["left_out"]["train"]["several_boxes"] == 1
    assert audit["left_out"]["train"]["no_answer"] == 0
    assert printed.count("several answers") == 1


def test_a_given_answer_stands_unless_it_is_the_last_of_several_boxes(tmp_path: Path) -> None:
    solution = r"First \boxed{1}, then \boxed{9}."
    rows = [
        {"problem": "Find x.", "solution": solution, "answer": "10"},
        {"problem": "Find y.", "solution": solution, "answer": "9"},
        {"problem": "Find all z.", "solution": solution, "answer": "9"},
    ]
    audit, kept, _ = made(tmp_path, "math", rows)
    assert [row["answer"] for row in kept] == ["10", "1, 9"]
    assert audit["left_out"]["train"]["several_boxes"] == 1
    assert audit["joined_answers"] == {"train": 1}


@pytest.mark.parametrize("text", ["proof", "notfound", "NotFound", "Not found.", "N/A", "nan"])
def test_a_text_that_says_there_is_no_answer_is_none(text: str, tmp_path: Path) -> None:
    rows = [{"problem": "Prove it.", "answer": text}, {"problem": "1 + 1?", "answer": "2"}]
    audit, kept, printed = made(tmp_path, "math", rows)
    assert [row["answer"] for row in kept] == ["2"]
    assert audit["left_out"]["train"]["says_none"] == 1
    assert audit["left_out"]["train"]["no_answer"] == 0
    assert printed.count("no answer") == 1


CHAT = [{"role": "system", "content": "Think."}, {"role": "user", "content": "1 + 1?"}]


@pytest.mark.parametrize("chat", [CHAT, CHAT[1:], json.dumps(CHAT), json.dumps(CHAT[1:])])
@pytest.mark.parametrize("task", ["math", "gsm8k"])
def test_a_chat_is_the_question_of_its_user(task: str, chat: Any, tmp_path: Path) -> None:
    name = "problem" if task == "math" else "question"
    _, kept, _ = made(tmp_path, task, [{name: chat, "answer": "#### 2" if task != "math" else "2"}])
    assert [(row["question"], row["answer"]) for row in kept] == [("1 + 1?", "2")]


@pytest.mark.parametrize(
    "chat",
    [
        [*CHAT, {"role": "assistant", "content": "2"}, {"role": "user", "content": "And + 1?"}],
        [*CHAT, {"role": "assistant", "content": "2"}],
        CHAT[:1],
    ],
)
@pytest.mark.parametrize("as_text", [False, True])
def test_a_chat_of_several_turns_is_refused_by_name(
    chat: list[dict[str, str]], as_text: bool, tmp_path: Path
) -> None:
    rows = [{"problem": json.dumps(chat) if as_text else chat, "answer": "2"}]
    with pytest.raises(UserError, match="column 'problem'") as raised:
        made(tmp_path, "math", rows)
    assert raised.value.where is not None
    assert raised.value.where.endswith("raw.jsonl")


def test_countdown_rows_that_no_expression_solves_leave_train(tmp_path: Path) -> None:
    rows = [
        {"nums": [2, 3], "target": 100},
        {"nums": [1, 3, 4, 6], "target": 24},  # 6 / (1 - 3/4): only with a fraction on the way
        {"nums": [7], "target": 7},
        {"nums": [7], "target": 8},
        {"nums": [1, 1, 1, 1, 1], "target": 99},
    ]
    audit, kept, printed = made(tmp_path, "countdown", rows)
    assert [row["target"] for row in kept] == [24, 7]
    assert audit["left_out"]["train"]["unusable_answer"] == 3
    assert audit["unusable_answers"] == {"train": 3}
    assert "no completion could be right" in printed
    # A test row stays, and is counted.
    audit, kept, printed = made(tmp_path / "test", "countdown", rows[:2], split="test")
    assert len(kept) == 2
    assert audit["unusable_answers"] == {"test": 1}
    assert printed.count("count as wrong: 1") == 1
