"""`Workflow`: the one object that the rules ask."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from r1zero.core.environments import ENVIRONMENTS, STAMP
from r1zero.core.errors import UserError
from r1zero.plan.backend import load_backend
from r1zero.plan.evaluation import EvaluationLayout
from r1zero.plan.gpus import GPUS
from r1zero.rewards.functions import check_reward_functions
from r1zero.settings import Hardware, check_suites, load_config
from r1zero.settings.endpoints import Endpoint
from r1zero.settings.load import CONFIG_FOLDER
from r1zero.workflow.paths import Run
from r1zero.workflow.released import Released
from r1zero.workflow.reports import Reports
from r1zero.workflow.resources import Layouts
from r1zero.workflow.runs import Runs
from r1zero.workflow.sources import DataSources

# Cores of a job that computes on GPUs.
_CORES_BESIDE_GPUS = 4


class Workflow:
    """The checked configuration, and what follows from it for the rules.

    Args:
        values: The merged configuration of Snakemake.
        folder: Folder with recipes, scales and sources.
        here: Whether jobs run on this machine. For others the configuration has to describe the
            GPUs, since those of this machine say nothing.

    Raises:
        UserError: A file or key is invalid, a selected run has no layout on the configured
            hardware, or a source on disk is not the one that the lock names.

    """

    def __init__(
        self,
        values: dict[str, Any],
        folder: Path = CONFIG_FOLDER,
        *,
        here: bool = True,
    ) -> None:
        self.config = load_config(values, folder=folder)
        self.runs = Runs(self.config, folder)
        self.sources = DataSources(self.config, self.runs, folder)
        hardware = self.config.hardware
        if self.sources.scale(self.config.scale).device == "cpu":
            hardware = hardware.model_copy(update={"gpus": 0})
        if not here:
            _check_described(hardware)
        self.layouts = Layouts(hardware, self.sources.table)
        self.released = Released(self.config, self.runs, self.sources, self.layouts, folder)
        self.reports = Reports(self.runs, self.sources.table, self.released)
        self._check()

    def _check(self) -> None:
        for run in self.runs.of(self.runs.selected):
            if run.seed == self.config.seeds[0]:
                settings = self.runs.settings(run)
                self.layouts.check(settings)
                check_reward_functions(settings)
                check_suites(settings, self.sources.table)
        self.sources.check_lock(self.needed())

    def needed(self) -> list[str]:
        """Manifests of every dataset and model that selected runs and released models need."""
        selected = self.sources.needed(self.runs.selected)
        return list(dict.fromkeys([*selected, *self.released.needed()]))

    # Targets.

    def made_by(self, target: str) -> Sequence[str]:
        """Recipes and variants that a target trains or evaluates.

        A target without a name here, such as the path of a result, may belong to any selected run.
        """
        if target == "train_all":
            return self.reports.names["report_all"]
        name = target.removeprefix("train_").removeprefix("evaluate_")
        if name in self.runs.tasks:
            return [each for each in self.runs.selected if self.runs.task_of(each) == name]
        return [name] if name in self.runs.recipes else self.runs.selected

    def finished(self, target: str) -> list[str]:
        """Files that a target makes: evaluations, and the report if it is on just these runs."""
        names = self.made_by(target)
        files = self.runs.evaluations(self.runs.of(names))
        for report, reported in self.reports.names.items():
            if set(names) == set(reported):
                return [*files, f"results/{self.config.scale}/{report}/report.pdf"]
        return files

    def claimed(self) -> list[str]:
        """Report on the runs that decide the claims, each with a layout."""
        for name in self.runs.claims.recipes:
            run = next(run for run in self.runs.claims.runs if run.recipe == name)
            settings = self.runs.shared_settings(run)
            self.layouts.check(settings)
            check_suites(settings, self.sources.table)
        return [f"results/{self.config.scale}/claims/report.pdf"]

    def compared(self) -> list[str]:
        """Scores of the released models beside the published ones."""
        scale = self.config.scale
        return [f"results/{scale}/released/released.md"] if self.released.models else []

    def plans(self) -> list[str]:
        """Plans of all selected runs, for people."""
        return [run.result("plan/plan.md") for run in self.runs.of(self.runs.selected)]

    # Resources.

    @property
    def gpus(self) -> int:
        """GPUs of a training on one node."""
        return self.layouts.machine.gpus_per_node

    @property
    def hardware(self) -> str:
        """The `hardware` of the configuration as `r1zero layout` takes it, as JSON."""
        return self.layouts.hardware.model_dump_json(exclude_none=True)

    @property
    def cores(self) -> Mapping[str, int]:
        """Cores of a job by its stage, for scheduling alone; how it computes is the scale's."""
        if self.gpus:
            return {"pretrain": _CORES_BESIDE_GPUS, "train": _CORES_BESIDE_GPUS, "evaluate": 1}
        computation = self.sources.scale(self.config.scale).computation
        return {
            "pretrain": computation.pretrain.cores,
            "train": computation.train.cores,
            "evaluate": computation.evaluate.threads,
        }

    def training_memory(self, run: Run) -> int:
        """Host memory of a training, in 10^6 bytes."""
        return self.layouts.training_memory(self.runs.shared_settings(run))

    def training_minutes(self, run: Run) -> int:
        """Time limit of a training in minutes: three times the estimate, or a day without one."""
        hours = self.layouts.training_hours(self.runs.shared_settings(run))
        return 24 * 60 if hours is None else math.ceil(3 * hours + 1) * 60

    def evaluation(self, run: Run, suite: str) -> EvaluationLayout:
        """Processes, GPUs and time of an evaluation on one node."""
        sizes = self.runs.sizes(run, suite)
        return self.layouts.evaluation(self.runs.shared_settings(run), sizes)

    def evaluation_memory(self, run: Run, suite: str) -> int:
        """Host memory of an evaluation, in 10^6 bytes."""
        sizes = self.runs.sizes(run, suite)
        return self.layouts.evaluation_memory(self.runs.shared_settings(run), sizes)

    def evaluation_gpus(self, run: Run, suite: str) -> int:
        """GPUs of an evaluation."""
        return self.evaluation(run, suite).gpus

    def evaluation_processes(self, run: Run, suite: str) -> int:
        """Processes of an evaluation, each with a copy of the model."""
        return self.evaluation(run, suite).processes

    def evaluation_minutes(self, run: Run, suite: str) -> int:
        """Time to ask a scheduler for."""
        return self.evaluation(run, suite).minutes

    # Environment and preflight.

    def environment_of(self, backend: str) -> list[str]:
        """Stamp of the environment of a backend; empty for a backend that has none of its own."""
        name = load_backend(backend).environment
        return [str(ENVIRONMENTS / name / STAMP)] if name else []

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables of the jobs.

        They are no parameters of rules: another mirror or tracker must not make a job run again.
        """
        endpoints = TypeAdapter(list[Endpoint])
        return {
            "R1ZERO_ENDPOINTS": endpoints.dump_json(
                self.config.endpoints, exclude_none=True
            ).decode(),
            "R1ZERO_OFFLINE": str(int(self.config.offline)),
            "R1ZERO_GUARDS": self.config.guards.model_dump_json(),
            "R1ZERO_TRACKING": self.config.tracking.model_dump_json(),
        }

    def preflight_needs(self, runs: Iterable[Run]) -> str:
        """What a machine needs to train some runs, as JSON for `r1zero preflight`."""
        first = {run[:3]: run for run in runs}.values()
        needs = self.layouts.needs(map(self.runs.shared_settings, first), self.config.tracking)
        return needs.model_dump_json()


def _check_described(hardware: Hardware) -> None:
    """Check that the configuration describes the nodes of a cluster.

    The workflow is read on a login node, whose GPUs are not those of the nodes.

    Raises:
        UserError: Number or kind of the GPUs would be measured on this machine, or a run would
            take several nodes.

    """
    if hardware.nodes > 1:
        raise UserError(
            f"is {hardware.nodes}, and a training on several nodes cannot be submitted",
            where="hardware.nodes",
            hint="set it to 1; `python -m r1zero plan` shows the plan for several",
        )
    if hardware.gpus == "auto":
        raise UserError(
            "is `auto`, which counts the GPUs of this machine, and the jobs run on others",
            where="hardware.gpus",
            hint="give the number of GPUs of a node, such as 8",
        )
    if hardware.gpus and not (hardware.gpu or hardware.gpu_memory_gb):
        raise UserError(
            "is left out, and this machine does not show what the nodes have",
            where="hardware.gpu",
            hint=f"one of {', '.join(GPUS)}; or give hardware.gpu_memory_gb",
        )
