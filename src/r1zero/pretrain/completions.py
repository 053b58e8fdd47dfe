"""Write completions in the format that a prompt asks for."""

from typing import NamedTuple

from r1zero.tasks.prompts import Style


class Frame(NamedTuple):
    """The constant pieces around thought and answer."""

    opening: str
    between: str
    closing: str


# Before and after the answer.
_MARKS = {
    "tags": ("<answer>", "</answer>"),
    "boxed": (r"\boxed{", "}"),
    "hash": ("#### ", ""),
    "line": ("Answer: ", ""),
    "free": ("", ""),
}


def frame(style: Style) -> Frame:
    """Pieces of a completion: `opening THOUGHT between ANSWER closing`."""
    mark, closing = _MARKS[style.answer]
    if style.thought != "free":
        opening = "<think>" if style.thought == "generated" else ""
        return Frame(opening, f"</think>\n{mark}", closing)
    # Hash and line are marks at the start of a line.
    return Frame("", f" {mark}" if style.answer == "boxed" else f"\n{mark}", closing)


def write_completion(style: Style, thought: str, answer: str) -> str:
    """Write a completion in the format of a prompt.

    If neither thought nor answer is marked, the whole completion is the answer.
    """
    if style.thought == style.answer == "free":
        return answer
    opening, between, closing = frame(style)
    return f"{opening}{thought}{between}{answer}{closing}"
