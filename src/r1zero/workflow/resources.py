"""Layouts of the workflow's runs, and the host memory that its jobs ask for.

In the rules these are resources, which make no job run again when they change.
"""

from collections.abc import Iterable, Mapping

from r1zero.plan.architectures import architecture_of
from r1zero.plan.cost import evaluation_memory_of, host_memory_of, time_of
from r1zero.plan.evaluation import EvaluationLayout, evaluation_layout
from r1zero.plan.layout import Layout, Refusal
from r1zero.plan.machine import Machine, find_machine
from r1zero.plan.search import lay_out, layout_or_error
from r1zero.settings import Hardware, RunSettings, Sources
from r1zero.settings.architecture import Architecture
from r1zero.settings.workflow import Tracking
from r1zero.train.preflight import Needs

# What a layout of a run depends on. The seed is not among it.
_Key = tuple[str, str, str]


class Layouts:
    """Layouts of runs on the configured hardware, each computed once for all seeds.

    Args:
        hardware: The `hardware` of the configuration.
        sources: The table of models, for their sizes.

    Raises:
        UserError: The kind of GPU is unknown.

    """

    def __init__(self, hardware: Hardware, sources: Sources) -> None:
        self.hardware = hardware
        self.machine: Machine = find_machine(hardware)
        self._models = sources.models
        self._layouts: dict[_Key, Layout | Refusal] = {}
        self._architectures: dict[str, Architecture | None] = {}

    def check(self, run: RunSettings) -> None:
        """Raise `UserError` with a change that would work if a run has no layout."""
        layout = layout_or_error(run, self.machine, self._architecture(run), self.hardware)
        self._layouts[_key(run)] = layout

    def layout(self, run: RunSettings) -> Layout | None:
        """Layout of a run, or None if it has none."""
        if _key(run) not in self._layouts:
            architecture = self._architecture(run)
            found = lay_out(run, self.machine, architecture, self.hardware)
            self._layouts[_key(run)] = found
        layout = self._layouts[_key(run)]
        return layout if isinstance(layout, Layout) else None

    def training_memory(self, run: RunSettings) -> int:
        """Host memory of a training on its fullest node, in 10^6 bytes; 0 without a layout."""
        layout = self.layout(run)
        if layout is None:
            return 0
        return host_memory_of(layout, self.machine, self._architecture(run)) // 10**6

    def training_hours(self, run: RunSettings) -> float | None:
        """Estimated hours of a training, good to a factor of three; None without an estimate."""
        layout, architecture = self.layout(run), self._architecture(run)
        time = layout and architecture and time_of(run, layout, architecture, self.machine)
        return time.step * run.sizes.max_steps / 3600 if time else None

    def evaluation(self, run: RunSettings, sizes: Mapping[str, int]) -> EvaluationLayout:
        """Processes, GPUs and time of an evaluation; `sizes` are those that its suite has."""
        return evaluation_layout(run, self.machine, self._architecture(run), sizes)

    def evaluation_memory(self, run: RunSettings, sizes: Mapping[str, int]) -> int:
        """Host memory of an evaluation, in 10^6 bytes."""
        layout = self.evaluation(run, sizes)
        needed = evaluation_memory_of(
            self._architecture(run), gpus=layout.gpus, processes=layout.processes
        )
        return needed // 10**6

    def needs(self, runs: Iterable[RunSettings], tracking: Tracking) -> Needs:
        """What the machine that trains some runs has to offer."""
        needs = Needs(tracking=tracking)
        for run in runs:
            if layout := self.layout(run):
                needs = needs.joined(Needs.of(run, layout, self.machine, tracking))
        return needs

    def _architecture(self, run: RunSettings) -> Architecture | None:
        if run.model not in self._architectures:
            found = architecture_of(self._models.get(run.model), run.model)
            self._architectures[run.model] = found
        return self._architectures[run.model]


def _key(run: RunSettings) -> _Key:
    return run.scale, run.recipe, run.backend
