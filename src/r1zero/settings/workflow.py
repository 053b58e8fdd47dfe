"""`config/config.yaml`: which runs, on what."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from r1zero.core.section import Name, Section
from r1zero.settings.backends import BackendName
from r1zero.settings.endpoints import DEFAULT_ENDPOINTS, Address, Endpoint, Variable
from r1zero.settings.recipe import ListedSuites, OptionValue, SuiteSizes
from r1zero.settings.sources import (
    DatasetSource,
    ModelName,
    ModelSource,
    check_numbers,
)
from r1zero.tasks.registry import TaskName

REFERENCE_TOKEN = "R1ZERO_REFERENCE_TOKEN"  # noqa: S105 (the name of a variable)
"""Environment variable with the token of a reference server."""


class RemoteReference(Section):
    """A reference server that somebody has started."""

    remote: Address
    """Its address, such as `http://10.0.0.2:59875`."""
    patience: float = Field(default=600.0, gt=0)
    """Seconds that it may be gone or busy before a training stops."""
    token_from: Variable = REFERENCE_TOKEN
    """Environment variable with its token, if it wants one."""


class Hardware(Section):
    """The machine that trains, and the layouts that a plan may use."""

    gpus: Annotated[int, Field(ge=0)] | Literal["auto"] = "auto"
    """GPUs of one node for one run; `auto` counts the visible ones of this machine."""
    nodes: int = Field(default=1, ge=1)
    """Nodes for one run."""
    gpu: str | None = None
    """Kind of GPU, such as `a100-80g` or `4090`; default: measured on this machine."""
    gpu_memory_gb: float | None = Field(default=None, gt=0)
    """Memory of one GPU in 2^30 bytes, for a kind that `gpu` does not know."""
    placement: Literal["auto", "server", "colocate"] = "auto"
    """Where completions are generated: on GPUs of their own (`server`), or on those that train
    (`colocate`); `auto` tries the placement of the recipe first."""
    generator_gpus: int | None = Field(default=None, ge=1)
    """GPUs that only generate, with placement `server`; default: the minimum that fits."""
    reference: Literal["auto", "trainer", "server"] | RemoteReference = "auto"
    """Where the reference model of the KL penalty is: on every trainer, on a server that the run
    starts, or on one that is there already (`remote: ADDRESS`); `auto` follows the recipe."""
    accept: list[Literal["idle_gpus", "other_batch"]] = Field(default=[])
    """Deviations that a plan may use if the batch does not divide over the GPUs: leave GPUs idle,
    or take the nearest batch that fits, which is another algorithm."""
    disk_gb: float | None = Field(default=None, gt=0)
    """Disk for the checkpoints of one run in 10^9 bytes; default: no limit."""


class Suite(SuiteSizes):
    """More held-out problems, beside the test rows of a run's dataset."""

    task: TaskName
    """Task whose recipes are measured on it."""
    path: Path | None = None
    """File of yours with rows of the task."""
    dataset: Name | None = None
    """Dataset whose test rows it is, instead of a file."""
    numbers: list[int] | None = None
    """Countdown only: keep the rows of `path` with this many numbers."""

    @model_validator(mode="after")
    def _has_one_origin(self) -> Self:
        if (self.path is None) == (self.dataset is None):
            raise ValueError("wants either a `path` or a `dataset`")
        if self.dataset and self.numbers:
            raise ValueError("`numbers` goes with `path`; a dataset has its own")
        check_numbers(self.numbers, self.task)
        return self


class Ablation(Section):
    """Variants of one recipe: they differ in the varied settings and in nothing else."""

    recipe: Name
    """The recipe."""
    vary: dict[str, list[OptionValue]] = Field(min_length=1)
    """Settings as `algorithm.beta` or `sizes.learning_rate`, each with its values. Several settings
    change together: the first variant takes the first value of each, and so on."""

    @model_validator(mode="after")
    def _values_pair_up(self) -> Self:
        counts = {key: len(values) for key, values in self.vary.items()}
        if len(set(counts.values())) > 1 or 0 in counts.values():
            found = ", ".join(f"{key} {count}" for key, count in counts.items())
            raise ValueError(f"`vary` wants as many values for each setting; there are: {found}")
        return self

    @property
    def variants(self) -> list[dict[str, OptionValue]]:
        """The settings of each variant."""
        return [
            dict(zip(self.vary, values, strict=True))
            for values in zip(*self.vary.values(), strict=True)
        ]


class Evaluated(Section):
    """A released model, scored like the base model of a recipe."""

    path: Path | None = None
    """Your folder with its files; default: the model of this name in `sources.yaml`."""
    recipe: Name | None = None
    """Recipe whose prompt, decoding, lengths and suites it is scored with; default: the one that
    lists the model under `released`."""
    prompt: Name | None = None
    """Prompt template; default: the one that the model was released for, or that of the recipe."""
    suites: ListedSuites | None = Field(default=None, min_length=1)
    """Suites, with sizes of their own where a mapping gives them; default: those of the recipe."""


class Tracking(Section):
    """Where the metrics of a training go besides `metrics.jsonl`. It decides no weights."""

    to: list[Literal["swanlab", "tensorboard", "wandb", "trackio"]] = Field(default=[])
    """Trackers, by the names of their packages; each has to be installed."""
    mode: Literal["offline", "online"] = "offline"
    """`offline`: on disk, under the run's folder of checkpoints. `online`: sent to the service as
    well, with the key in SWANLAB_API_KEY or WANDB_API_KEY."""
    project: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")] = "r1zero"
    """Project that the runs are in."""
    workspace: str | None = Field(default=None, min_length=1)
    """Workspace of SwanLab, or entity of wandb; that of the key if left out."""


class Guarding(Section):
    """How a training ends before its last step. It decides no weights."""

    on_collapse: Literal["warn", "stop"] = "warn"
    """What follows a loss that is no number, or a collapse of KL, entropy, length, or a reward."""
    seconds_after_sigterm: float = Field(default=25.0, ge=0)
    """Seconds after SIGTERM in which a training may end its step and save; where its steps are
    longer, it ends at once. SLURM sends SIGKILL after `KillWait`, 30 seconds by default."""


class Config(Section):
    """Which runs the workflow makes, and on what."""

    scale: Literal["mini", "paper"] = "mini"
    """`mini`: any CPU, minutes. `paper`: as published."""
    recipes: list[Name] = Field(default=["datawhale_r1"], min_length=1)
    """Recipes to run, by the names of the files in `config/recipes/`."""
    ablations: list[Ablation] = Field(default=[])
    """Variants of recipes to run besides."""
    backends: list[BackendName] = Field(default=["trl"], min_length=1)
    """Trainers that run each recipe."""
    seeds: list[Annotated[int, Field(ge=0)]] = Field(default=[0], min_length=1)
    """Each recipe runs once per seed."""
    hardware: Hardware = Hardware()
    """The machine that trains."""
    endpoints: list[Endpoint] = Field(default=DEFAULT_ENDPOINTS, min_length=1)
    """Where models and datasets are fetched from, tried in this order for each file."""
    offline: bool = False
    """Fetch nothing over a network: what is not on disk is an error."""
    datasets: dict[Name, DatasetSource] = Field(default={})
    """Datasets of yours, added to `config/sources.yaml` or in place of an entry there."""
    models: dict[ModelName, ModelSource] = Field(default={})
    """Models of yours, added to `config/sources.yaml` or in place of an entry there."""
    suites: dict[Name, Suite] = Field(default={})
    """More held-out suites, by name."""
    evaluate: dict[ModelName, Evaluated] = Field(default={})
    """Released models to score besides, by their names in `sources.yaml`; nothing trains them."""
    guards: Guarding = Guarding()
    """How a training ends before its last step."""
    tracking: Tracking = Tracking()
    """Where the metrics of a training go besides `metrics.jsonl`."""
