"""The recipe as a file that says where each value came from, and the report."""

import json
import textwrap
from collections.abc import Iterator
from typing import Any

import yaml

from r1zero.imports.draft import Draft
from r1zero.settings import Recipe

_WIDTH = 100


def nested(draft: Draft) -> dict[str, Any]:
    """Values of a draft as a recipe file holds them."""
    content: dict[str, Any] = {}
    for key, value in draft.values.items():
        section, _, short = key.rpartition(".")
        (content.setdefault(section, {}) if section else content)[short] = value
    return content


def recipe_text(recipe: Recipe, draft: Draft, files: list[str]) -> str:
    """A recipe file, a comment beside each key."""
    values = recipe.model_dump(exclude_none=True)
    return "\n".join([*_head(draft, files), *_body(values, draft)]) + "\n"


def report(draft: Draft) -> str:
    """What was mapped, dropped, and could not be carried."""
    assert draft.release is not None
    sections = {
        "mapped": draft.mapped,
        "dropped": [f"{key}: {why}" for key, why in draft.dropped.items()],
        "could not carry": [f"{key}: {what}" for key, what in draft.lost.items()],
    }
    lines = [f"{draft.file} read as of {draft.release.name} ({draft.release.why})"]
    for title, entries in sections.items():
        lines += ["", f"{title}: {'' if entries else 'nothing'}".rstrip()]
        lines += [f"  {_line(entry)}" for entry in entries]
    return "\n".join(lines)


def _head(draft: Draft, files: list[str]) -> Iterator[str]:
    assert draft.release is not None
    yield "# yaml-language-server: $schema=../schema/recipe.schema.json"
    yield "#"
    yield from _comment(f"Made by `python -m r1zero import` from {', '.join(files)}.")
    yield from _comment(f"Read as of {draft.release.name}: {draft.release.why}.")
    if draft.lost:
        yield "#"
        yield "# Not carried over:"
        for key, what in draft.lost.items():
            yield from _comment(f"{key}: {what}", "- ")


def _body(values: dict[str, Any], draft: Draft) -> Iterator[str]:
    for key, value in values.items():
        if value in ({}, []):
            continue
        if isinstance(value, dict):
            yield ""
            yield f"{key}:"
            for inner, held in value.items():
                origin = draft.origins.get(f"{key}.{inner}", "this project's default")
                yield from _entry(f"  {inner}: {_scalar(held)}", origin)
        elif isinstance(value, list):
            yield ""
            yield from _entry(f"{key}:", draft.origins[key])
            for term in value:
                yield f"  - {{name: {term['name']}, weight: {_scalar(term['weight'])}}}"
        else:
            own = "" if key in {"description", "source"} else "this project's default"
            yield from _entry(f"{key}: {_scalar(value)}", draft.origins.get(key, own))


def _entry(text: str, origin: str) -> Iterator[str]:
    """A key with its comment: beside it, or above it where there is no room."""
    beside = f"{text:<40} # {_line(origin)}" if origin else text
    if len(beside) > _WIDTH:
        indent = text[: len(text) - len(text.lstrip())]
        yield from (indent + line for line in _comment(origin))
        yield text
    else:
        yield beside


def _comment(text: str, mark: str = "") -> list[str]:
    return textwrap.wrap(
        _line(text),
        _WIDTH - 4,
        initial_indent=f"# {mark}",
        subsequent_indent="# " + " " * len(mark),
    )


def _line(text: str) -> str:
    """One line, whatever a file's text holds."""
    return " ".join(text.split())


def _scalar(value: Any) -> str:
    if isinstance(value, str) and not value.replace("_", "").isalnum():
        return json.dumps(value, ensure_ascii=False)
    return yaml.safe_dump(value, width=10_000).removesuffix("\n").removesuffix("\n...")
