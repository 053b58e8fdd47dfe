"""Load the settings from YAML files and merge them."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from r1zero.core.errors import UserError
from r1zero.core.validation import read_yaml, validate
from r1zero.settings.backends import RELEASED
from r1zero.settings.recipe import Recipe
from r1zero.settings.run import RunSettings
from r1zero.settings.scale import Scale, ScaledTask
from r1zero.settings.sources import Local, LocalModel, Sources
from r1zero.settings.workflow import Ablation, Config
from r1zero.tasks.registry import are_alike

CONFIG_FOLDER = Path("config")


def recipe_names(folder: Path = CONFIG_FOLDER) -> list[str]:
    """Names of all recipes, sorted."""
    return sorted(path.stem for path in (folder / "recipes").glob("*.yaml"))


def load_recipe(name: str, folder: Path = CONFIG_FOLDER) -> Recipe:
    """Read `recipes/<name>.yaml`, over the recipe that it extends if it does."""
    values, path = _extended(name, folder, ())
    return validate(values, Recipe, str(path))


def published_recipes(folder: Path = CONFIG_FOLDER) -> list[str]:
    """Names of the recipes that extend no other."""
    return [
        name
        for name in recipe_names(folder)
        if "extends" not in (read_yaml(folder / "recipes" / f"{name}.yaml") or {})
    ]


def _extended(name: str, folder: Path, below: tuple[str, ...]) -> tuple[Any, Path]:
    """Content of a recipe's file, laid over that of the recipe it extends, and its path."""
    path = folder / "recipes" / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(recipe_names(folder)) or "none"
        where = str(folder / "recipes" / f"{below[-1]}.yaml") if below else "recipes"
        raise UserError(f"unknown recipe '{name}'", where=where, hint=f"there are: {known}")
    values = read_yaml(path)
    if not isinstance(values, dict) or "extends" not in values:
        return values, path
    if name in below:
        raise UserError("extends itself", where=str(path), hint=" > ".join((*below, name)))
    parent, _ = _extended(str(values["extends"]), folder, (*below, name))
    if not isinstance(parent, dict):
        return parent, path
    # What says who published it, and what came of it, is not inherited.
    own = {"description", "published_time", "published_scores", "released"}
    inherited = {key: value for key, value in parent.items() if key not in own}
    return _laid_over(inherited, {k: v for k, v in values.items() if k != "extends"}), path


def _laid_over(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Merge mappings; lists and single values are replaced."""
    return under | {
        key: _laid_over(under[key], value)
        if isinstance(value, dict) and isinstance(under.get(key), dict)
        else value
        for key, value in over.items()
    }


def variant_name(recipe: str, vary: Mapping[str, Any]) -> str:
    """Name of a variant's runs: the recipe's, and what is varied."""
    parts = (f"{key.rpartition('.')[2]}_{_plain(value)}" for key, value in vary.items())
    return "-".join((recipe, ".".join(parts))) if vary else recipe


def variants_of(
    ablations: Iterable[Ablation], folder: Path = CONFIG_FOLDER
) -> dict[str, tuple[str, dict[str, Any]]]:
    """What ablations run: the recipe of each variant and its varied settings, by its name.

    A variant whose settings are the recipe's own is the recipe itself, and goes by its name.
    """
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    for ablation in ablations:
        recipe = load_recipe(ablation.recipe, folder).model_dump()
        for vary in ablation.variants:
            own = all(_same(_value(recipe, key), value) for key, value in vary.items())
            changes = {} if own else vary
            found[variant_name(ablation.recipe, changes)] = (ablation.recipe, changes)
    return found


def _value(recipe: dict[str, Any], key: str) -> Any:
    section, _, name = key.partition(".")
    held = recipe.get(section)
    return held.get(name) if isinstance(held, dict) else held if not name else None


def _same(own: Any, value: Any) -> bool:
    try:
        return float(own) == float(value)  # YAML takes 1e-6 for text
    except (TypeError, ValueError):
        return bool(own == value)


def _plain(value: Any) -> str:
    text = format(value, "g") if isinstance(value, float) else str(value)
    return re.sub(r"[^a-z0-9_.+-]", "_", text.lower())


def load_scale(name: str, folder: Path = CONFIG_FOLDER) -> Scale:
    """Read `scales/<name>.yaml`; the paper scale has no file, since it changes nothing."""
    if name == "paper":
        return Scale(description="As published.")
    path = folder / "scales" / f"{name}.yaml"
    if not path.is_file():
        raise UserError(f"unknown scale '{name}'", where="scale", hint="there are: mini, paper")
    return validate(read_yaml(path), Scale, str(path))


def load_sources(folder: Path = CONFIG_FOLDER) -> Sources:
    """Read `sources.yaml`."""
    path = folder / "sources.yaml"
    return validate(read_yaml(path) or {}, Sources, str(path))


def table_of(config: Config, folder: Path = CONFIG_FOLDER) -> Sources:
    """The shipped sources with those of the configuration, and its suites' files as datasets."""
    shipped = load_sources(folder)
    datasets = shipped.datasets | config.datasets
    for name, suite in config.suites.items():
        where = f"suites.{name}"
        if suite.path:
            if name in datasets:
                raise UserError("is the name of a dataset", where=where, hint="take another name")
            datasets[name] = Local(
                kind="local", task=suite.task, test=suite.path, numbers=suite.numbers
            )
            continue
        if name in datasets and name != suite.dataset:
            raise UserError("is the name of a dataset", where=where, hint="take another name")
        source = datasets.get(suite.dataset or "")
        if source is None or "test" not in source.split_names:
            having = [known for known, entry in datasets.items() if "test" in entry.split_names]
            raise UserError(
                f"no dataset '{suite.dataset}' with test rows",
                where=where,
                hint=f"there are: {', '.join(having)}",
            )
        if not are_alike(source.task, suite.task):
            raise UserError(
                f"dataset '{suite.dataset}' has rows of {source.task}, "
                f"on which runs of {suite.task} cannot be evaluated",
                where=where,
            )
    models = shipped.models | config.models
    for name, evaluated in config.evaluate.items():
        if evaluated.path:
            if name in models:
                raise UserError(
                    "is the name of a model", where=f"evaluate.{name}", hint="take another name"
                )
            models[name] = LocalModel(kind="local", path=evaluated.path)
        elif name not in models:
            raise UserError(
                f"no model '{name}'",
                where=f"evaluate.{name}",
                hint=f"give its `path`, or one of: {', '.join(models)}",
            )
    return Sources(datasets=datasets, models=models)


def suites_beside(dataset: str, recipes: Mapping[str, Recipe], scale: Scale) -> list[str]:
    """Suites of all recipes that train on a dataset at a scale, besides its own test rows.

    Of all recipes, not of the selected ones: to select one more must not change the rows that the
    others train on.
    """
    found: set[str] = set()
    for recipe in recipes.values():
        changes = scale.tasks.get(recipe.task, ScaledTask())
        if dataset == (changes.dataset or recipe.dataset):
            suites = changes.evaluation.suites
            listed = recipe.evaluation.suites if suites is None else suites
            found.update(suite.name for suite in listed)
    return sorted(found - {dataset})


def check_suites(run: RunSettings, table: Sources, where: str | None = None) -> None:
    """Raise `UserError`, with the recipe's name, where a run names a suite that can't be."""
    for name in (suite.name for suite in run.evaluation.suites):
        source = table.datasets.get(name)
        if source is None or "test" not in source.split_names:
            reason = f"no dataset '{name}' with test rows"
        elif not are_alike(source.task, run.task):
            reason = f"dataset '{name}' has rows of {source.task}"
        else:
            continue
        fitting = [
            known
            for known, entry in table.datasets.items()
            if "test" in entry.split_names and are_alike(entry.task, run.task)
        ]
        raise UserError(
            reason,
            where=where or f"recipe {run.recipe}: evaluation.suites",
            hint=f"there are: {', '.join(fitting)}",
        )


def load_config(
    values: dict[str, Any], where: str = "config", folder: Path = CONFIG_FOLDER
) -> Config:
    """Check the workflow's merged configuration, and that its names mean something."""
    config = validate(values, Config, where)
    for name in config.recipes:
        load_recipe(name, folder)
    for recipe, vary in variants_of(config.ablations, folder).values():
        resolve_run(
            recipe,
            scale=config.scale,
            backend=config.backends[0],
            seed=config.seeds[0],
            vary=vary,
            folder=folder,
        )
    return config


def resolve_run(
    recipe_name: str,
    *,
    scale: str,
    backend: str,
    seed: int,
    base_seed: int = 0,
    vary: Mapping[str, Any] | None = None,
    folder: Path = CONFIG_FOLDER,
) -> RunSettings:
    """Merge recipe, varied settings and scale into the settings of one run.

    Args:
        recipe_name: Name of the recipe.
        scale: Name of the scale.
        backend: Name of the backend.
        seed: Seed of the run.
        base_seed: Added to the seed of a base that the scale makes.
        vary: Settings in place of the recipe's, such as `algorithm.beta`. At a scale with a
            learning rate of its own, a varied one keeps its ratio to the recipe's.
        folder: Folder of the configuration.

    """
    recipe = load_recipe(recipe_name, folder)
    scaling = load_scale(scale, folder)
    changes = scaling.tasks.get(recipe.task)
    unused = {"description", "source", "published_time", "published_scores", "released"}
    values: dict[str, Any] = recipe.model_dump(exclude=unused)
    scaled: dict[str, Any] = {}
    if changes:
        values["model"] = changes.model or _base_of(recipe_name, recipe, scale, scaling)
        values["dataset"] = changes.dataset or recipe.dataset
        scaled = {
            "sizes": changes.sizes.model_dump(exclude_none=True),
            "evaluation": changes.evaluation.model_dump(exclude_none=True),
        }
        values = _laid_over(values, scaled)
    for key, value in (vary or {}).items():
        _set(values, key, value, scaled, recipe)
    values |= {
        "recipe": variant_name(recipe_name, vary or {}),
        "backend": backend,
        "seed": seed,
        "base_seed": base_seed,
        "scale": scale,
        "is_mini_base": values["model"] in scaling.bases,
        "computation": scaling.computation,
    }
    return validate(values, RunSettings, f"recipe {recipe_name} at scale {scale}")


def resolve_released(
    model: str,
    recipe_name: str,
    *,
    scale: str,
    prompt: str | None = None,
    folder: Path = CONFIG_FOLDER,
) -> RunSettings:
    """Settings that a released model is scored with: those of a recipe at a scale, and its prompt.

    Args:
        model: Name of the model.
        recipe_name: Name of the recipe.
        scale: Name of the scale.
        prompt: Prompt template in place of the recipe's.
        folder: Folder of the configuration.

    """
    run = resolve_run(recipe_name, scale=scale, backend=RELEASED, seed=0, folder=folder)
    changes = {"model": model, "is_mini_base": False, "prompt": prompt or run.prompt}
    return run.model_copy(update=changes)


def _base_of(recipe_name: str, recipe: Recipe, scale_name: str, scale: Scale) -> str:
    """The base of a scale that has seen a recipe's prompt; its own model if the scale has none."""
    bases = {name: base for name, base in scale.bases.items() if base.traces.task == recipe.task}
    for name, base in bases.items():
        if recipe.prompt in base.prompts:
            return name
    if bases:
        raise UserError(
            f"no base of the scale {scale_name} has seen the prompt {recipe.prompt}",
            where=f"recipe {recipe_name}",
            hint=f"add it to bases.{next(iter(bases))}.prompts in scales/{scale_name}.yaml",
        )
    return recipe.model


def _set(
    values: dict[str, Any], key: str, value: Any, scaled: dict[str, Any], recipe: Recipe
) -> None:
    """Set one varied setting, given as `section.name`."""
    section, _, name = key.partition(".")
    known = [f"{s}.{n}" for s in ("algorithm", "sizes") for n in values[s]]
    known.append("reference")
    if key not in known:
        raise UserError(f"cannot vary '{key}'", where="ablations", hint=f"can: {', '.join(known)}")
    if not name:
        values[key] = value
        return
    if name in scaled.get(section, {}):
        if key != "sizes.learning_rate":
            raise UserError(
                f"{key} is the scale's own, so that its variants would be one",
                where="ablations",
                hint="vary another setting, or at scale paper",
            )
        try:
            value = values[section][name] * float(value) / recipe.sizes.learning_rate
        except ValueError:
            raise UserError(f"{key}: '{value}' is no number", where="ablations") from None
    values[section] = values[section] | {name: value}
