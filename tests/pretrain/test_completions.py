"""Completions are in the format that their prompt asks for."""

import re

import pytest

from r1zero.pretrain.completions import write_completion
from r1zero.tasks.answers.extraction import extract
from r1zero.tasks.prompts import Answer, Style, Thought

FORMS = [
    ("prefilled", "tags", "T</think>\n<answer>A</answer>"),
    ("generated", "tags", "<think>T</think>\n<answer>A</answer>"),
    ("generated", "boxed", "<think>T</think>\n\\boxed{A}"),
    ("prefilled", "hash", "T</think>\n#### A"),
    ("free", "boxed", r"T \boxed{A}"),
    ("free", "hash", "T\n#### A"),
    ("free", "line", "T\nAnswer: A"),
    ("generated", "free", "<think>T</think>\nA"),
    ("free", "free", "A"),
]


@pytest.mark.parametrize(("thought", "answer", "completion"), FORMS)
def test_a_completion_has_the_form(thought: Thought, answer: Answer, completion: str) -> None:
    style = Style(thought=thought, answer=answer)
    assert write_completion(style, "T", "A") == completion


@pytest.mark.parametrize(("thought", "answer", "completion"), FORMS)
def test_the_grader_reads_the_answer(thought: Thought, answer: Answer, completion: str) -> None:
    text = re.sub(r"\bA\b", "42", completion)
    found = extract(text, Style(thought=thought, answer=answer))
    assert found.answer is not None
    assert (found.answer.strip(), found.format) == ("42", 1)
