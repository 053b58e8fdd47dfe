"""Prompt templates: one YAML file each, whose `text` is exactly what the model reads.

A template is the whole text, chat markup included, with fields in braces. So what a model was asked
never depends on a tokenizer's chat template or on a library's way to apply it. (TRL 1.16 closes a
prefilled assistant turn and opens another when it is given messages; given text, it leaves it.)
"""

from importlib.resources import files
from string import Formatter
from typing import Literal, Self

import yaml
from pydantic import Field, model_validator

from r1zero.core.errors import UserError
from r1zero.core.section import Section
from r1zero.core.validation import validate

Thought = Literal["prefilled", "generated", "free"]
Answer = Literal["tags", "boxed", "hash", "line", "free"]


class Style(Section):
    """The format that a prompt asks for: what strict grading and the `format` reward go by."""

    thought: Thought
    """Where `<think>` stands: `prefilled` at the prompt's end, `generated` at the completion's
    start, or nowhere, since the prompt asks for no such tags (`free`)."""
    answer: Answer
    r"""How the answer is marked: in `<answer>` tags, in `\boxed{}`, after `#### ` (`hash`), after
    `Answer: ` on the last line (`line`), or not at all: the whole completion is it (`free`)."""


class Prompt(Style):
    """A prompt template."""

    version: int = Field(ge=1)
    """Raised whenever the text changes."""
    source: str
    """Where it was published."""
    stop_tokens: list[str] = Field(default=[])
    """Tokens that end a completion besides those the model's files name: a base model's end of text
    is not the end of turn that a chat prompt leads it to write."""
    text: str = Field(min_length=1)
    """The template."""

    @model_validator(mode="after")
    def _thinks_once(self) -> Self:
        prefilled = self.text.rstrip().endswith("<think>")
        if prefilled != (self.thought == "prefilled"):
            raise ValueError(
                f"thought is `{self.thought}`, and the text "
                f"{'ends' if prefilled else 'does not end'} in <think>"
            )
        if self.answer == "tags" and self.thought == "free":
            raise ValueError("an answer in tags comes after a thought in tags")
        return self


def prompt_names() -> list[str]:
    """Names of all templates, sorted."""
    return sorted(
        entry.name.removesuffix(".yaml")
        for entry in files(__name__).iterdir()
        if entry.name.endswith(".yaml")
    )


def load_prompt(name: str) -> Prompt:
    """Read a template."""
    entry = files(__name__) / f"{name}.yaml"
    if not entry.is_file():
        raise UserError(
            f"unknown prompt '{name}'",
            where="prompt",
            hint=f"there are: {', '.join(prompt_names())}",
        )
    return validate(yaml.safe_load(entry.read_text(encoding="utf-8")), Prompt, f"prompt {name}")


def literals(template: str) -> list[str]:
    """Constant pieces of a template, in order: the text between its fields."""
    return [text for text, *_ in Formatter().parse(template) if text]
