"""The formats of rows: from the columns that a file has to those that later stages read.

A normalised row has the fields of its prompt and an `answer`, and a `problem_id`, which is the same
for equal problems wherever they come from. What a row lacks is null.
"""

import hashlib
import re
import unicodedata
from collections.abc import Callable
from typing import NamedTuple

import polars as pl

from r1zero.core.errors import UserError

_INTEGERS = r"^\s*\[\s*\d+(\s*,\s*\d+)*\s*\]\s*$"
_INTEGER = r"^-?\d+$"


class Format(NamedTuple):
    """What is known of a format."""

    fields: dict[str, str]
    """Fields that a prompt template may have, each with its column."""
    normalise: Callable[[pl.LazyFrame, str], pl.DataFrame]
    """From the columns of a file, which is named in errors, to those of the format."""


def problem_id(text: str) -> str:
    """Identity of a problem in words: characters composed (NFC), white space collapsed."""
    plain = " ".join(unicodedata.normalize("NFC", text).split())
    return hashlib.sha256(plain.encode()).hexdigest()[:16]


def boxed(solution: str) -> str | None:
    r"""Content of the last `\boxed{...}` or `\fbox{...}`, or of `\boxed x` up to the next `$`."""
    start = max(solution.rfind(r"\boxed"), solution.rfind(r"\fbox"))
    if start < 0:
        return None
    content = re.sub(r"^\\(boxed|fbox)\s*", "", solution[start:])
    if not content.startswith("{"):
        return content.partition("$")[0].strip()
    depth = 0
    # An escaped brace is a character of the answer and closes nothing.
    for match in re.finditer(r"\\.|[{}]", content, re.DOTALL):
        depth += {"{": 1, "}": -1}.get(match[0], 0)
        if depth == 0:
            return content[1 : match.start()].strip()
    return None


def _countdown(frame: pl.LazyFrame, where: str) -> pl.DataFrame:
    schema = frame.collect_schema()
    nums, target = (schema[_first_of(schema, where, name)] for name in ("nums", "target"))
    rows = frame.select(nums=_integer_list(nums), target=_integer(target)).collect()
    numbers = pl.col("nums").list
    for name, wanted, holds in (
        ("nums", "a list of positive integers", (numbers.min() > 0) & ~numbers.contains(None)),
        ("target", "an integer", pl.col("target").is_not_null()),
    ):
        wrong = rows.select(holds.fill_null(False).not_().arg_true()).to_series()
        if len(wrong):
            raise UserError(f"{name} is not {wanted}", where=f"{where}, row {wrong[0] + 1}")
    key = numbers.sort().cast(pl.List(pl.String)).list.join("-")
    return rows.select(
        pl.format("{}={}", key, "target").alias("problem_id"),
        "nums",
        "target",
        answer=pl.col("target").cast(pl.String),
    )


def _integer_list(dtype: pl.DataType) -> pl.Expr:
    """The numbers of Countdown; what is no list of integers is null, an item that is none too."""
    column, wanted = pl.col("nums"), pl.List(pl.Int64)
    if isinstance(dtype, pl.List | pl.Array) and dtype.inner.is_integer():
        return column.cast(wanted, strict=False)
    if dtype == pl.String:
        found = column.str.extract_all(r"\d+").cast(wanted, strict=False)
        return pl.when(column.str.contains(_INTEGERS)).then(found)
    return pl.lit(None, wanted)


def _integer(dtype: pl.DataType) -> pl.Expr:
    """The target of Countdown; what is no integer is null."""
    column = pl.col("target")
    if dtype.is_integer():
        return column.cast(pl.Int64, strict=False)
    if dtype == pl.String:
        text = column.str.strip_chars()
        return pl.when(text.str.contains(_INTEGER)).then(text.cast(pl.Int64, strict=False))
    return pl.lit(None, pl.Int64)


def _gsm8k(frame: pl.LazyFrame, where: str) -> pl.DataFrame:
    schema = frame.collect_schema()
    question, answer = (_first_of(schema, where, name) for name in ("question", "answer"))
    # The worked solution ends in `#### 1,234`.
    final = _text(schema, answer, where).str.extract(r"(?s)^.*####(.*)$").str.strip_chars()
    return _in_words(
        frame, "question", _text(schema, question, where), final.str.replace_all(",", "")
    )


def _math(frame: pl.LazyFrame, where: str) -> pl.DataFrame:
    schema = frame.collect_schema()
    question = _first_of(schema, where, "problem", "question")
    _first_of(schema, where, "answer", "final_answer", "solution")
    # A given answer goes before that of the solution, which stands in where it is empty.
    answers = [
        _filled(_text(schema, name, where).str.strip_chars())
        for name in ("answer", "final_answer")
        if name in schema
    ]
    if "solution" in schema:
        solution = _text(schema, "solution", where)
        answers.append(solution.map_elements(boxed, return_dtype=pl.String))
    level, subject = pl.lit(None, pl.String), pl.lit(None, pl.String)
    if "level" in schema:
        level = _text(schema, "level", where)
    if named := [name for name in ("subject", "type") if name in schema]:
        subject = _text(schema, named[0], where)
    return _in_words(
        frame,
        "question",
        _text(schema, question, where),
        pl.coalesce(answers),
        level=level.str.extract(r"(\d+)").cast(pl.Int64, strict=False),  # 3, or "Level 3"
        subject=_filled(subject),
    )


def _tldr(frame: pl.LazyFrame, where: str) -> pl.DataFrame:
    schema = frame.collect_schema()
    post, summary = (_first_of(schema, where, name) for name in ("prompt", "completion"))
    return _in_words(frame, "post", _text(schema, post, where), _text(schema, summary, where))


def _in_words(
    frame: pl.LazyFrame, field: str, question: pl.Expr, answer: pl.Expr, **more: pl.Expr
) -> pl.DataFrame:
    """Rows of a problem in words: `problem_id`, the field of its prompt, `more`, `answer`."""
    rows = frame.select(_filled(question).alias(field), **more, answer=_filled(answer)).collect()
    identity = pl.col(field).map_elements(problem_id, return_dtype=pl.String)
    return rows.select(identity.alias("problem_id"), pl.all())


def _first_of(schema: pl.Schema, where: str, *names: str) -> str:
    """The first of some columns that there is."""
    for name in names:
        if name in schema:
            return name
    wanted = " or ".join(f"'{name}'" for name in names)
    raise UserError(f"no column {wanted}", where=where, hint=f"there are: {', '.join(schema)}")


def _text(schema: pl.Schema, name: str, where: str) -> pl.Expr:
    """A column as text: 27.0 is 27, and a list its items, with commas between them."""
    column, dtype = pl.col(name), schema[name]
    if dtype.is_float():
        return column.cast(pl.String).str.strip_suffix(".0")
    if isinstance(dtype, pl.List) and not dtype.inner.is_nested():
        return column.cast(pl.List(pl.String)).list.join(", ")
    if dtype.is_nested():
        raise UserError(f"column '{name}' is no text but {dtype}", where=where)
    return column.cast(pl.String)


def _filled(text: pl.Expr) -> pl.Expr:
    """Text as it is; null where there is only white space."""
    return pl.when(text.str.strip_chars() != "").then(text)


FORMATS = {
    "countdown": Format({"numbers": "nums", "target": "target"}, _countdown),
    "gsm8k": Format({"question": "question"}, _gsm8k),
    "math": Format({"question": "question"}, _math),
    "tldr": Format({"post": "post"}, _tldr),
}
