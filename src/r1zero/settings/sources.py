"""The table of datasets and models: where each comes from."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from r1zero.core.section import Name, Section
from r1zero.settings.architecture import Architecture

ModelName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_.-]*$")]
Format = Literal["countdown", "gsm8k", "math", "tldr"]
SplitName = Literal["train", "test"]
Repository = Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")]


def are_alike(first: Format, second: Format) -> bool:
    """Whether one prompt can show rows of both: a question is all that GSM8K and MATH have."""
    return first == second or {first, second} == {"gsm8k", "math"}


def check_numbers(numbers: list[int] | None, rows: Format) -> None:
    """Raise `ValueError` where rows that hold no numbers are chosen by how many they have."""
    if numbers is not None and rows != "countdown":
        raise ValueError(f"`numbers` chooses rows of countdown, and these are of {rows}")


class Generated(Section):
    """Rows drawn here, in the format of a published dataset."""

    kind: Literal["generated"]
    """Made on this machine, without a network."""
    generator: Literal["countdown", "word_problems", "expressions", "posts"]
    """Generator: `countdown` draws rows like those of Countdown-Tasks-3to4; the others write rows
    in the formats of GSM8K (`word_problems`), MATH (`expressions`) and TL;DR (`posts`), which a
    mini base can learn."""
    train: int = Field(ge=1)
    """Training rows."""
    test: int = Field(ge=1)
    """Held-out rows; none occurs in train, for Countdown in any order of its numbers."""
    numbers: list[Annotated[int, Field(ge=2, le=4)]] | None = Field(default=None, min_length=1)
    """Countdown only, required there: how many numbers a row has, 2 to 4; each count is equally
    likely."""
    seed: int = 0
    """Seed of the rows."""

    @model_validator(mode="after")
    def _has_its_options(self) -> Self:
        check_numbers(self.numbers, self.format)
        if self.numbers is None and self.format == "countdown":
            raise ValueError("generator `countdown` wants `numbers`")
        return self

    @property
    def format(self) -> Format:
        """How the rows are read."""
        formats: dict[str, Format] = {
            "countdown": "countdown",
            "word_problems": "gsm8k",
            "expressions": "math",
            "posts": "tldr",
        }
        return formats[self.generator]

    @property
    def split_names(self) -> list[SplitName]:
        """Its splits."""
        return ["train", "test"]


class Local(Section):
    """Rows in files of yours: `.jsonl`, `.json`, `.csv` or `.parquet`."""

    kind: Literal["local"]
    """Read from this machine's disk."""
    format: Format = "countdown"
    """How the rows are read."""
    train: Path | None = None
    """Training rows."""
    test: Path | None = None
    """Held-out rows."""
    numbers: list[int] | None = None
    """Countdown only: keep the rows with this many numbers."""

    @model_validator(mode="after")
    def _has_rows(self) -> Self:
        if not self.split_names:
            raise ValueError("names neither `train` nor `test`")
        check_numbers(self.numbers, self.format)
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
    """Commit, tag or branch; the hub's main branch if left out. What is fetched first is locked,
    so a branch that moves on changes nothing."""
    verified: bool = True
    """Whether the name was seen in use for these files; false for a guess, which is not trusted on
    first use: it serves only files that the lock knows."""


class _Hosted(Section):
    """What is fetched from hubs."""

    kind: Literal["hub"]
    """Fetched from the endpoints of the configuration, in their order."""
    huggingface: Place | None = None
    """The repository on the Hugging Face hub and its mirrors."""
    modelscope: Place | None = None
    """The repository on ModelScope."""
    licence: str
    """Licence, as an SPDX identifier where there is one, or `unknown`."""
    gigabytes: float = Field(gt=0)
    """Approximate size of the files needed in units of 10^9 bytes, for people: no program reads
    it."""

    @model_validator(mode="after")
    def _is_somewhere(self) -> Self:
        if not (self.huggingface or self.modelscope):
            raise ValueError("names neither a `huggingface` nor a `modelscope` repository")
        return self


class Split(Section):
    """The files of one split."""

    files: list[str] = Field(min_length=1)
    """Paths in the repository; `*` stands for any text within a folder's name or a file's, and
    nothing else has a meaning of its own. Each path without it has to be there, and of all at least
    one. Rows come in this order, and in the order of their names where a `*` finds many."""
    rows: tuple[int, int] | None = None
    """First row and the row after the last one, over all files in order; all rows if left out."""

    @field_validator("rows")
    @classmethod
    def _are_some(cls, rows: tuple[int, int] | None) -> tuple[int, int] | None:
        if rows and not 0 <= rows[0] < rows[1]:
            raise ValueError("wants a first row from 0 on, and an end after it")
        return rows


class HubDataset(_Hosted):
    """A published dataset."""

    format: Format
    """How the rows are read."""
    splits: dict[SplitName, Split] = Field(min_length=1)
    """Files of `train` and `test`."""
    numbers: list[int] | None = None
    """Countdown only: keep the rows with this many numbers."""

    @model_validator(mode="after")
    def _has_such_rows(self) -> Self:
        check_numbers(self.numbers, self.format)
        return self

    @property
    def split_names(self) -> list[SplitName]:
        """Its splits."""
        return list(self.splits)


DatasetSource = Annotated[Generated | Local | HubDataset, Field(discriminator="kind")]


class HubModel(_Hosted):
    """A published model."""

    files: list[str] = Field(default=["*.safetensors", "*.json", "*.txt", "*.jinja"], min_length=1)
    """Files needed; `*` stands for any text within a name."""
    architecture: Architecture | None = None
    """Sizes from the model's config.json, so that a plan needs no download."""
    allow: list[str] = Field(default=[])
    """Files that can run code, pickled weights or Python, to fetch all the same, each by its
    name."""


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

    @field_validator("datasets", "models", mode="before")
    @classmethod
    def _may_be_empty(cls, entries: object) -> object:
        return {} if entries is None else entries  # a section whose entries were all deleted
