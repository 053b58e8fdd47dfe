r"""The R1 format: a thought in `<think>` tags, then one answer in `<answer>` tags.

If the prompt ends in `<think>`, a completion starts inside the thought, and the well-formed text is
`THOUGHT</think>\n<answer>ANSWER</answer>`. A completion that itself begins with `<think>` is read
the same way. If the prompt leaves the tag to the model, the well-formed text is
`<think>THOUGHT</think><answer>ANSWER</answer>`, with any newlines and spaces between the two.

Two questions are independent, since a completion may pass one and fail the other:

- *Which is the answer?* There must be exactly one `<answer>` and one `</answer>` in the completion,
  after the last `</think>`. A draft `<answer>` inside the thought counts as a second answer, and
  then no answer counts: public graders disagree on such completions (some take the first answer,
  some the last). Other text around the answer is ignored here.
- *Is the format right?* There must be exactly one thought and one answer, and nothing but white
  space after them. After a prefilled tag, exactly one newline separates them, as in the regular
  expression that mini-R1 and Datawhale-R1 published; that expression also accepts answer tags
  inside the thought and tags inside the answer, which this module rejects. After a generated tag
  the format is that of simple_GRPO, which counts the tags too. open-r1's format is a special case
  (newlines inside all tags, and exactly one between the two).

Completions are untrusted: everything here is `str.find` and `str.count` of short strings, so the
time is linear in the length of any text.
"""

from dataclasses import dataclass

THINK, END_THINK = "<think>", "</think>"
ANSWER, END_ANSWER = "<answer>", "</answer>"
# ASCII only: `str.strip()` would also remove no-break spaces and other look-alikes.
WHITE_SPACE = " \t\r\n"


@dataclass(frozen=True, slots=True)
class Parsed:
    """The answer of a completion, and whether its format is right."""

    answer: str | None
    """The answer's text; None if there is none or if it is ambiguous."""
    problem: str
    """Why `answer` is None; empty otherwise."""
    format: int
    """1 if the completion has the format that the prompt asks for, else 0."""


def parse(completion: str, *, generated: bool = False) -> Parsed:
    """Find the answer of a completion and check its format.

    Args:
        completion: What the model wrote.
        generated: Whether the model has to write `<think>` itself.

    """
    problem = _count_problem(completion)
    if problem:
        return Parsed(None, problem, 0)
    start, end = completion.find(ANSWER), completion.find(END_ANSWER)
    if end < start:
        return Parsed(None, "</answer> comes before <answer>", 0)
    thought_end = completion.rfind(END_THINK)
    if thought_end < 0:
        return Parsed(None, "no </think> before the answer", 0)
    if start < thought_end or completion.find(THINK, thought_end, start) >= 0:
        return Parsed(None, "the answer is inside a thought", 0)
    return Parsed(
        answer=completion[start + len(ANSWER) : end],
        problem="",
        format=int(_well_formed(completion, thought_end, start, end, generated)),
    )


def _count_problem(completion: str) -> str:
    """Why the answer tags are not exactly one pair; empty if they are."""
    opened, closed = completion.count(ANSWER), completion.count(END_ANSWER)
    if opened == closed == 1:
        return ""
    if opened > 1 or closed > 1:
        return f"several answers: {opened} <answer> and {closed} </answer> tags"
    if opened:
        return "<answer> is not closed"
    return "</answer> without <answer>" if closed else "no <answer> tag"


def _well_formed(completion: str, thought_end: int, start: int, end: int, generated: bool) -> bool:
    """Whether the text around the one answer, which follows the last `</think>`, is right."""
    opened = completion.startswith(THINK)
    between = completion[thought_end + len(END_THINK) : start]
    return (
        (opened or not generated)
        and completion.find(END_THINK) == thought_end
        and completion.find(THINK, len(THINK) if opened else 0) < 0
        and (not between.strip(" \n") if generated else between == "\n")
        and not completion[end + len(END_ANSWER) :].strip(WHITE_SPACE)
    )
