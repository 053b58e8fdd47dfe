r"""Whether an answer means what the gold answer means: math-verify, for the workers of `math`.

This module is imported where it may hang or crash: in the processes of `workers`. math-verify's own
time limits are off, since the processes have one.

An answer is read as LaTeX. It may stand in delimiters, as in `$x$`, `\(x\)` or a `\boxed{x}` of its
own, and may have words around those; without delimiters it is the formula as a whole.
"""

import logging
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal

from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify

# It warns in every process that its time limits are off.
logging.getLogger("math_verify").setLevel(logging.ERROR)

Target = Literal["latex", "expr"]
_TARGETS = {
    "latex": LatexExtractionConfig(boxed_match_priority=0),
    "expr": ExprExtractionConfig(),
}
_DELIMITED = re.compile(r"\$[^$]+\$|\\\(|\\\[|\\boxed\b")
# A thin space backwards after the comma of thousands, which MATH has and latex2sympy can't read.
_THOUSANDS = re.compile(r",\\!(?=[0-9]{3})")
_AFTER_A_FORMULA = " \t\r\n.,;"


def judge(question: tuple[str | None, str, str]) -> tuple[str, bool]:
    """Why an answer is not the gold answer, or nothing if it is; and whether any answer is.

    Args:
        question: The answer, if there is one; a text in which math-verify finds one, asked only
            where the first is wrong; and the gold answer.

    """
    answer, text, gold = question
    meant = read(gold)
    if not meant:
        return "the gold answer can't be parsed", False
    problem = "no answer" if answer is None else _problem(answer, gold)
    if not problem:
        return "", True
    found = search(text)
    # Mostly it is the wrong answer again.
    again = answer is not None and found == read(answer)
    return problem, not again and same(meant, found)


def judge_gold(gold: str) -> str:
    """Why a text can't serve as the gold answer, or nothing if it is found equal to itself."""
    return _problem(gold, gold)


@lru_cache(maxsize=256)  # the completions of a group share their gold answer
def read(answer: str) -> list[Any]:
    """What sympy makes of an answer; nothing if it can't be parsed."""
    answer = _THOUSANDS.sub("", answer).strip().rstrip(_AFTER_A_FORMULA)
    if _DELIMITED.search(answer):
        found = search(answer, ["latex"])
        if found:
            return found
    return search(rf"\boxed{{{answer}}}", ["latex"])


def search(
    text: str, targets: Sequence[Target] = ("latex", "expr"), *, unparsed: bool = False
) -> list[Any]:
    """What math-verify finds in a text, by its own rules.

    Args:
        text: Any text.
        targets: What to look for: LaTeX in delimiters, plain numbers and sums.
        unparsed: Where nothing can be parsed, take the text of what was found.

    """
    found: list[Any] = parse(
        text,
        [_TARGETS[target] for target in targets],
        fallback_mode="first_match" if unparsed else "no_fallback",
        parsing_timeout=None,
    )
    return found


def same(gold: list[Any], answer: list[Any], **options: Any) -> bool:
    """Whether two findings are equal; the options are those of `math_verify.verify`."""
    return bool(verify(gold, answer, timeout_seconds=None, **options))


@lru_cache(maxsize=1024)  # and many of them have the same answer
def _problem(answer: str, gold: str) -> str:
    found = read(answer)
    if not found:
        return "the answer can't be parsed"
    return "" if same(read(gold), found) else "not equal to the gold answer"
