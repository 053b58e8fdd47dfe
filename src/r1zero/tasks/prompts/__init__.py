"""Prompt templates: one text file each, exactly what the model reads.

A template is the whole text, chat markup included, with fields in braces. So what a model was asked
never depends on a tokenizer's chat template or on a library's way to apply it. (TRL 1.16 closes a
prefilled assistant turn and opens another when it is given messages; given text, it leaves it.)
"""

from importlib.resources import files
from string import Formatter

from r1zero.errors import UserError


def prompt_names() -> list[str]:
    """Names of all templates, sorted."""
    return sorted(
        entry.name.removesuffix(".txt")
        for entry in files(__name__).iterdir()
        if entry.name.endswith(".txt")
    )


def load_prompt(name: str) -> str:
    """Text of a template, byte for byte, without a line end after its last line."""
    entry = files(__name__) / f"{name}.txt"
    if not entry.is_file():
        raise UserError(
            f"unknown prompt '{name}'",
            where="prompt",
            hint=f"there are: {', '.join(prompt_names())}",
        )
    return entry.read_text(encoding="utf-8").removesuffix("\n")


def literals(template: str) -> list[str]:
    """Constant pieces of a template, in order: the text between its fields."""
    return [text for text, *_ in Formatter().parse(template) if text]
