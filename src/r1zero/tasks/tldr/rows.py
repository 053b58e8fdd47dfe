"""Raw TL;DR rows `prompt, completion` to normalised ones."""

import polars as pl

from r1zero.tasks.rows import asked, first_of, in_words, text


def normalise(frame: pl.LazyFrame, where: str) -> pl.DataFrame:
    """Take the reference summary as the answer; no grader reads it."""
    schema = frame.collect_schema()
    post, summary = (first_of(schema, where, name) for name in ("prompt", "completion"))
    return in_words(frame, "post", asked(frame, post, where), text(schema, summary, where))
