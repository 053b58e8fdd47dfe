r"""Extract the answer of a completion in the format that its prompt asks for.

| answer | where it stands | if there are several |
|---|---|---|
| `tags` | between `<answer>` and `</answer>` | none counts: see `tags` |
| `boxed` | in `\boxed{}` with matching braces | the last counts, as in every published grader |
| `hash` | after `####` at the start of the last line | not possible |
| `line` | after `Answer:` (in any case, as in DAPO) at the start of the last line | not possible |
| `free` | the whole completion is the answer | not possible |

The last line is the last that is not blank; Markdown may stand around its marker and its answer
(`**Answer:** 73`). If the prompt asks for a thought in tags, only the text
after the last `</think>` is searched; without one there is no answer.

The format is right if there is such an answer that is not blank, and before it exactly the thought
that the prompt asks for: one `</think>`, and one `<think>` at the start, which the model has to
write if it is `generated` and may write if it is `prefilled`. If the prompt asks for no thought
(`free`), any text may precede the answer.

Completions are untrusted: time and memory are linear in the length of any text, and nothing raises.
"""

import re

from r1zero.tasks.answers import tags
from r1zero.tasks.answers.tags import END_THINK, THINK, WHITE_SPACE, Parsed
from r1zero.tasks.prompts import Style

# An escaped brace is a character of the answer and does not count as a brace.
_BRACES = re.compile(r"\\boxed[ \t]*\{|\\[\\{}]|[{}]")
# With the Markdown that may stand around them.
_MARKERS = {
    "hash": (re.compile(r"[ \t>*_`]*####"), "####"),
    "line": (re.compile(r"[ \t>*_`#-]*answer[ \t*_]*:", re.IGNORECASE), "Answer:"),
}


def extract(completion: str, style: Style) -> Parsed:
    """Find the answer of a completion where its prompt asks for it, and check the format."""
    if style.answer == "tags":
        return tags.parse(completion, generated=style.thought == "generated")
    text, well_formed = completion, True
    if style.thought != "free":
        thought, closed, text = completion.rpartition(END_THINK)
        if not closed:
            return Parsed(None, "no </think> before the answer", 0)
        opened = thought.startswith(THINK)
        well_formed = (
            (opened or style.thought == "prefilled")
            and END_THINK not in thought
            and completion.find(THINK, len(THINK) if opened else 0) < 0
        )
    answer, problem = _find(text, style)
    return Parsed(answer, problem, int(well_formed and bool(answer and answer.strip())))


def last_boxed(text: str) -> str | None:
    r"""Content of the closed `\boxed{...}` that starts last; None if there is none."""
    box = last_box(text)
    return None if box is None else text[box[0] : box[1]]


def last_box(text: str) -> tuple[int, int] | None:
    r"""Start and end of the content of the closed `\boxed{...}` that starts last."""
    depth = 0
    opened: list[tuple[int, int]] = []  # boxes not closed so far: depth and start of the content
    last: tuple[int, int] | None = None
    # Braces before the first box close none. Its backslash may itself be escaped.
    start = text.find(r"\boxed")
    while start > 0 and text[start - 1] == "\\":
        start -= 1
    for match in _BRACES.finditer(text, start) if start >= 0 else ():
        found = match[0]
        if found == "}":
            if opened and opened[-1][0] == depth:
                begin = opened.pop()[1]
                if last is None or begin > last[0]:
                    last = begin, match.start()
            depth = max(depth - 1, 0)
        elif found == "{":
            depth += 1
        elif found.endswith("{") and found != r"\{":
            depth += 1
            opened.append((depth, match.end()))
    return last


def _find(text: str, style: Style) -> tuple[str | None, str]:
    """The answer in a text without its thought, or None and why there is none."""
    if style.answer == "boxed":
        answer = last_boxed(text)
        return answer, "" if answer is not None else r"no complete \boxed{}"
    text = text.strip(WHITE_SPACE)
    if style.answer == "free":
        return text, ""
    marker, name = _MARKERS[style.answer]
    found = marker.match(text, text.rfind("\n") + 1)
    if found:
        return text[found.end() :], ""
    return None, f"the last line doesn't begin with {name}"
