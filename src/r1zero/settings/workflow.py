"""`config/config.yaml`: which runs, on what."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from r1zero.settings.base import Name, Section
from r1zero.settings.sources import DatasetSource, ModelName, ModelSource


class Hardware(Section):
    """The machine that trains."""

    gpus: int | Literal["auto"] = "auto"
    """GPUs for one run; `auto` counts those of this machine."""


class Suite(Section):
    """Held-out problems of yours, beside the test rows of the dataset."""

    task: Name
    """Task whose recipes are measured on it."""
    path: Path
    """JSON-lines file with rows of the task."""
    numbers: list[int] | None = None
    """Countdown only: keep the rows with this many numbers."""


class Config(Section):
    """Which runs the workflow makes, and on what."""

    scale: Literal["mini", "paper"] = "mini"
    """`mini`: any CPU, minutes. `paper`: as published."""
    recipes: list[Name] = Field(default=["datawhale_r1"], min_length=1)
    """Recipes to run, by the names of the files in `config/recipes/`."""
    backends: list[Literal["trl"]] = Field(default=["trl"], min_length=1)
    """Trainers that run each recipe."""
    seeds: list[Annotated[int, Field(ge=0)]] = Field(default=[0], min_length=1)
    """Each recipe runs once per seed."""
    hardware: Hardware = Hardware()
    """The machine that trains."""
    datasets: dict[Name, DatasetSource] = Field(default={})
    """Datasets of yours, added to `config/sources.yaml` or in place of an entry there."""
    models: dict[ModelName, ModelSource] = Field(default={})
    """Models of yours, added to `config/sources.yaml` or in place of an entry there."""
    suites: dict[Name, Suite] = Field(default={})
    """More held-out suites, by name."""
