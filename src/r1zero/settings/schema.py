"""JSON schemas of the configuration files, generated from the settings."""

from copy import deepcopy
from typing import Any

from pydantic import BaseModel

from r1zero.settings.recipe import Recipe
from r1zero.settings.scale import Scale
from r1zero.settings.sources import Sources
from r1zero.settings.workflow import Config

FILES: dict[str, type[BaseModel]] = {
    "config": Config,
    "recipe": Recipe,
    "scale": Scale,
    "sources": Sources,
}
_EXTENDS = {
    "description": "Recipe that this one is laid over: mappings are merged, lists replaced.",
    "type": "string",
}


def schemas() -> dict[str, dict[str, Any]]:
    """Schemas by the kind of file: `config`, `recipe`, `scale`, `sources`."""
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    found = {name: file_schema(name) for name in FILES}
    found["recipe"] = _or_extension(found["recipe"])
    return {name: dialect | schema for name, schema in found.items()}


def file_schema(kind: str) -> dict[str, Any]:
    """Schema of one kind of file that extends no other."""
    return FILES[kind].model_json_schema()


def _or_extension(recipe: dict[str, Any]) -> dict[str, Any]:
    """Admit a recipe that extends another: of it and its sections every key may be left out."""
    sections = {
        name: field["$ref"].rpartition("/")[2]
        for name, field in recipe["properties"].items()
        if "$ref" in field
    }
    definitions = recipe.pop("$defs")
    partial = deepcopy(recipe)
    partial["required"] = ["extends", "description"]
    partial["properties"]["extends"] = _EXTENDS
    parts = {}
    for key, name in sections.items():
        part = {k: v for k, v in definitions[name].items() if k != "required"}
        parts[f"Partial{name}"] = part
        partial["properties"][key] = {"$ref": f"#/$defs/Partial{name}"}
    return {
        "$defs": definitions | parts | {"Recipe": recipe, "Extension": partial},
        "if": {"type": "object", "required": ["extends"]},
        "then": {"$ref": "#/$defs/Extension"},
        "else": {"$ref": "#/$defs/Recipe"},
    }
