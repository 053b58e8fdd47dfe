r"""Whether an answer is mathematically equal to the gold answer, by math-verify.

math-verify may hang or crash, so import this module only in the processes of `core.sandbox`. Its
own time limits are off, since those processes have one. The module imports nothing else of this
package, so that these processes start fast and stay small.

An answer is read as LaTeX. It may stand in delimiters, as in `$x$`, `\(x\)` or a `\boxed{x}` of its
own, with words around them; an answer without delimiters is read as one formula.
"""

import logging
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal

from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify

# Otherwise it warns in every process that its time limits are off.
logging.getLogger("math_verify").setLevel(logging.ERROR)

Target = Literal["latex", "expr"]
_TARGETS = {
    "latex": LatexExtractionConfig(boxed_match_priority=0),
    "expr": ExprExtractionConfig(),
}
_DELIMITED = re.compile(r"\$[^$]+\$|\\\(|\\\[|\\boxed\b")
# MATH writes a negative thin space after the comma of thousands, which latex2sympy cannot parse.
_THOUSANDS = re.compile(r",\\!(?=[0-9]{3})")
_AFTER_A_FORMULA = " \t\r\n.,;"


def judge(question: tuple[str | None, str, str]) -> tuple[str, bool]:
    """Compare the answer of a completion, and any answer in it, with the gold answer.

    Args:
        question: The extracted answer, if there is one; a text that is searched for another answer
            if the first is wrong; and the gold answer.

    Returns:
        Why the extracted answer is wrong, empty if it is right; and whether any answer is right.

    """
    answer, text, gold = question
    meant = read(gold)
    if not meant:
        return "the gold answer can't be parsed", False
    problem = "no answer" if answer is None else _problem(answer, gold)
    if not problem:
        return "", True
    found = search(text)
    # In most completions the search finds the same wrong answer.
    again = answer is not None and found == read(answer)
    return problem, not again and same(meant, found)


def judge_gold(gold: str) -> str:
    """Why a gold answer cannot be matched; empty if it is found equal to itself."""
    return _problem(gold, gold)


@lru_cache(maxsize=256)  # the completions of a group share their gold answer
def read(answer: str) -> list[Any]:
    """An answer parsed by sympy; empty if it can't be parsed."""
    answer = _THOUSANDS.sub("", answer).strip().rstrip(_AFTER_A_FORMULA)
    if _DELIMITED.search(answer):
        found = search(answer, ["latex"])
        if found:
            return found
    return search(rf"\boxed{{{answer}}}", ["latex"])


def search(
    text: str, targets: Sequence[Target] = ("latex", "expr"), *, unparsed: bool = False
) -> list[Any]:
    """Search a text for answers by math-verify's own rules.

    Args:
        text: Any text.
        targets: Look for LaTeX in delimiters (`latex`), plain numbers and sums (`expr`).
        unparsed: If nothing can be parsed, return the text of the first match.

    """
    found: list[Any] = parse(
        text,
        [_TARGETS[target] for target in targets],
        fallback_mode="first_match" if unparsed else "no_fallback",
        parsing_timeout=None,
    )
    return found


def same(gold: list[Any], answer: list[Any], **options: Any) -> bool:
    """Whether two parsed answers are equal; the options are those of `math_verify.verify`."""
    return bool(verify(gold, answer, timeout_seconds=None, **options))


@lru_cache(maxsize=1024)  # many completions of a group have the same answer
def _problem(answer: str, gold: str) -> str:
    found = read(answer)
    if not found:
        return "the answer can't be parsed"
    return "" if same(read(gold), found) else "not equal to the gold answer"
