"""Raw MATH rows to normalised ones, with `level` and `subject`."""

import re

import polars as pl

from r1zero.tasks.rows import filled, first_of, in_words, text


def normalise(frame: pl.LazyFrame, where: str) -> pl.DataFrame:
    """Read questions, answers, levels and subjects from the columns of any published MATH set.

    A given answer precedes that of the worked solution, which is used where it is empty.
    """
    schema = frame.collect_schema()
    question = first_of(schema, where, "problem", "question")
    first_of(schema, where, "answer", "final_answer", "solution")
    answers = [
        filled(text(schema, name, where).str.strip_chars())
        for name in ("answer", "final_answer")
        if name in schema
    ]
    if "solution" in schema:
        solution = text(schema, "solution", where)
        answers.append(solution.map_elements(boxed, return_dtype=pl.String))
    level, subject = pl.lit(None, pl.String), pl.lit(None, pl.String)
    if "level" in schema:
        level = text(schema, "level", where)
    if named := [name for name in ("subject", "type") if name in schema]:
        subject = text(schema, named[0], where)
    return in_words(
        frame,
        "question",
        text(schema, question, where),
        pl.coalesce(answers),
        level=level.str.extract(r"(\d+)").cast(pl.Int64, strict=False),  # 3, or "Level 3"
        subject=filled(subject),
    )


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
