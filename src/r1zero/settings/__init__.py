"""Everything a user can set, typed and described; the JSON schemas are generated from here."""

from r1zero.settings.load import (
    check_suites,
    load_config,
    load_recipe,
    load_scale,
    load_sources,
    published_recipes,
    recipe_names,
    resolve_released,
    resolve_run,
    suites_beside,
    table_of,
    variants_of,
)
from r1zero.settings.recipe import Evaluation, Recipe, Reward
from r1zero.settings.run import RunSettings
from r1zero.settings.scale import MiniBase, Scale
from r1zero.settings.sources import DatasetSource, Sources
from r1zero.settings.workflow import Config, Hardware

__all__ = [
    "Config",
    "DatasetSource",
    "Evaluation",
    "Hardware",
    "MiniBase",
    "Recipe",
    "Reward",
    "RunSettings",
    "Scale",
    "Sources",
    "check_suites",
    "load_config",
    "load_recipe",
    "load_scale",
    "load_sources",
    "published_recipes",
    "recipe_names",
    "resolve_released",
    "resolve_run",
    "suites_beside",
    "table_of",
    "variants_of",
]
