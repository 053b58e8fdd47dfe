import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r1zero.tasks.answers.tags import parse

# As published by mini-R1 and Datawhale-R1, applied to "<think>" + completion.
PUBLISHED_FORMAT = re.compile(
    r"^<think>([^<]*(?:<(?!/?think>)[^<]*)*)<\/think>\n<answer>([\s\S]*?)<\/answer>$"
)

CASES = {
    # name: (completion, format, answer)
    "well-formed": ("x</think>\n<answer> 1+2 </answer>", 1, " 1+2 "),
    "thought opened by the model": ("<think>x</think>\n<answer>1</answer>", 1, "1"),
    "empty thought": ("</think>\n<answer>1</answer>", 1, "1"),
    "angle brackets in the thought": ("1 < 2 <b></think>\n<answer>1</answer>", 1, "1"),
    "empty answer": ("x</think>\n<answer></answer>", 1, ""),
    "white space after": ("x</think>\n<answer>1</answer> \r\n\t\n", 1, "1"),
    "no-break space after": ("x</think>\n<answer>1</answer>\u00a0", 0, "1"),
    "text after": ("x</think>\n<answer>1</answer> done", 0, "1"),
    "end-of-text token after": ("x</think>\n<answer>1</answer><|endoftext|>", 0, "1"),
    "no newline between": ("x</think><answer>1</answer>", 0, "1"),
    "two newlines between": ("x</think>\n\n<answer>1</answer>", 0, "1"),
    "space between": ("x</think> \n<answer>1</answer>", 0, "1"),
    "CRLF between": ("x</think>\r\n<answer>1</answer>", 0, "1"),
    "text between": ("x</think>\nSo: <answer>1</answer>", 0, "1"),
    "text before the generated tag": (" <think>x</think>\n<answer>1</answer>", 0, "1"),
    "opened twice": ("<think><think>x</think>\n<answer>1</answer>", 0, "1"),
    "two thoughts": ("x</think>\n<think>y</think>\n<answer>1</answer>", 0, "1"),
    "thought closed twice": ("x</think></think>\n<answer>1</answer>", 0, "1"),
    "thought reopened after the answer": ("x</think>\n<answer>1</answer><think>", 0, "1"),
    "thought after the answer": ("x</think>\n<answer>1</answer><think>y</think>", 0, None),
    "second thought not closed": ("x</think>\n<think>y<answer>1</answer>", 0, None),
    "thought tag in the answer": ("x</think>\n<answer><think>1</answer>", 0, "<think>1"),
    "thought ends in the answer": ("x</think>\n<answer>1</think></answer>", 0, None),
    "no thought": ("<answer>1</answer>", 0, None),
    "thought not closed": ("<think>x\n<answer>1</answer>", 0, None),
    "answer inside the thought": ("x <answer>1</answer> y</think>\n", 0, None),
    "answer across the thought's end": ("x <answer>1</think>\n</answer>", 0, None),
    "answer before the thought": ("<answer>1</answer><think>x</think>", 0, None),
    "several answers": ("x</think>\n<answer>1</answer>\n<answer>2</answer>", 0, None),
    "same answer twice": ("x</think>\n<answer>1</answer>\n<answer>1</answer>", 0, None),
    "draft answer in the thought": ("<answer>1</answer></think>\n<answer>2</answer>", 0, None),
    "tag mentioned in the thought": ("put it in <answer></think>\n<answer>2</answer>", 0, None),
    "closing tag mentioned": ("until </answer></think>\n<answer>2</answer>", 0, None),
    "nested answers": ("x</think>\n<answer><answer>1</answer></answer>", 0, None),
    "answer closed twice": ("x</think>\n<answer>1</answer></answer>", 0, None),
    "answer not closed": ("x</think>\n<answer>1", 0, None),
    "answer not opened": ("x</think>\n1</answer>", 0, None),
    "answer closed first": ("x</think>\n</answer>1<answer>", 0, None),
    "upper-case answer tags": ("x</think>\n<ANSWER>1</ANSWER>", 0, None),
    "upper-case thought tag": ("x</THINK>\n<answer>1</answer>", 0, None),
    "spaces in a tag": ("x</think>\n< answer >1</ answer >", 0, None),
    "full-width brackets": ("x</think>\n＜answer＞1＜/answer＞", 0, None),
    "zero-width character in a tag": ("x</think>\n<ans\u200bwer>1</answer>", 0, None),
    "empty": ("", 0, None),
    "blank": (" \n", 0, None),
}


@pytest.mark.parametrize("name", CASES)
def test_format_and_answer(name: str) -> None:
    completion, format_, answer = CASES[name]
    parsed = parse(completion)
    assert (parsed.format, parsed.answer) == (format_, answer)
    assert bool(parsed.problem) == (answer is None)


pieces = st.sampled_from(
    [
        "<think>",
        "</think>",
        "<answer>",
        "</answer>",
        "</think>\n<answer>",
        "\n",
        " ",
        "1+2",
        "<",
        "x",
    ]
)


@settings(deadline=1000)
@given(st.lists(pieces, max_size=12).map("".join))
def test_agrees_with_the_published_format(completion: str) -> None:
    ours = parse(completion).format
    prefilled = completion if completion.startswith("<think>") else "<think>" + completion
    theirs = bool(PUBLISHED_FORMAT.match(prefilled.rstrip(" \t\r\n")))
    # The published format admits more than one pair of answer tags, and thought tags in the answer.
    one_of_each = all(
        prefilled.count(tag) == 1 for tag in ("<think>", "</think>", "<answer>", "</answer>")
    )
    assert ours == int(theirs and one_of_each)
