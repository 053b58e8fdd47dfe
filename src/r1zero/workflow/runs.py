"""The runs that the configuration selects, with their settings and the files of each."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from shlex import quote
from typing import Any

from r1zero.core.files import sha256_json
from r1zero.settings import (
    Config,
    Recipe,
    RunSettings,
    load_recipe,
    published_recipes,
    recipe_names,
    resolve_run,
    variants_of,
)
from r1zero.workflow.claims import ClaimRuns
from r1zero.workflow.paths import Run, base_manifest, model_manifest, problems_manifest

# Ends of the names of suites that the target `claims` measures besides.
_MANY_SAMPLES = re.compile(r"_x\d+$")


class Runs:
    """Recipes and variants by name, their runs, and what each run reads and makes.

    What is the same for all seeds is computed once.

    Args:
        config: The configuration.
        folder: Its folder, with the recipes.

    Raises:
        UserError: A recipe is invalid.

    """

    def __init__(self, config: Config, folder: Path) -> None:
        self._config, self._folder = config, folder
        self.recipes: dict[str, Recipe] = {
            name: load_recipe(name, folder) for name in recipe_names(folder)
        }
        """Every recipe, selected or not."""
        self._variants = variants_of(config.ablations, folder)
        self.selected: list[str] = list(dict.fromkeys([*config.recipes, *self._variants]))
        """Names of the selected recipes and variants."""
        self.tasks: list[str] = sorted({self.task_of(name) for name in self.selected})
        """Their tasks."""
        self.published: list[str] = published_recipes(folder)
        """Names of the recipes that extend no other."""
        self.claims = ClaimRuns(config, folder)
        """Runs of the target `claims`."""
        self._settings: dict[tuple[str, str, str], RunSettings] = {}
        self._suites: dict[tuple[str, str, str], dict[str, dict[str, int]]] = {}

    def of(self, names: Iterable[str]) -> list[Run]:
        """Runs of recipes and variants: one for each backend, seed and base."""
        runs = [
            Run(self._config.scale, name, backend, seed)
            for name in names
            for backend in self._config.backends
            for seed in self._config.seeds
        ]
        return [each for run in runs for each in self.on_bases(run)]

    def on_bases(self, run: Run) -> list[Run]:
        """A run on each of the bases, or the run itself if it starts from a published model."""
        seeds = self._config.base_seeds
        if seeds == [0] or not self.shared_settings(run).is_mini_base:
            return [run]
        return [run._replace(base_seed=seed) for seed in seeds]

    def task_of(self, name: str) -> str:
        """Task of a recipe or variant."""
        recipe, _ = self._recipe_and_changes(name)
        return self.recipes[recipe].task

    def settings(self, run: Run) -> RunSettings:
        """Settings of a run.

        Raises:
            UserError: The recipe does not fit the scale.

        """
        shared, seeds = self.shared_settings(run), {"seed": run.seed, "base_seed": run.base_seed}
        is_own = shared.seed == run.seed and shared.base_seed == run.base_seed
        return shared if is_own else shared.model_copy(update=seeds)

    def shared_settings(self, run: Run) -> RunSettings:
        """The same, but for the seeds, which are those of another run of the recipe."""
        key = run[:3]
        if key not in self._settings:
            recipe, vary = self._recipe_and_changes(run.recipe)
            self._settings[key] = resolve_run(
                recipe,
                scale=run.scale,
                backend=run.backend,
                seed=run.seed,
                vary=vary,
                folder=self._folder,
            )
        return self._settings[key]

    def settings_hash(self, run: Run) -> str:
        """Hash of the settings of a run and of how it is computed, without the list of suites."""
        settings = self.settings(run)
        evaluation = settings.evaluation.model_dump(mode="json", exclude={"suites"})
        threads = settings.computation.evaluate.threads
        return sha256_json([settings.training_hash(), evaluation, threads])

    def resolve_options(self, run: Run) -> str:
        """Arguments of `r1zero resolve`: the recipe, what is varied, and the reward models."""
        recipe, vary = self._recipe_and_changes(run.recipe)
        changes = [f"--vary {quote(f'{key}={value}')}" for key, value in vary.items()]
        models = [f"--reward-model {path}" for path in self.reward_models(run)]
        return " ".join([recipe, *changes, *models])

    def seed_options(self, run: Run) -> str:
        """Arguments of `r1zero resolve` for the seeds."""
        base = f" --base-seed {run.base_seed}" if run.base_seed else ""
        return f"--seed {run.seed}{base}"

    def problems(self, run: Run) -> str:
        """Manifest of the problems that a run trains on."""
        settings = self.shared_settings(run)
        return problems_manifest(settings.dataset, settings.prompt)

    def base_model(self, run: Run) -> str:
        """Manifest of the model that a run starts from."""
        settings = self.shared_settings(run)
        if settings.is_mini_base:
            return base_manifest(run.scale, settings.model, run.base_seed)
        return model_manifest(settings.model)

    def reward_models(self, run: Run) -> list[str]:
        """Manifests of the reward models of a run."""
        rewards = self.shared_settings(run).rewards
        return [model_manifest(reward.model) for reward in rewards if reward.model]

    def evaluations(self, runs: Iterable[Run]) -> list[str]:
        """Evaluations of runs: each suite at step 0 and at every checkpoint."""
        return [
            run.result(f"evaluations/{suite}/step{step}.json")
            for run in runs
            for suite in self.suites(run)
            for step in self.shared_settings(run).evaluated_steps
        ]

    def of_claims(self) -> list[Run]:
        """Runs of the target `claims`, on each of the bases."""
        return [each for run in self.claims.runs for each in self.on_bases(run)]

    def evaluations_of_claims(self) -> list[str]:
        """Evaluations of the runs of the claims, at the steps and with the samples they need."""
        found = []
        for run in self.of_claims():
            steps = self.claims.steps(run)
            measured = [(suite, step) for suite in self.suites(run) for step in steps]
            ends = (steps[0], steps[-1])
            measured += [(suite, step) for suite in self.claims.measured(run) for step in ends]
            found += [
                run.result(f"evaluations/{suite}/step{step}.json") for suite, step in measured
            ]
        return found

    def suites(self, run: Run) -> Mapping[str, Mapping[str, int]]:
        """Suites of a run by name, each with the sizes that it has of its own.

        They are the test rows of its dataset, the suites of the recipe, and the user's suites of
        the task, whose sizes replace those of the recipe.
        """
        key = run[:3]
        if key not in self._suites:
            settings = self.shared_settings(run)
            listed = [(suite.name, suite) for suite in settings.evaluation.suites]
            own = [
                (name, suite)
                for name, suite in self._config.suites.items()
                if suite.task == settings.task
            ]
            found: dict[str, dict[str, int]] = {settings.dataset: {}}
            for name, suite in [*listed, *own]:
                sizes = suite.model_dump(include={"max_problems", "n_samples"}, exclude_none=True)
                found[name] = found.get(name, {}) | sizes
            self._suites[key] = found
        return self._suites[key]

    def sizes(self, run: Run, suite: str) -> Mapping[str, int]:
        """Sizes that a suite of a run has of its own."""
        known = self.suites(run)
        if suite not in known and _MANY_SAMPLES.search(suite) and suite in self.claims.suites:
            return self.claims.suites[suite].sizes.model_dump(exclude_none=True)
        return known.get(suite, {})

    def suite_dataset(self, suite: str) -> str:
        """The dataset whose test rows a suite is."""
        own = self._config.suites.get(suite)
        if own is None and _MANY_SAMPLES.search(suite) and suite in self.claims.suites:
            return self.claims.suites[suite].dataset
        return (own.dataset if own else None) or suite

    def suite_problems(self, run: Run, suite: str) -> str:
        """Manifest of the problems of a suite, with the prompt of a run."""
        prompt = self.shared_settings(run).prompt
        return problems_manifest(self.suite_dataset(suite), prompt)

    def suite_options(self, run: Run, suite: str) -> str:
        """Arguments of `r1zero evaluate` for the sizes that a suite has of its own."""
        sizes = self.sizes(run, suite)
        return " ".join(f"--{key.replace('_', '-')} {size}" for key, size in sizes.items())

    def _recipe_and_changes(self, name: str) -> tuple[str, Mapping[str, Any]]:
        """The recipe behind a name, and the settings that a variant changes."""
        if name in self._variants or name in self.recipes:
            return self._variants.get(name, (name, {}))
        return self.claims.variants.get(name, (name, {}))
