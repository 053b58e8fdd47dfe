"""Helpers to normalise raw rows: find columns, read them as text, give problems an identity."""

import hashlib
import json
import re
import unicodedata
from typing import Any

import polars as pl

from r1zero.core.errors import UserError

ANSWER_NOTE = "answer_note"
"""Column that says why a row has no answer, or what was done to it, in a word of the audit; null
where there is nothing to say. It is counted and dropped."""

_CHAT = r'^\s*\[\s*\{\s*"(role|content)"\s*:'


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
    """A column as text: 27.0 is 27, and a list its items, with commas between them."""
    column, dtype = pl.col(name), schema[name]
    if dtype.is_float():
        return column.cast(pl.String).str.strip_suffix(".0")
    if isinstance(dtype, pl.List) and not dtype.inner.is_nested():
        return column.cast(pl.List(pl.String)).list.join(", ")
    if dtype.is_nested():
        raise UserError(f"column '{name}' is {dtype}, not text", where=where)
    return column.cast(pl.String)


def asked(frame: pl.LazyFrame, name: str, where: str) -> pl.Expr:
    """A column of problems as text; a list of chat messages is what its user says.

    Raises:
        UserError: A chat has several turns, or no text.

    """
    schema = frame.collect_schema()
    dtype = schema[name]
    messages = isinstance(dtype, pl.List) and _is_message(dtype.inner)
    if not messages:
        if dtype != pl.String:
            return text(schema, name, where)
        chats = pl.col(name).str.contains(_CHAT)
        if not frame.select(chats.any()).collect().item():
            return pl.col(name)
    # Not in an expression: polars would wrap the error.
    values = frame.select(name).collect()[name].to_list()
    texts = [
        _said(value, name, where) if messages or re.match(_CHAT, value or "") else value
        for value in values
    ]
    return pl.lit(pl.Series(name, texts, dtype=pl.String))


def _is_message(dtype: object) -> bool:
    return isinstance(dtype, pl.Struct) and {"role", "content"} <= dict(dtype).keys()


def _said(chat: str | list[dict[str, Any]] | None, name: str, where: str) -> str | None:
    """What the user says in a chat, whose system message is another's prompt."""
    if chat is None:
        return None
    try:
        messages = json.loads(chat) if isinstance(chat, str) else chat
        said = [message["content"] for message in messages if message["role"] == "user"]
        others = {message["role"] for message in messages} - {"system", "user"}
    except (ValueError, TypeError, KeyError):
        raise UserError(f"column '{name}' has a chat that can't be read", where=where) from None
    if len(said) != 1 or others or not isinstance(said[0], str):
        raise UserError(
            f"column '{name}' has a chat that is no problem: it needs one message by the user and "
            f"none by others, and has {len(said)} and {len(messages) - len(said)}",
            where=where,
        )
    return said[0]


def filled(column: pl.Expr) -> pl.Expr:
    """Text as it is; null where there is only white space."""
    return pl.when(column.str.strip_chars() != "").then(column)
