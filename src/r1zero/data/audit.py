"""What of a dataset's rows is kept, and the count of all that is not, with the reason.

Every row that comes in is kept or left out for exactly one reason, so that the numbers add up.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import polars as pl

Counts = dict[str, int]
_REASONS = {
    "other_numbers": "another count of numbers",
    "no_answer": "no answer",
    "unusable_answer": "an answer that can't be graded",
    "exact_duplicates": "equal to an earlier row",
    "same_problem": "same problem as an earlier row",
    "held_out": "held out",
}


def distinct(
    rows: pl.DataFrame, fields: Sequence[str], numbers: Sequence[int] | None = None
) -> tuple[pl.DataFrame, Counts]:
    """Keep the first row of each problem, and count the others by reason.

    Args:
        rows: Rows of one split.
        fields: Columns of the prompt's fields.
        numbers: Keep the rows with one of these counts of numbers; all if None.

    """
    of_size = rows if numbers is None else rows.filter(pl.col("nums").list.len().is_in(numbers))
    answered = of_size.drop_nulls(["problem_id", "answer"])
    unlike = answered.unique([*fields, "answer"], keep="first", maintain_order=True)
    kept = unlike.unique("problem_id", keep="first", maintain_order=True)
    return kept, {
        "other_numbers": rows.height - of_size.height,
        "no_answer": of_size.height - answered.height,
        "exact_duplicates": answered.height - unlike.height,
        "same_problem": unlike.height - kept.height,
    }


def conflicts(rows: pl.DataFrame) -> int:
    """Problems that occur with different answers."""
    answers = rows.drop_nulls(["problem_id", "answer"]).group_by("problem_id").agg("answer")
    return answers.filter(pl.col("answer").list.n_unique() > 1).height


def hold_out(
    train: pl.DataFrame, held_out: Mapping[str, pl.DataFrame]
) -> tuple[pl.DataFrame, dict[str, Counts]]:
    """Take every held-out problem from the training rows, which are distinct.

    Returns:
        The training rows that are left, and for each held-out set how many problems it has and how
        many of them were in train.

    """
    left, found = train, {}
    for name, rows in held_out.items():
        met = train.join(rows, on="problem_id", how="semi")
        found[name] = {"problems": rows.height, "in_train": met.height}
        left = left.join(rows, on="problem_id", how="anti", maintain_order="left")
    return left, found


def audit(
    rows: Mapping[str, pl.DataFrame],
    fields: Sequence[str],
    held_out: Mapping[str, pl.DataFrame],
    numbers: Sequence[int] | None = None,
    gold_problems: Callable[[Sequence[Mapping[str, Any]]], list[str]] | None = None,
) -> tuple[dict[str, pl.DataFrame], dict[str, Any]]:
    """Keep of each split its distinct problems, and of train those that nothing holds out.

    A training row whose answer no completion can match only wastes rollouts, and is left out. A
    test row of that kind stays, since it belongs to the test set, and is counted.

    Args:
        rows: Rows of `train`, `test` or both.
        fields: Columns of the prompt's fields.
        held_out: Rows to hold out of train besides those of `test`, by a name; distinct.
        numbers: Keep the rows with one of these counts of numbers; all if None.
        gold_problems: Says why each of some rows can't be graded; empty where it can.

    Returns:
        The rows that are kept, and what `audit.json` says of them.

    """
    kept: dict[str, pl.DataFrame] = {}
    left_out: dict[str, Counts] = {}
    unusable: Counts = {}
    for split, frame in rows.items():
        kept[split], left_out[split] = distinct(frame, fields, numbers)
        problems = gold_problems(kept[split].to_dicts()) if gold_problems else []
        bad = pl.Series([bool(problem) for problem in problems], dtype=pl.Boolean)
        unusable[split] = int(bad.sum())
        if split == "train":
            kept[split] = kept[split].filter(~bad) if problems else kept[split]
            left_out[split]["unusable_answer"] = unusable[split]
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
        "conflicting_answers": {split: conflicts(frame) for split, frame in rows.items()},
        "held_out": found,
    }


def reasons(counts: Counts) -> str:
    """Why rows were left out, in words."""
    return ", ".join(f"{_REASONS[reason]} ({n:,})" for reason, n in counts.items() if n)


def describe(found: Mapping[str, Any]) -> str:
    """What `audit.json` holds, as a table for people."""
    left_out, splits = found["left_out"], list(found["rows_in"])
    # A reason that the format does not have is no news.
    answers = ("no_answer", "unusable_answer")
    moot = answers if found["format"] == "countdown" else ("other_numbers",)
    table = [
        ("rows", found["rows_in"]),
        *(
            (f"- {words}", {split: left_out[split].get(reason, "") for split in splits})
            for reason, words in _REASONS.items()
            if reason not in moot and any(reason in left_out[split] for split in splits)
        ),
        ("= kept", found["rows_out"]),
    ]
    width = max(len(words) for words, _ in table)
    lines = [f"{found['dataset']}, format {found['format']}", " " * width + _cells(splits)]
    lines += [words.ljust(width) + _cells(values.values()) for words, values in table]
    for name, counts in found["held_out"].items():
        lines.append(
            f"held out: {name}, {counts['problems']:,} problems, "
            f"{counts['in_train']:,} of them were in train"
        )
    if found["unusable_answers"].get("test"):
        count = found["unusable_answers"]["test"]
        lines.append(
            f"problems in test whose answer can't be graded, and count as wrong: {count:,}"
        )
    for split, count in found["conflicting_answers"].items():
        if count:
            lines.append(f"problems in {split} with different answers: {count:,}")
    return "\n".join(lines)


def _cells(values: Iterable[int | str]) -> str:
    return "".join(f"{v if isinstance(v, str) else format(v, ',')}".rjust(12) for v in values)
