"""What the target `claims` trains and measures: the runs that decide each claim of the ledger."""

from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from r1zero.report.claims.base import Claim
from r1zero.settings import Config, RunSettings, load_recipe, resolve_run, variants_of
from r1zero.settings.recipe import SuiteSizes
from r1zero.settings.workflow import Ablation
from r1zero.workflow.paths import Run

# Problems that are asked many times each, for pass@k at a large k.
_PROBLEMS_OF_MANY_SAMPLES = 64


class Measured(NamedTuple):
    """A suite of many samples of each problem, at step 0 and the last checkpoint alone."""

    dataset: str
    sizes: SuiteSizes


class ClaimRuns:
    """Runs that decide the claims at the configured scale.

    They follow from the ledger: the recipe of a claim, the variants that its arms make of it, the
    seeds that a verdict needs or those of the configuration if they are more, and a suite of its
    own for claims on many samples. What the configuration selects besides does not matter. The
    ledger is read when a rule first asks for it, since its tests import scipy.

    Args:
        config: The configuration.
        folder: Its folder, with the recipes.

    """

    def __init__(self, config: Config, folder: Path) -> None:
        self._config, self._folder = config, folder

    @cached_property
    def ledger(self) -> list[Claim]:
        """Every claim."""
        from r1zero.report.claims.literature import CLAIMS

        return list(CLAIMS)

    @cached_property
    def variants(self) -> dict[str, tuple[str, dict[str, Any]]]:
        """Recipe and varied settings of each recipe or variant, by its name."""
        return {name: of for arms in self._arms.values() for name, of in arms.items()}

    @cached_property
    def suites(self) -> dict[str, Measured]:
        """Suites of many samples, by name."""
        return {
            _suite(dataset, claim.needs.samples): Measured(
                dataset,
                SuiteSizes(max_problems=_PROBLEMS_OF_MANY_SAMPLES, n_samples=claim.needs.samples),
            )
            for claim in self._sampled()
            for dataset in self._datasets(claim)
        }

    @property
    def recipes(self) -> list[str]:
        """Names of all recipes and variants, each once."""
        return list(dict.fromkeys(run.recipe for run in self.runs))

    @cached_property
    def runs(self) -> list[Run]:
        """All runs, each once."""
        return sorted({run for claim in self.ledger for run in self.of(claim)})

    def of(self, claim: Claim) -> list[Run]:
        """Runs that decide a claim; none where the target cannot decide it at this scale."""
        scale, backends = self._config.scale, self._config.backends
        if claim.arms.across == "backend" and len(backends) < 2:
            return []
        seeds = sorted({*self._config.seeds, *range(claim.seeds)})
        return [
            Run(scale, name, backend, seed)
            for name in self._arms[claim.id]
            for backend in (backends if claim.arms.across == "backend" else backends[:1])
            for seed in seeds
        ]

    def measured(self, run: Run) -> list[str]:
        """Suites of many samples of a run."""
        return [
            _suite(dataset, claim.needs.samples)
            for claim in self._sampled()
            if run._replace(base_seed=0) in self.of(claim)
            for dataset in self._datasets(claim)
        ]

    def steps(self, run: Run) -> list[int]:
        """Steps at which a run is measured: all, if one of its claims takes them, or both ends."""
        every = self._settings(run).evaluated_steps
        curves = any(
            item.needs.checkpoints and run._replace(base_seed=0) in self.of(item)
            for item in self.ledger
        )
        return every if curves else [every[0], every[-1]]

    def _sampled(self) -> list[Claim]:
        return [item for item in self.ledger if item.needs.samples > 1 and self._recipe(item)]

    def _recipe(self, claim: Claim) -> str | None:
        scale = self._config.scale
        return claim.recipes.get(scale) if scale in claim.scales else None

    @cached_property
    def _arms(self) -> dict[str, dict[str, tuple[str, dict[str, Any]]]]:
        """Recipes and variants of each claim, by its id; rules ask for them again and again."""
        return {claim.id: self._arms_of(claim) for claim in self.ledger}

    def _arms_of(self, claim: Claim) -> dict[str, tuple[str, dict[str, Any]]]:
        """Recipes and variants of a claim by name: two for a pair of settings, otherwise one."""
        recipe = self._recipe(claim)
        if recipe is None:
            return {}
        arms, own = claim.arms, load_recipe(recipe, self._folder).model_dump()
        vary = {key: list(values) for key, values in arms.settings.items()}
        for key, ratio in arms.ratio.items():
            section, _, name = key.partition(".")
            vary[key] = [ratio * own[section][name], own[section][name]]
        if not vary:
            return {recipe: (recipe, {})}
        return variants_of([Ablation(recipe=recipe, vary=vary)], self._folder)

    def _datasets(self, claim: Claim) -> set[str]:
        return {self._settings(run).dataset for run in self.of(claim)[:1]}

    def _settings(self, run: Run) -> RunSettings:
        recipe, vary = self.variants[run.recipe]
        return resolve_run(
            recipe,
            scale=run.scale,
            backend=run.backend,
            seed=run.seed,
            vary=vary,
            folder=self._folder,
        )


def _suite(dataset: str, samples: int) -> str:
    return f"{dataset}_x{samples}"
