r"""The answer that a completion seems to give, wherever it stands; for the lenient verdict.

It is what the last marker announces: the content of `\boxed{}`, or the beginning of what follows
`####`, `A:` at the start of a line, `Answer:`, "answer is", `<answer>`. Where none does, it is the
last formula or number of the completion, as far as it reaches to both sides. In each case the whole
expression is meant: 5 is not announced by `5x`, `5-6` or `5 or 6`.

The time is linear in the length of the completion.
"""

import re
from collections import deque
from collections.abc import Iterator

from r1zero.tasks.answers.extraction import last_box
from r1zero.tasks.answers.reading import Reading, read, read_last
from r1zero.tasks.answers.tags import WHITE_SPACE

_MARKER = re.compile(
    r"####|^[ \t>*]{0,8}A:|\banswer(?:[ ]is\b|[*_]{0,2}[ ]?:)|<answer>",
    re.IGNORECASE | re.MULTILINE,
)
_CONTENT = "0123456789$\\"
# What is read of a text that goes on.
_WINDOW = 400


def announced(completion: str, *, numbers: bool = False) -> Reading | None:
    """Read the answer that a completion seems to give.

    Args:
        completion: What the model wrote.
        numbers: The answer is a number.

    """
    marker = _last(_MARKER.finditer(completion))
    box = last_box(completion)
    if box is not None and (marker is None or box[0] > marker.start()):
        content = completion[box[0] : box[1]].strip(WHITE_SPACE)
        return read(content, numbers=numbers) if len(content) <= _WINDOW else None
    if marker is not None:
        after = completion[marker.end() : marker.end() + _WINDOW].strip(WHITE_SPACE)
        line, _, _ = after.partition("\n")
        line = line.partition("</answer>")[0]
        if not numbers or any(character in "0123456789" for character in line):
            reading = read(line, numbers=numbers, prose=True)
            if reading.nodes or reading.choice or reading.foreign or numbers:
                return reading
    last = max(completion.rfind(character) for character in _CONTENT)
    if last < 0:
        return None
    # No formula reaches beyond the end of a sentence.
    sentence = max(completion.rfind(end, 0, last) for end in ("\n", ". ", "? ", "! ")) + 1
    start = max(sentence, last - _WINDOW)
    line, _, _ = completion[start : last + _WINDOW].partition("\n")
    return read_last(line, numbers=numbers)


def _last(matches: Iterator[re.Match[str]]) -> re.Match[str] | None:
    last = deque(matches, maxlen=1)
    return last[0] if last else None
