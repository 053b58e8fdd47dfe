"""The table of datasets and models: where each comes from."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from r1zero.settings.base import Name, Section

ModelName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_.-]*$")]


class Generated(Section):
    """Rows drawn here, from the distribution of a published dataset."""

    kind: Literal["generated"]
    """Made on this machine, without a network."""
    generator: Literal["countdown"]
    """Generator: `countdown` draws rows like those of Countdown-Tasks-3to4."""
    train: int = Field(ge=1)
    """Training rows."""
    test: int = Field(ge=1)
    """Held-out rows; none occurs in train, in any order of its numbers."""
    numbers: list[Annotated[int, Field(ge=2, le=4)]] = Field(min_length=1)
    """How many numbers a row has, 2 to 4; each count is equally likely."""
    seed: int = 0
    """Seed of the rows."""


class Local(Section):
    """Rows in JSON-lines files of yours."""

    kind: Literal["local"]
    """Read from this machine's disk."""
    train: Path
    """Training rows: one JSON object a line."""
    test: Path
    """Held-out rows."""
    numbers: list[int] | None = None
    """Countdown only: keep the rows with this many numbers."""


DatasetSource = Annotated[Generated | Local, Field(discriminator="kind")]


class HubModel(Section):
    """A model on the Hugging Face hub, or on the mirror that HF_ENDPOINT names."""

    kind: Literal["hub"]
    """Downloaded, safetensors only."""
    repo: str
    """Owner and name."""
    revision: str = "main"
    """Commit, tag or branch."""


class LocalModel(Section):
    """A model in a folder of yours."""

    kind: Literal["local"]
    """Linked to, not copied."""
    path: Path
    """Folder with config, tokenizer and safetensors files."""


ModelSource = Annotated[HubModel | LocalModel, Field(discriminator="kind")]


class Sources(Section):
    """Every dataset and model that recipes name."""

    datasets: dict[Name, DatasetSource] = Field(default={})
    """Datasets by name."""
    models: dict[ModelName, ModelSource] = Field(default={})
    """Models by name."""
