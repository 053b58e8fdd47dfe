r"""What only sympy can tell of two answers.

sympy may hang, so import this module only in the processes of `core.sandbox`.

Answers are read by the grammar of this package. Of what that does not know, such as integrals,
math-verify reads the text.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import product
from typing import Any, Literal

from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify

from r1zero.tasks.answers.nodes import EXPRESSIONS
from r1zero.tasks.answers.reading import Reading, same
from r1zero.tasks.answers.symbolic import differ, expression, judge

Target = Literal["latex", "expr"]
_TARGETS = {
    "latex": LatexExtractionConfig(boxed_match_priority=0),
    "expr": ExprExtractionConfig(),
}


@lru_cache(maxsize=1024)  # many completions have the same answer
def equal(question: tuple[Reading, Reading]) -> bool:
    """Whether an answer, the second that is given, is the gold answer, the first."""
    gold, answer = question
    if not (gold.foreign or answer.foreign):
        return bool(same(gold, answer, judge))
    return any(
        equivalent([one], [other]) and not differ(one, other)
        for one, other in product(_found(gold), _found(answer))
    )


def judge_gold(gold: str) -> str:
    """Why a text with unknown commands can't serve as the gold answer; empty if it can."""
    found = _found_in(gold)
    if not found:
        return "the gold answer can't be parsed"
    return "" if equivalent(found, found) else "the gold answer is not equal to itself"


def _found(reading: Reading) -> Sequence[Any]:
    """What sympy makes of an answer; of what the grammar can read, by its own reading."""
    if reading.foreign:
        return _found_in(reading.source)
    return [expression(node) for node in reading.nodes if isinstance(node, EXPRESSIONS)]


@lru_cache(maxsize=256)  # the completions of a group share their gold answer
def _found_in(text: str) -> list[Any]:
    return search(rf"\boxed{{{text}}}", ["latex"])


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


def equivalent(gold: list[Any], answer: list[Any], **options: Any) -> bool:
    """Whether two findings are equal; the options are those of `math_verify.verify`."""
    return bool(verify(gold, answer, timeout_seconds=None, **options))
