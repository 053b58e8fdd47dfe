"""Released models that the configuration scores, and the files of each."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from r1zero.core.errors import UserError
from r1zero.core.files import sha256_json
from r1zero.plan.evaluation import EvaluationLayout
from r1zero.settings import Config, RunSettings, check_suites, load_recipe, resolve_released
from r1zero.settings.backends import RELEASED
from r1zero.settings.recipe import ListedSuite, ReleasedModel
from r1zero.settings.workflow import Evaluated
from r1zero.tasks.prompts import load_prompt
from r1zero.workflow.paths import Run, dataset_manifest, model_manifest, problems_manifest
from r1zero.workflow.resources import Layouts
from r1zero.workflow.runs import Runs
from r1zero.workflow.sources import DataSources


class _Released(NamedTuple):
    settings: RunSettings
    suites: Mapping[str, Mapping[str, int]]
    """Sizes that each suite has of its own."""


class Released:
    """Released models by name: settings, suites and paths.

    Args:
        config: The configuration.
        runs: The recipes, whose settings the models are scored with.
        sources: The table of models and suites.
        layouts: Layouts on the configured hardware.
        folder: Folder of the configuration.

    Raises:
        UserError: A model has no recipe, or a suite or prompt cannot be.

    """

    def __init__(
        self, config: Config, runs: Runs, sources: DataSources, layouts: Layouts, folder: Path
    ) -> None:
        self._scale, self._runs, self._folder = config.scale, runs, folder
        self._table, self._layouts = sources.table, layouts
        self._models = {
            name: self._resolved(name, entry) for name, entry in config.evaluate.items()
        }

    @property
    def models(self) -> list[str]:
        """What is known of each model and how it is scored: `model.json`."""
        return [f"results/{self._scale}/released/{name}/model.json" for name in self._models]

    @property
    def recipes(self) -> list[str]:
        """Recipes that the models are scored with."""
        return sorted({found.settings.recipe for found in self._models.values()})

    @property
    def evaluations(self) -> list[str]:
        """Evaluations of all models."""
        return [
            f"results/{self._scale}/released/{name}/evaluations/{suite}.json"
            for name, found in self._models.items()
            for suite in found.suites
        ]

    def needed(self) -> list[str]:
        """Manifests of every model and suite."""
        suites = {suite for found in self._models.values() for suite in found.suites}
        datasets = {dataset_manifest(self._runs.suite_dataset(suite)) for suite in suites}
        return [*sorted(datasets), *map(model_manifest, self._models)]

    def options(self, model: str) -> str:
        """Arguments of `r1zero released`: the recipe and the prompt."""
        settings = self._of(model).settings
        return f"--recipe {settings.recipe} --prompt {settings.prompt}"

    def settings_hash(self, model: str) -> str:
        """Hash of all that decides how a model is scored, without the list of suites."""
        settings = self._of(model).settings
        return sha256_json(settings.model_dump(mode="json", exclude={"evaluation": {"suites"}}))

    def problems(self, model: str, suite: str) -> str:
        """Manifest of the problems of a suite, with the prompt of a model."""
        prompt = self._of(model).settings.prompt
        return problems_manifest(self._runs.suite_dataset(suite), prompt)

    def suite_options(self, model: str, suite: str) -> str:
        """Arguments of `r1zero evaluate` for the sizes that a suite has of its own."""
        sizes = self._of(model).suites.get(suite, {})
        return " ".join(f"--{key.replace('_', '-')} {size}" for key, size in sizes.items())

    def layout(self, model: str, suite: str) -> EvaluationLayout:
        """Processes, GPUs and time of an evaluation on one node."""
        found = self._of(model)
        return self._layouts.evaluation(found.settings, found.suites.get(suite, {}))

    def gpus(self, model: str, suite: str) -> int:
        """GPUs of an evaluation."""
        return self.layout(model, suite).gpus

    def processes(self, model: str, suite: str) -> int:
        """Processes of an evaluation, each with a copy of the model."""
        return self.layout(model, suite).processes

    def minutes(self, model: str, suite: str) -> int:
        """Time to ask a scheduler for."""
        return self.layout(model, suite).minutes

    def memory(self, model: str, suite: str) -> int:
        """Host memory of an evaluation, in 10^6 bytes."""
        found = self._of(model)
        return self._layouts.evaluation_memory(found.settings, found.suites.get(suite, {}))

    def _of(self, model: str) -> _Released:
        if model not in self._models:
            known = ", ".join(self._models) or "none"
            raise UserError(f"does not list '{model}'", where="evaluate", hint=f"known: {known}")
        return self._models[model]

    def _resolved(self, name: str, entry: Evaluated) -> _Released:
        publisher, listed = self._listed(name)
        recipe = entry.recipe or publisher
        if recipe is None:
            raise UserError(
                "no recipe lists the model under `released`",
                where=f"evaluate.{name}",
                hint="give the `recipe` whose prompt, decoding and suites it is scored with",
            )
        prompt = entry.prompt or (listed.prompt if listed and recipe == publisher else None)
        load_recipe(recipe, self._folder)
        settings = resolve_released(
            name, recipe, scale=self._scale, prompt=prompt, folder=self._folder
        )
        load_prompt(settings.prompt)
        if entry.suites is None:
            return _Released(settings, self._runs.suites(Run(self._scale, recipe, RELEASED, 0)))
        datasets = [ListedSuite(name=self._runs.suite_dataset(each.name)) for each in entry.suites]
        measured = settings.evaluation.model_copy(update={"suites": datasets})
        check_suites(
            settings.model_copy(update={"evaluation": measured}),
            self._table,
            f"evaluate.{name}.suites",
        )
        sizes = {"max_problems", "n_samples"}
        suites = {
            each.name: each.model_dump(include=sizes, exclude_none=True) for each in entry.suites
        }
        return _Released(settings, suites)

    def _listed(self, name: str) -> tuple[str | None, ReleasedModel | None]:
        """The recipe whose publishers released a model, and its entry there."""
        for recipe, content in self._runs.recipes.items():
            for entry in content.released:
                if entry.model == name:
                    return recipe, entry
        return None, None
