"""The table of datasets and models, with the origin of each."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from r1zero.core.section import Name, Section
from r1zero.settings.architecture import Architecture
from r1zero.tasks.registry import TASKS, AnyGenerated, TaskName, find_task

ModelName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_.-]*$")]
SplitName = Literal["train", "test"]
Repository = Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")]


def check_numbers(numbers: list[int] | None, task: TaskName) -> None:
    """Raise `ValueError` if rows of a task without numbers are selected by how many they have."""
    if numbers is not None and find_task(task).counted is None:
        counted = ", ".join(known.name for known in TASKS.values() if known.counted)
        raise ValueError(f"`numbers` selects rows of {counted}, not of {task}")


class Local(Section):
    """Rows in your own files: `.jsonl`, `.json`, `.csv` or `.parquet`."""

    kind: Literal["local"]
    """Read from this machine's disk."""
    task: TaskName
    """Task of the rows; it decides how they are read."""
    train: Path | None = None
    """Training rows."""
    test: Path | None = None
    """Held-out rows."""
    numbers: list[int] | None = None
    """Countdown only: select the rows with this many numbers."""

    @model_validator(mode="after")
    def _has_rows(self) -> Self:
        if not self.split_names:
            raise ValueError("needs `train` or `test`")
        check_numbers(self.numbers, self.task)
        return self

    @property
    def split_names(self) -> list[SplitName]:
        """Its splits."""
        files: dict[SplitName, Path | None] = {"train": self.train, "test": self.test}
        return [name for name, path in files.items() if path]


class Place(Section):
    """A repository on a hub."""

    repo: Repository
    """Owner and name."""
    revision: str | None = None
    """Commit, tag or branch; default: the hub's main branch. The files of the first download are
    locked, so that later commits to a branch change nothing."""
    verified: bool = True
    """Whether published code uses this repository for these files. A repository that is only
    guessed (`false`) may serve only files that are already in the lock."""


class _Hosted(Section):
    """Files that are fetched from hubs."""

    kind: Literal["hub"]
    """Fetched from the endpoints of the configuration, in their order."""
    huggingface: Place | None = None
    """The repository on the Hugging Face hub and its mirrors."""
    modelscope: Place | None = None
    """The repository on ModelScope."""
    licence: str
    """Licence, as an SPDX identifier where there is one, or `unknown`."""
    gigabytes: float = Field(gt=0)
    """Approximate size of the files in units of 10^9 bytes; informative only."""

    @model_validator(mode="after")
    def _is_somewhere(self) -> Self:
        if not (self.huggingface or self.modelscope):
            raise ValueError("needs a repository on `huggingface` or `modelscope`")
        return self


class Split(Section):
    """The files of one split."""

    files: list[str] = Field(min_length=1)
    """Paths in the repository; `*` matches any text within the name of a folder or file, and no
    other character is special. Every path without `*` must exist, and at least one file of all.
    Rows are read in this order, and in the order of names where a `*` matches several."""
    rows: tuple[int, int] | None = None
    """First row and the row after the last one, counted over all files; default: all rows."""

    @field_validator("rows")
    @classmethod
    def _are_some(cls, rows: tuple[int, int] | None) -> tuple[int, int] | None:
        if rows and not 0 <= rows[0] < rows[1]:
            raise ValueError("needs a first row of at least 0, and an end after it")
        return rows


class HubDataset(_Hosted):
    """A published dataset."""

    task: TaskName
    """Task of the rows; it decides how they are read."""
    splits: dict[SplitName, Split] = Field(min_length=1)
    """Files of `train` and `test`."""
    numbers: list[int] | None = None
    """Countdown only: select the rows with this many numbers."""

    @model_validator(mode="after")
    def _has_such_rows(self) -> Self:
        check_numbers(self.numbers, self.task)
        return self

    @property
    def split_names(self) -> list[SplitName]:
        """Its splits."""
        return list(self.splits)


DatasetSource = Annotated[AnyGenerated | Local | HubDataset, Field(discriminator="kind")]


class HubModel(_Hosted):
    """A published model."""

    files: list[str] = Field(default=["*.safetensors", "*.json", "*.txt", "*.jinja"], min_length=1)
    """Files to fetch; `*` matches any text within a name."""
    architecture: Architecture | None = None
    """Sizes from the model's config.json, so that it can be planned without a download."""
    allow: list[str] = Field(default=[])
    """Names of files that can run code (pickled weights, Python) and may be fetched
    nevertheless."""


class LocalModel(Section):
    """A model in your own folder."""

    kind: Literal["local"]
    """Linked, not copied."""
    path: Path
    """Folder with config, tokenizer and safetensors files."""


ModelSource = Annotated[HubModel | LocalModel, Field(discriminator="kind")]


class Sources(Section):
    """Every dataset and model that recipes name."""

    datasets: dict[Name, DatasetSource] = Field(default={})
    """Datasets by name."""
    models: dict[ModelName, ModelSource] = Field(default={})
    """Models by name."""

    @field_validator("datasets", "models", mode="before")
    @classmethod
    def _may_be_empty(cls, entries: object) -> object:
        return {} if entries is None else entries  # YAML: a section without entries
