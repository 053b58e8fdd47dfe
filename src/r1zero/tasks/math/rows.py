"""Raw MATH rows to normalised ones, with `level` and `subject`."""

import re

import polars as pl

from r1zero.tasks.answers.reading import Reading, read, same
from r1zero.tasks.rows import ANSWER_NOTE, asked, filled, first_of, in_words, text

_BOX = re.compile(r"\\(?:boxed|fbox)\s*")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
# Texts that data sets have in the place of an answer.
_SAYS_NONE = frozenset(("proof", "notfound", "not found", "n/a", "nan", "null"))
_ASKS_FOR_SEVERAL = re.compile(
    r"separated by|\b(?:find|give|list|enter|determine|state|name|what are) (?:all|both|every)\b"
    r"|\b(?:as|in) a list\b",
    re.IGNORECASE,
)
_ASKS_FOR_ONE = re.compile(r"\b(?:only one|either of|any one|one of them)\b", re.IGNORECASE)


def normalise(frame: pl.LazyFrame, where: str) -> pl.DataFrame:
    """Read questions, answers, levels and subjects from the columns of any published MATH set.

    A given answer precedes that of the worked solution, which is used where it is empty. If the
    solution has several answers in boxes, they are one answer where the problem asks for several
    (`gold_answer`); elsewhere the row has none.
    """
    schema = frame.collect_schema()
    question = first_of(schema, where, "problem", "question")
    first_of(schema, where, "answer", "final_answer", "solution")
    given = [
        filled(text(schema, name, where).str.strip_chars())
        for name in ("answer", "final_answer")
        if name in schema
    ]
    solution, level, subject = (pl.lit(None, pl.String) for _ in range(3))
    if "solution" in schema:
        solution = text(schema, "solution", where)
    if "level" in schema:
        level = text(schema, "level", where)
    if named := [name for name in ("subject", "type") if name in schema]:
        subject = text(schema, named[0], where)
    problem = asked(frame, question, where)
    golds = pl.struct(
        problem=problem, solution=solution, given=pl.coalesce(given or [pl.lit(None, pl.String)])
    ).map_elements(
        _gold, return_dtype=pl.Struct({"answer": pl.String, "note": pl.String}), skip_nulls=False
    )
    return in_words(
        frame,
        "question",
        problem,
        golds.struct.field("answer"),
        level=level.str.extract(r"(\d+)").cast(pl.Int64, strict=False),  # 3, or "Level 3"
        subject=filled(subject),
        **{ANSWER_NOTE: golds.struct.field("note")},
    )


def _gold(row: dict[str, str | None]) -> dict[str, str | None]:
    answer, note = gold_answer(row["problem"] or "", row["solution"] or "", row["given"])
    return {"answer": answer, "note": note or None}


def gold_answer(problem: str, solution: str, given: str | None) -> tuple[str | None, str]:
    """The gold answer of a row, and a note on it.

    Args:
        problem: Text of the problem.
        solution: Worked solution, or nothing.
        given: The answer that the row gives besides the solution.

    Returns:
        The answer or None; and `says_none`, `several_boxes` where there is none for that reason,
        `joined_boxes` where it is made of several.

    """
    if given and given.casefold().strip(" .") in _SAYS_NONE:
        return None, "says_none"
    last = boxed(solution)
    found = _different(boxes(solution)) if len(_BOX.findall(solution)) > 1 else []
    if len(found) < 2:
        return given or last, ""
    # A given answer stands, unless others have taken it from the last box alone.
    if given and not (last and _are_same(read(last), read(given))):
        return given, ""
    if _ASKS_FOR_SEVERAL.search(problem) and not _ASKS_FOR_ONE.search(problem):
        return ", ".join(found), "joined_boxes"
    return None, "several_boxes"


def boxed(solution: str) -> str | None:
    r"""Content of the last `\boxed{...}` or `\fbox{...}`, or of `\boxed x` up to the next `$`."""
    start = max(solution.rfind(r"\boxed"), solution.rfind(r"\fbox"))
    return _content(solution, start) if start >= 0 else None


def boxes(solution: str) -> list[str]:
    """Contents of all boxes, as `boxed` reads one; those that are not closed are left out."""
    found = (_content(solution, match.start()) for match in _BOX.finditer(solution))
    return [content for content in found if content is not None]


def _content(solution: str, start: int) -> str | None:
    opening = _BOX.match(solution, start)
    assert opening is not None
    position = opening.end()
    if solution[position : position + 1] != "{":
        return solution[position:].partition("$")[0].strip()
    depth = 0
    # An escaped brace is a character of the answer and closes nothing.
    for match in _BRACE.finditer(solution, position):
        depth += {"{": 1, "}": -1}.get(match[0], 0)
        if depth == 0:
            return solution[position + 1 : match.start()].strip()
    return None


def _different(contents: list[str]) -> list[str]:
    """Answers that are not the same as a later one, in order; those that say nothing if alone."""
    readable = [text for text in contents if read(text).nodes or read(text).choice]
    found: list[str] = []
    for content in reversed(readable or contents):
        if not any(_are_same(read(content), read(other)) for other in found):
            found.append(content)
    return found[::-1]


def _are_same(one: Reading, other: Reading) -> bool:
    return bool(same(one, other) or same(other, one))
