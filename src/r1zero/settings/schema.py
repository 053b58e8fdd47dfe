"""JSON schemas of the configuration files, generated from the settings."""

from typing import Any

from pydantic import BaseModel

from r1zero.settings.recipe import Recipe
from r1zero.settings.scale import Scale
from r1zero.settings.sources import Sources
from r1zero.settings.workflow import Config

_FILES: dict[str, type[BaseModel]] = {
    "config": Config,
    "recipe": Recipe,
    "scale": Scale,
    "sources": Sources,
}


def schemas() -> dict[str, dict[str, Any]]:
    """Schemas by the kind of file: `config`, `recipe`, `scale`, `sources`."""
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return {name: dialect | model.model_json_schema() for name, model in _FILES.items()}
