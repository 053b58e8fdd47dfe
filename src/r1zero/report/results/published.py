"""Scores that were published for a recipe, as its file states them."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from r1zero.settings import load_recipe
from r1zero.settings.load import CONFIG_FOLDER
from r1zero.settings.recipe import PublishedScore


@dataclass(frozen=True)
class Published:
    """Published scores of a recipe, and the file that states them."""

    scores: tuple[PublishedScore, ...]
    path: Path


def published_of(recipes: Iterable[str], folder: Path = CONFIG_FOLDER) -> dict[str, Published]:
    """Published scores by recipe, of those that have some; variants of a recipe have none."""
    found = {}
    for name in dict.fromkeys(recipes):
        path = folder / "recipes" / f"{name}.yaml"
        if path.is_file() and (scores := load_recipe(name, folder).published_scores):
            found[name] = Published(tuple(scores), path)
    return found


def published_of_model(
    model: str, recipe: str, folder: Path = CONFIG_FOLDER
) -> tuple[PublishedScore, ...]:
    """Published scores of a released model, by the recipe that lists it; none if it does not."""
    content = load_recipe(recipe, folder)
    for entry in content.released:
        if entry.model == model:
            return tuple(entry.published_scores or content.published_scores)
    return ()
