"""Datasets and models that the rules fetch, and which rows are kept out of which."""

import json
from collections.abc import Iterable
from pathlib import Path

from r1zero.core.errors import UserError
from r1zero.settings import Config, Scale, load_scale, suites_beside, table_of
from r1zero.sources.lock import LOCK, Lock
from r1zero.sources.verify import check_lock
from r1zero.tasks.registry import are_alike
from r1zero.workflow.paths import dataset_manifest, model_manifest, rows_manifest
from r1zero.workflow.runs import Runs


class DataSources:
    """The table of datasets and models, shipped and the user's, as the rules need it.

    Args:
        config: The configuration.
        runs: Its runs.
        folder: Its folder, with the table and the scales.

    Raises:
        UserError: The table or a suite of the configuration is invalid.

    """

    def __init__(self, config: Config, runs: Runs, folder: Path) -> None:
        self.table = table_of(config, folder)
        """Shipped entries, the user's, and the files of the user's suites."""
        self._config, self._runs, self._folder = config, runs, folder
        self._scales: dict[str, Scale] = {}

    def scale(self, name: str) -> Scale:
        """A scale by its name."""
        if name not in self._scales:
            self._scales[name] = load_scale(name, self._folder)
        return self._scales[name]

    def dataset_entry(self, dataset: str) -> str:
        """Table entry of a dataset, as JSON.

        Rules have the entry as a parameter, so that a change of another entry changes nothing.
        """
        if dataset not in self.table.datasets:
            raise _unknown("datasets", dataset, self.table.datasets)
        entry = self.table.datasets[dataset].model_dump(mode="json", exclude_none=True)
        return json.dumps({dataset: entry})

    def model_entry(self, model: str) -> str:
        """Table entry of a model, as JSON."""
        if model not in self.table.models:
            raise _unknown("models", model, self.table.models)
        entry = self.table.models[model].model_dump(mode="json", exclude_none=True)
        return json.dumps({model: entry})

    def local_files(self, dataset: str) -> list[str]:
        """The user's files behind a local dataset."""
        source = self.table.datasets.get(dataset)
        if source is None or source.kind != "local":
            return []
        return [str(path) for path in (source.train, source.test) if path]

    def base_settings(self, scale: str, base: str) -> str:
        """Settings of a mini base model and how it is computed, as JSON."""
        scaling = self.scale(scale)
        computed = scaling.computation.pretrain.model_dump()
        name, seed = _base_and_seed(base)
        content = scaling.bases[name].model_dump(mode="json")
        content["seed"] += seed
        return json.dumps([content, computed])

    def base_options(self, base: str) -> str:
        """Arguments of `r1zero pretrain`: the base, and what is added to its seed."""
        name, seed = _base_and_seed(base)
        return f"{name} --add-seed {seed}" if seed else name

    def base_rows(self, scale: str, base: str) -> str:
        """Manifest of the rows of a mini base model: those that runs from it train on."""
        scaling = self.scale(scale)
        dataset = scaling.tasks[scaling.bases[_base_and_seed(base)[0]].traces.task].dataset
        assert dataset is not None  # a scale without it is invalid
        return rows_manifest(dataset)

    def held_out(self, dataset: str) -> dict[str, str]:
        """Manifests of the datasets whose test rows are removed from a dataset's train, by suite.

        They are the suites of every recipe, not only of the selected ones: selecting one more
        recipe must not change the rows that the others train on.
        """
        source = self.table.datasets.get(dataset)
        if source is None or "train" not in source.split_names:
            return {}
        datasets = self.table.datasets
        suites = suites_beside(dataset, self._runs.recipes, self.scale(self._config.scale))
        others = {name: name for name in suites if name in datasets}
        others |= {name: suite.dataset or name for name, suite in self._config.suites.items()}
        return {
            name: dataset_manifest(other)
            for name, other in others.items()
            if other != dataset and are_alike(datasets[other].task, source.task)
        }

    def needed(self, names: Iterable[str]) -> list[str]:
        """Manifests of every dataset and model that recipes and variants need."""
        # Seeds differ in none of them.
        runs = list({run[:3]: run for run in self._runs.of(names)}.values())
        settings = [self._runs.shared_settings(run) for run in runs]
        datasets = {each.dataset for each in settings}
        suites = {suite for run in runs for suite in self._runs.suites(run)}
        datasets |= {self._runs.suite_dataset(suite) for suite in suites}
        # A suite of another task may have training rows, and so rows that it must not hold.
        held_out = {path for name in datasets for path in self.held_out(name).values()}
        models = {model_manifest(each.model) for each in settings if not each.is_mini_base}
        models |= {path for run in runs for path in self._runs.reward_models(run)}
        return [*sorted({dataset_manifest(name) for name in datasets} | held_out), *sorted(models)]

    def check_lock(self, manifests: Iterable[str]) -> None:
        """Raise `UserError` if a source on disk is not the one that the lock names."""
        lock = Lock(LOCK)
        for path in map(Path, manifests):
            if path.is_file():
                check_lock(lock, path.parts[1], path)


def _base_and_seed(base: str) -> tuple[str, int]:
    """A base and what is added to its seed, from the name of its folder."""
    name, _, seed = base.partition(".seed")
    return name, int(seed or 0)


def _unknown(section: str, name: str, known: Iterable[str]) -> UserError:
    return UserError(f"unknown '{name}'", where=section, hint=f"known: {', '.join(known)}")
