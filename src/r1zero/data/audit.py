"""Select the rows of a dataset, and count those that are left out by reason.

Every row is either kept or left out for exactly one reason, so that the counts add up.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import polars as pl

from r1zero.tasks.base import Task
from r1zero.tasks.rows import ANSWER_NOTE

Counts = dict[str, int]
_REASONS = {
    "other_numbers": "another count of numbers",
    "no_answer": "no answer",
    "says_none": "a text that says there is no answer",
    "several_boxes": "several answers where one is asked for",
    "unusable_answer": "no completion could be right",
    "exact_duplicates": "equal to an earlier row",
    "same_problem": "same problem as an earlier row",
    "held_out": "held out",
}
# Shown only if there are such rows, since most datasets have none.
_RARE = ("other_numbers", "no_answer", "says_none", "several_boxes", "unusable_answer")
# Reasons that a task notes at its rows.
_NOTED = ("says_none", "several_boxes")


def distinct(
    rows: pl.DataFrame, task: Task, numbers: Sequence[int] | None = None
) -> tuple[pl.DataFrame, Counts]:
    """Keep the first row of each problem, and count the others by reason.

    Args:
        rows: Rows of one split.
        task: Task of the rows.
        numbers: Keep the rows with one of these counts of numbers; all if None.

    """
    of_size = rows
    if numbers is not None and task.counted:
        of_size = rows.filter(pl.col(task.counted).list.len().is_in(numbers))
    answered = of_size.drop_nulls(["problem_id", "answer"])
    noted = _notes(of_size.filter(pl.col("answer").is_null() & pl.col("problem_id").is_not_null()))
    answered = answered.drop(ANSWER_NOTE, strict=False)
    contents = [*task.fields.values(), "answer"]
    unlike = answered.unique(contents, keep="first", maintain_order=True)
    kept = unlike.unique("problem_id", keep="first", maintain_order=True)
    return kept, {
        "other_numbers": rows.height - of_size.height,
        "no_answer": of_size.height - answered.height - sum(noted.values()),
        **noted,
        "exact_duplicates": answered.height - unlike.height,
        "same_problem": unlike.height - kept.height,
    }


def _notes(rows: pl.DataFrame) -> Counts:
    """Count rows by what their task has noted of their missing answers."""
    return {note: n for note in _NOTED if (n := _noted(rows, note))}


def _noted(rows: pl.DataFrame, note: str) -> int:
    """Count the rows at which a task has made a note."""
    return int((rows[ANSWER_NOTE] == note).sum()) if ANSWER_NOTE in rows else 0


def conflicts(rows: pl.DataFrame) -> int:
    """Count the problems that occur with different answers."""
    answers = rows.drop_nulls(["problem_id", "answer"]).group_by("problem_id").agg("answer")
    return answers.filter(pl.col("answer").list.n_unique() > 1).height


def hold_out(
    train: pl.DataFrame, held_out: Mapping[str, pl.DataFrame]
) -> tuple[pl.DataFrame, dict[str, Counts]]:
    """Remove every held-out problem from the training rows, which are distinct.

    Returns:
        The remaining training rows, and for each held-out set its number of problems and how many
        of them were in train.

    """
    left, found = train, {}
    for name, rows in held_out.items():
        met = train.join(rows, on="problem_id", how="semi")
        found[name] = {"problems": rows.height, "in_train": met.height}
        left = left.join(rows, on="problem_id", how="anti", maintain_order="left")
    return left, found


def audit(
    rows: Mapping[str, pl.DataFrame],
    task: Task,
    held_out: Mapping[str, pl.DataFrame],
    numbers: Sequence[int] | None = None,
) -> tuple[dict[str, pl.DataFrame], dict[str, Any]]:
    """Keep the distinct problems of each split, and remove held-out problems from train.

    A training row whose answer no completion can match would only waste rollouts, and is left out.
    Such a test row is kept and counted, since it belongs to the test set.

    Args:
        rows: Rows of `train`, `test` or both.
        task: Task of the rows.
        held_out: Rows to hold out of train in addition to those of `test`, by name; distinct.
        numbers: Keep the rows with one of these counts of numbers; all if None.

    Returns:
        The rows that are kept, and the content of `audit.json`.

    """
    kept: dict[str, pl.DataFrame] = {}
    left_out: dict[str, Counts] = {}
    unusable: Counts = {}
    for split, frame in rows.items():
        kept[split], left_out[split] = distinct(frame, task, numbers)
        problems = task.gold_problems(kept[split].to_dicts())
        bad = pl.Series([bool(problem) for problem in problems], dtype=pl.Boolean)
        unusable[split] = int(bad.sum())
        if split == "train":
            kept[split] = kept[split].filter(~bad)
            left_out[split]["unusable_answer"] = unusable[split]
    # Rows whose answer is made of several.
    joined = {split: _noted(frame, "joined_boxes") for split, frame in rows.items()}
    found: dict[str, Counts] = {}
    if "train" in kept:
        before = kept["train"].height
        apart = {split: frame for split, frame in kept.items() if split == "test"}
        kept["train"], found = hold_out(kept["train"], {**apart, **held_out})
        left_out["train"]["held_out"] = before - kept["train"].height
    return kept, {
        "rows_in": {split: frame.height for split, frame in rows.items()},
        "left_out": left_out,
        "rows_out": {split: frame.height for split, frame in kept.items()},
        "unusable_answers": unusable,
        **({"joined_answers": joined} if any(joined.values()) else {}),
        "conflicting_answers": {split: conflicts(frame) for split, frame in rows.items()},
        "held_out": found,
    }


def reasons(counts: Counts) -> str:
    """The reasons why rows were left out, in words."""
    return ", ".join(f"{_REASONS[reason]} ({n:,})" for reason, n in counts.items() if n)


def describe(found: Mapping[str, Any]) -> str:
    """The content of `audit.json` as a readable table."""
    left_out, splits = found["left_out"], list(found["rows_in"])
    table = [
        ("rows", found["rows_in"]),
        *(
            (f"- {words}", {split: left_out[split].get(reason, "") for split in splits})
            for reason, words in _REASONS.items()
            if any(
                left_out[split].get(reason) if reason in _RARE else reason in left_out[split]
                for split in splits
            )
        ),
        ("= kept", found["rows_out"]),
    ]
    width = max(len(words) for words, _ in table)
    lines = [f"{found['dataset']}, task {found['task']}", " " * width + _cells(splits)]
    lines += [words.ljust(width) + _cells(values.values()) for words, values in table]
    for name, counts in found["held_out"].items():
        lines.append(
            f"held out: {name}, {counts['problems']:,} problems, "
            f"{counts['in_train']:,} of them were in train"
        )
    if found["unusable_answers"].get("test"):
        count = found["unusable_answers"]["test"]
        lines.append(
            f"problems in test whose answer can't be graded, which count as wrong: {count:,}"
        )
    for split, count in found.get("joined_answers", {}).items():
        if count:
            lines.append(f"problems in {split} whose answer is that of several boxes: {count:,}")
    for split, count in found["conflicting_answers"].items():
        if count:
            lines.append(f"problems in {split} with different answers: {count:,}")
    return "\n".join(lines)


def _cells(values: Iterable[int | str]) -> str:
    return "".join(f"{v if isinstance(v, str) else format(v, ',')}".rjust(12) for v in values)
