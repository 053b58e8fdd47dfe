"""Raw GSM8K rows `question, answer` to normalised ones."""

import polars as pl

from r1zero.tasks.rows import asked, first_of, in_words, text


def normalise(frame: pl.LazyFrame, where: str) -> pl.DataFrame:
    """Take the number after `####` in the worked solution as the answer."""
    schema = frame.collect_schema()
    question, answer = (first_of(schema, where, name) for name in ("question", "answer"))
    # The worked solution ends in `#### 1,234`.
    final = text(schema, answer, where).str.extract(r"(?s)^.*####(.*)$").str.strip_chars()
    return in_words(
        frame, "question", asked(frame, question, where), final.str.replace_all(",", "")
    )
