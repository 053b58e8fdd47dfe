"""What the reports are on."""

import json
from typing import Any

from r1zero.report.claims.plans import planned_recipes
from r1zero.settings import RunSettings, Sources
from r1zero.workflow.paths import Run
from r1zero.workflow.released import Released
from r1zero.workflow.runs import Runs

CLAIMS = "claims"
"""Folder of the report on the runs that decide claims."""


class Reports:
    """The reports.

    `report` is on what is selected, `report_all` on all that was published too, and `claims` on the
    runs that decide claims.

    Args:
        runs: The runs.
        table: Every dataset and model.
        released: The released models, which all reports show.

    """

    def __init__(self, runs: Runs, table: Sources, released: Released) -> None:
        self._runs, self._table, self._released = runs, table, released
        every = list(dict.fromkeys([*runs.selected, *runs.published]))
        self.names: dict[str, list[str]] = {"report": runs.selected, "report_all": every}
        """Recipes and variants of each report, by its folder; see `recipes` for `claims`."""

    def runs(self, report: str) -> list[Run]:
        """Runs of a report."""
        if report == CLAIMS:
            return self._runs.of_claims()
        return self._runs.of(self.names[report])

    def recipes(self, report: str) -> list[str]:
        """Recipes and variants of a report."""
        return self._runs.claims.recipes if report == CLAIMS else self.names[report]

    def results(self, report: str, name: str) -> list[str]:
        """One result of each of its runs, such as `model.json`."""
        return [run.result(name) for run in self.runs(report)]

    def evaluations(self, report: str) -> list[str]:
        """Evaluations of its runs."""
        if report == CLAIMS:
            return self._runs.evaluations_of_claims()
        return self._runs.evaluations(self.runs(report))

    def sources(self, report: str) -> dict[str, Any]:
        """Table entries that a report names: of its runs, and of the plans that claims are on."""
        runs = [self._runs.shared_settings(run) for run in self.runs(report)]
        datasets = {run.dataset for run in runs}
        models = {run.model for run in (*runs, *self._planned().values())}
        kept = Sources(
            datasets={k: v for k, v in self._table.datasets.items() if k in datasets},
            models={k: v for k, v in self._table.models.items() if k in models},
        )
        return kept.model_dump(mode="json", exclude_none=True)

    def published_scores(self, report: str) -> str:
        """Published scores of the recipes of a report, as JSON."""
        recipes = self._runs.recipes
        scores = {
            name: [score.model_dump(mode="json") for score in recipes[name].published_scores]
            for name in self.recipes(report)
            if name in recipes
        }
        return json.dumps(scores)

    def released(self) -> dict[str, dict[str, list[str]]]:
        """Files of the released models, as a part of the list of results; empty without them."""
        found = self._released
        if not found.models:
            return {}
        return {"released": {"models": found.models, "evaluations": found.evaluations}}

    def released_scores(self) -> str:
        """Published scores of the recipes whose models are compared, as JSON."""
        recipes = {name: self._runs.recipes[name] for name in self._released.recipes}
        kept = {"published_scores", "released"}
        return json.dumps(
            {name: recipe.model_dump(mode="json", include=kept) for name, recipe in recipes.items()}
        )

    def planned_runs(self) -> str:
        """Settings of the published runs whose plans claims are on, as JSON."""
        runs = {
            name: run.model_dump(mode="json", exclude={"evaluation"})
            for name, run in self._planned().items()
        }
        return json.dumps(runs, sort_keys=True)

    def _planned(self) -> dict[str, RunSettings]:
        return {
            name: self._runs.settings(Run("paper", name, "trl", 0)) for name in planned_recipes()
        }
