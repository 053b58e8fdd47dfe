import re
import time
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r1zero.tasks.answers.extraction import extract, last_boxed
from r1zero.tasks.prompts import Answer, Style, Thought

BOXED, HASH, LINE, FREE = (
    Style(thought="free", answer=answer) for answer in ("boxed", "hash", "line", "free")
)
GIVEN = Style(thought="prefilled", answer="boxed")
WRITTEN = Style(thought="generated", answer="boxed")
TAGS = Style(thought="generated", answer="tags")

CASES = {
    # name: (style, completion, format, answer)
    "boxed": (BOXED, r"so $\boxed{5}$.", 1, "5"),
    "boxed, braces inside": (BOXED, r"\boxed{\frac{1}{\sqrt{2}}} it is", 1, r"\frac{1}{\sqrt{2}}"),
    "boxed, escaped braces": (BOXED, r"\boxed{\{1, 2\}}", 1, r"\{1, 2\}"),
    "boxed, a lone escaped brace": (BOXED, r"\boxed{\}}", 1, r"\}"),
    "boxed, line break before a brace": (BOXED, r"\boxed{a\\{b}}", 1, r"a\\{b}"),
    "boxed, space before the brace": (BOXED, r"\boxed {5}", 1, "5"),
    "boxed twice": (BOXED, r"\boxed{4}, no, \boxed{5}", 1, "5"),
    "box in a box": (BOXED, r"\boxed{x = \boxed{5}}", 1, "5"),
    "last box not closed": (BOXED, r"\boxed{4}, no, \boxed{5", 1, "4"),
    "box not closed around one that is": (BOXED, r"\boxed{4 \boxed{5}", 1, "5"),
    "boxed after stray braces": (BOXED, r"}}{{ \boxed{5} }", 1, "5"),
    "box not closed": (BOXED, r"\boxed{5", 0, None),
    "box without braces": (BOXED, r"\boxed 5", 0, None),
    "another command": (BOXED, r"\boxedtext{5}", 0, None),
    "empty box": (BOXED, r"\boxed{}", 0, ""),
    "blank box": (BOXED, r"\boxed{ }", 0, " "),
    "boxed after a given thought": (GIVEN, r"x</think>\n\boxed{5}", 1, "5"),
    "given thought, tag repeated": (GIVEN, r"<think>x</think> \boxed{5}", 1, "5"),
    "given thought, not closed": (GIVEN, r"x \boxed{5}", 0, None),
    "boxed in the thought only": (GIVEN, r"\boxed{5}</think> so it is", 0, None),
    "boxed in the thought too": (GIVEN, r"\boxed{4}</think> \boxed{5}", 1, "5"),
    "closed twice": (GIVEN, r"x</think>\boxed{4}</think>\boxed{5}", 0, "5"),
    "opened again": (GIVEN, r"x</think><think>\boxed{5}", 0, "5"),
    "boxed after a written thought": (WRITTEN, r"<think>x</think> \boxed{5}", 1, "5"),
    "thought not opened": (WRITTEN, r"x</think> \boxed{5}", 0, "5"),
    "text before a written thought": (WRITTEN, r"Well <think>x</think> \boxed{5}", 0, "5"),
    "hash": (HASH, "3 + 4 = 7\n#### 7", 1, " 7"),
    "hash, white space around": (HASH, "x\n  #### 7 \n\n", 1, " 7"),
    "hash, no space": (HASH, "####7", 1, "7"),
    "hash on an earlier line": (HASH, "#### 7\nI am sure.", 0, None),
    "hash in the middle of the line": (HASH, "so #### 7", 0, None),
    "hash and nothing": (HASH, "x\n####", 0, ""),
    "heading of a lower level": (HASH, "x\n### 7", 0, None),
    "line": (LINE, "It is so.\nAnswer: 7", 1, " 7"),
    "line, other case": (LINE, "It is so.\nANSWER:7", 1, "7"),
    "line in the middle": (LINE, "Answer: 7\nI am sure.", 0, None),
    "line after words": (LINE, "The answer: 7", 0, None),
    "free": (FREE, " 7\n", 1, "7"),
    "free and empty": (FREE, " \n", 0, ""),
    "free after a thought": (Style(thought="prefilled", answer="free"), "x</think>\n7", 1, "7"),
    "tags": (TAGS, "<think>x</think>\n<answer>7</answer>", 1, "7"),
    "tags, nothing between": (TAGS, "<think>x</think><answer>7</answer>", 1, "7"),
    "tags, not opened": (TAGS, "x</think>\n<answer>7</answer>", 0, "7"),
    "tags, text between": (TAGS, "<think>x</think> so <answer>7</answer>", 0, "7"),
    "tags, several": (TAGS, "<think></think><answer>7</answer><answer>8</answer>", 0, None),
}


@pytest.mark.parametrize("name", CASES)
def test_format_and_answer(name: str) -> None:
    style, completion, format_, answer = CASES[name]
    parsed = extract(completion, style)
    assert (parsed.format, parsed.answer) == (format_, answer)
    assert bool(parsed.problem) == (answer is None)


styles = st.builds(
    Style,
    thought=st.sampled_from(get_args(Thought)),
    answer=st.sampled_from(get_args(Answer)),
)
PIECES = "<think> </think> <answer> </answer> x 7 #### Answer: \\boxed{ { } \\{ \\} \\ \ud800 \0"
pieces = st.sampled_from(["\n", " ", *PIECES.split()])
texts = st.lists(pieces, max_size=14).map("".join)


@settings(deadline=1000)
@given(texts, styles)
def test_no_text_raises_and_the_format_takes_an_answer(completion: str, style: Style) -> None:
    parsed = extract(completion, style)
    assert parsed.format in (0, 1)
    assert (parsed.answer is None) == bool(parsed.problem)
    assert parsed.answer is None or parsed.answer in completion
    if parsed.format:
        assert parsed.answer is not None


# As published by simple_GRPO and open-r1.
SIMPLE_GRPO = re.compile(r"^<think>.*?</think>[\n ]*<answer>.*?</answer>$", re.DOTALL)
OPEN_R1 = re.compile(r"^<think>\n.*?\n</think>\n<answer>\n.*?\n</answer>$", re.DOTALL)


@settings(deadline=1000)
@given(texts)
def test_generated_thought_agrees_with_the_published_formats(completion: str) -> None:
    ours = extract(completion, TAGS).format
    text = completion.rstrip(" \t\r\n")
    one_of_each = all(
        text.count(tag) == 1 for tag in ("<think>", "</think>", "<answer>", "</answer>")
    )
    assert ours == bool(SIMPLE_GRPO.match(text) and one_of_each)
    if OPEN_R1.match(text) and one_of_each:
        assert ours


@settings(deadline=1000)
@given(
    st.recursive(
        st.sampled_from("xy7 "),
        lambda inner: st.lists(inner).map(lambda parts: "{" + "".join(parts) + "}"),
    ),
    texts,
)
def test_a_balanced_answer_comes_back_whatever_stands_before(answer: str, before: str) -> None:
    # A backslash would escape what follows it.
    completion = before.replace("\\", "/") + r"\boxed{" + answer + "}"
    assert last_boxed(completion) == answer


@pytest.mark.parametrize(
    "piece",
    [
        "{",
        "}",
        "{}",
        r"\boxed{",
        r"\boxed{}",
        "\\",
        "#",
        "\n",
        " ",
        "</think>",
        "<think>",
        "<answer>",
        "Answer:",
    ],
)
def test_time_is_linear(piece: str) -> None:
    completion = piece * (2_000_000 // len(piece))
    for thought in get_args(Thought):
        for answer in get_args(Answer):
            start = time.process_time()
            extract(completion, Style(thought=thought, answer=answer))
            assert time.process_time() - start < 5
