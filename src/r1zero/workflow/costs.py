"""Time of runs: measured where they are finished, otherwise planned."""

from collections.abc import Collection
from pathlib import Path

from r1zero.core.files import cost_file, read_json
from r1zero.plan.cost import cpu_pretraining_seconds, cpu_seconds
from r1zero.workflow.paths import Run
from r1zero.workflow.workflow import Workflow


class Costs:
    """Time of runs with their evaluations and bases, on as many cores as a training takes.

    Args:
        flow: The workflow.

    """

    def __init__(self, flow: Workflow) -> None:
        self._flow = flow
        self.cores = flow.cores["train"]
        """Cores that the times are for."""

    @property
    def measured(self) -> int:
        """How many runs of the claims are finished."""
        return sum(Path(run.result("model.json")).is_file() for run in self._flow.runs.of_claims())

    def of_runs(self, runs: Collection[Run], *, many_samples: bool) -> float | None:
        """Seconds of runs, one after the other, with their bases.

        Evaluations run side by side on the cores of a training. None on GPUs, where evaluations
        are not estimated.

        Args:
            runs: The runs.
            many_samples: Whether their suites of many samples count too.

        """
        if self._flow.gpus:
            return None
        side_by_side = self._flow.cores["evaluate"] / self.cores
        bases = {self._flow.runs.base_model(run): run for run in runs}.values()
        total = sum(map(self._base, bases)) + sum(map(self._training, runs))
        for run in runs:
            steps = self._flow.runs.claims.steps(run)
            measured = [(suite, step) for suite in self._flow.runs.suites(run) for step in steps]
            if many_samples:
                ends = (steps[0], steps[-1])
                suites = self._flow.runs.claims.measured(run)
                measured += [(suite, step) for suite in suites for step in ends]
            total += side_by_side * sum(self._evaluation(run, *item) for item in measured)
        return total

    def _training(self, run: Run) -> float:
        path = Path(run.result("model.json"))
        if path.is_file():
            return float(read_json(path)["train_seconds"])
        settings = self._flow.runs.shared_settings(run)
        sizes = settings.sizes
        step = cpu_seconds(settings.completions_per_step, sizes.max_completion_length)
        return step * sizes.max_steps

    def _evaluation(self, run: Run, suite: str, step: int) -> float:
        path = Path(run.result(f"evaluations/{suite}/step{step}.json"))
        if path.is_file():
            return float(read_json(path)["seconds"])
        settings, own = self._flow.runs.shared_settings(run), self._flow.runs.sizes(run, suite)
        measured = settings.evaluation
        samples = own.get("n_samples", measured.n_samples) + measured.greedy
        problems = own.get("max_problems", measured.max_problems)
        return cpu_seconds(problems * samples, settings.sizes.max_completion_length)

    def _base(self, run: Run) -> float:
        settings = self._flow.runs.shared_settings(run)
        if not settings.is_mini_base:
            return 0.0
        path = cost_file(Path(self._flow.runs.base_model(run)).parent)
        if path.is_file():
            return float(read_json(path)["seconds"])
        base = self._flow.sources.scale(run.scale).bases[settings.model]
        return cpu_pretraining_seconds(base.steps * base.tokens_per_step)
