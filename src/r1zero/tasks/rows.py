"""Helpers to normalise raw rows: find columns, read them as text, give problems an identity."""

import hashlib
import json
import unicodedata
from typing import Any

import polars as pl

from r1zero.core.errors import UserError

ANSWER_NOTE = "answer_note"
"""Column that says why a row has no answer, or what was done to it, in a word of the audit; null
where there is nothing to say. It is counted and dropped."""


def problem_id(text: str) -> str:
    """Identity of a problem in words: characters composed (NFC), white space collapsed."""
    plain = " ".join(unicodedata.normalize("NFC", text).split())
    return hashlib.sha256(plain.encode()).hexdigest()[:16]


def in_words(
    frame: pl.LazyFrame, field: str, question: pl.Expr, answer: pl.Expr, **more: pl.Expr
) -> pl.DataFrame:
    """Rows of a problem in words: `problem_id`, the field of its prompt, `more`, `answer`."""
    rows = frame.select(filled(question).alias(field), **more, answer=filled(answer)).collect()
    identity = pl.col(field).map_elements(problem_id, return_dtype=pl.String)
    return rows.select(identity.alias("problem_id"), pl.all())


def first_of(schema: pl.Schema, where: str, *names: str) -> str:
    """The first of some column names that exists.

    Raises:
        UserError: None of them exists.

    """
    for name in names:
        if name in schema:
            return name
    wanted = " or ".join(f"'{name}'" for name in names)
    raise UserError(f"no column {wanted}", where=where, hint=f"known columns: {', '.join(schema)}")


def text(schema: pl.Schema, name: str, where: str) -> pl.Expr:
    """A column as text: 27.0 is 27, and a list its items, with commas between them.

    A list of chat messages is the content of its message by the user.
    """
    column, dtype = pl.col(name), schema[name]
    if isinstance(dtype, pl.List) and _is_message(dtype.inner):
        return column.map_elements(
            lambda messages: _question_of(list(messages), name, where), return_dtype=pl.String
        )
    if dtype == pl.String:
        is_chat = column.str.contains(r'^\s*\[\s*\{\s*"(role|content)"\s*:')
        return (
            pl.when(is_chat)
            .then(
                pl.when(is_chat)
                .then(column)
                .map_elements(
                    lambda text: _question_of(json.loads(text), name, where), return_dtype=pl.String
                )
            )
            .otherwise(column)
        )
    if dtype.is_float():
        return column.cast(pl.String).str.strip_suffix(".0")
    if isinstance(dtype, pl.List) and not dtype.inner.is_nested():
        return column.cast(pl.List(pl.String)).list.join(", ")
    if dtype.is_nested():
        raise UserError(f"column '{name}' is {dtype}, not text", where=where)
    return column.cast(pl.String)


def _is_message(dtype: object) -> bool:
    return isinstance(dtype, pl.Struct) and {"role", "content"} <= dict(dtype).keys()


def _question_of(messages: list[dict[str, Any]], name: str, where: str) -> str:
    """What the user says in a chat, whose system message is another's prompt."""
    asked = [message["content"] for message in messages if message["role"] == "user"]
    others = {str(message["role"]) for message in messages} - {"system", "user"}
    if len(asked) != 1 or others or not isinstance(asked[0], str):
        raise UserError(
            f"column '{name}' is a chat of several turns, not a problem: "
            f"{len(asked)} messages by the user",
            where=where,
        )
    return asked[0]


def filled(column: pl.Expr) -> pl.Expr:
    """Text as it is; null where there is only white space."""
    return pl.when(column.str.strip_chars() != "").then(column)
