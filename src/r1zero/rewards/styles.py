r"""Where the answer of a completion stands, by the format that its prompt asks for.

| answer | where it stands | if there are several |
|---|---|---|
| `tags` | between `<answer>` and `</answer>` | none is meant: see `tags` |
| `boxed` | in `\boxed{}` with matching braces | the last is meant, as in every published grader |
| `hash` | after `####` at the start of the last line | the last line holds one |
| `line` | after `Answer:` (in any case, as DAPO has it) at the start of the last line | idem |
| `free` | the whole completion is it | idem |

The last line is the last that is not blank. Markdown may stand around its mark and its answer
(`**Answer:** 73`). After a thought in tags the answer is looked for behind
the last `</think>` only; without one there is no answer.

The format is right if there is such an answer that is not blank, and around it exactly the thought
that the prompt asks for: one `</think>`, and one `<think>` at the start, which the model must have
written where it is `generated` and may have where it is `prefilled`. Where the prompt asks for no
thought (`free`) nothing is asked of the text before the answer.

Completions are hostile: everything here takes time and memory linear in the length, whatever the
text, and raises nothing.
"""

import re

from r1zero.rewards import tags
from r1zero.rewards.tags import END_THINK, THINK, WHITE_SPACE, Parsed
from r1zero.tasks.prompts import Style

# With the Markdown that may stand around them.
_MARKERS = {
    "hash": (re.compile(r"[ \t>*_`]*####"), "####"),
    "line": (re.compile(r"[ \t>*_`#-]*answer[ \t*_]*:", re.IGNORECASE), "Answer:"),
}
# An escaped brace is a character of the answer: it opens and closes nothing.
_BRACES = re.compile(r"\\boxed[ \t]*\{|\\[\\{}]|[{}]")


def extract(completion: str, style: Style) -> Parsed:
    """Find the answer of a completion in the format that its prompt asks for, and judge it."""
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


def last_box(text: str) -> tuple[int, int] | None:
    r"""Where the content of the closed `\boxed{...}` that starts last is; None without one."""
    depth = 0
    opened: list[tuple[int, int]] = []  # boxes not closed so far: depth and start of the content
    last: tuple[int, int] | None = None
    for match in _BRACES.finditer(text):
        found = match[0]
        if found == "}":
            if opened and opened[-1][0] == depth:
                start = opened.pop()[1]
                if last is None or start > last[0]:
                    last = start, match.start()
            depth = max(depth - 1, 0)
        elif found == "{":
            depth += 1
        elif found.endswith("{") and found != r"\{":
            depth += 1
            opened.append((depth, match.end()))
    return last


def last_boxed(text: str) -> str | None:
    r"""Content of the closed `\boxed{...}` that starts last; None without one."""
    box = last_box(text)
    return None if box is None else text[box[0] : box[1]]


def _find(text: str, style: Style) -> tuple[str | None, str]:
    """The answer in a text without its thought, and why there is none."""
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
