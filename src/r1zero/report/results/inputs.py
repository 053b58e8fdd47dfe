"""Contents of the files of the train and evaluate stages, and how each is read.

Each file is checked by itself here; `load` checks that they belong together.
"""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, model_validator

from r1zero.core.errors import UserError
from r1zero.core.files import read_json
from r1zero.core.validation import validate
from r1zero.evaluate.metrics import MEANS, SEARCH


class _File(BaseModel):
    """A JSON input. Keys that the report does not use are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


_Kind = TypeVar("_Kind", bound=_File)


class Run(_File):
    """What identifies a run: recipe × backend × seed, at a scale."""

    recipe: str
    backend: str
    seed: int
    scale: str
    task: str

    def __str__(self) -> str:
        return f"{self.recipe}, {self.backend}, seed {self.seed}, {self.scale}"

    @property
    def setup(self) -> dict[str, str]:
        """What the seeds of a setup share, as columns of a table."""
        return {"recipe": self.recipe, "backend": self.backend}


class Provenance(_File):
    """What made a file."""

    commit: str
    versions: dict[str, str]
    hardware: dict[str, Any]


class Checkpoint(_File):
    """One saved model of a run."""

    step: int
    path: str
    sha256: str


class BaseModelFile(_File):
    """The model that a run starts from."""

    name: str
    sha256: str


class Cost(_File):
    """What it took to make something on CPUs."""

    seconds: float
    cores: int


class Tracker(_File):
    """Where a tracker keeps its copy of a run's metrics: a link, or a folder."""

    name: str
    mode: str = ""
    url: str | None = None
    folder: str | None = None


class Model(_File):
    """`model.json`: a finished run. `source` is the file it was read from."""

    source: Path
    run: Run
    config_hash: str
    data_hash: str
    base_model: BaseModelFile
    base_cost: Cost | None = None
    settings: dict[str, Any]
    checkpoints: tuple[Checkpoint, ...]
    metrics: Path
    rollouts: Path | None = None
    trackers: tuple[Tracker, ...] = ()
    gpus: int
    gpu: str | None = None
    reference: str | None = None
    """Place of the reference model, as in `Layout`; None in files without it."""
    train_seconds: float
    generated_tokens: int
    provenance: Provenance

    @property
    def starts_from(self) -> str:
        """What kind of model was trained, by its own settings and its name."""
        if self.settings.get("is_mini_base"):
            return "a mini base"
        names = (self.base_model.name, str(self.settings.get("model")))
        is_instruct = any("instruct" in name.lower() for name in names)
        return "an instruction-tuned model" if is_instruct else "a base model"

    def model_hash(self, step: int) -> str | None:
        """SHA-256 of the model at `step`, 0 being the base model; None for an unknown step."""
        hashes = {checkpoint.step: checkpoint.sha256 for checkpoint in self.checkpoints}
        return {**hashes, 0: self.base_model.sha256}.get(step)

    @cached_property
    def flat_settings(self) -> dict[str, Any]:
        """Settings by dotted key, such as `algorithm.beta`, without the keys that name the run.

        `dtype` is the type that the training computed in, which is float32 without a GPU.
        """
        flat: dict[str, Any] = {}
        for key, value in self.settings.items():
            if isinstance(value, dict):
                flat |= {f"{key}.{name}": item for name, item in value.items()}
            elif key not in ("recipe", "backend", "seed"):
                flat[key] = value
        if "dtype" in flat and not self.gpus:
            flat["dtype"] = "float32"
        return flat


class Greedy(_File):
    """Outcome of a greedy completion."""

    correct: float


class Problem(_File):
    """Outcomes on one problem, one value per sampled completion; lengths are in tokens.

    Samples with the same `vote` have the same answer; a sample without an answer has None. `greedy`
    holds the greedy completion, if one was generated. What a task does not count (`SEARCH` of
    `evaluate.metrics`) is empty.
    """

    problem_id: str
    correct: tuple[float, ...]
    lenient: tuple[float, ...]
    format: tuple[float, ...]
    length: tuple[float, ...]
    truncated: tuple[float, ...]
    repetition: tuple[float, ...]
    vote: tuple[int | None, ...]
    greedy: Greedy | None
    steps: tuple[float, ...] = ()
    wrong_steps: tuple[float, ...] = ()
    attempts: tuple[float, ...] = ()
    by_chance: tuple[float | None, ...] = ()


class Evaluation(_File):
    """One evaluation: a run at a step, on a suite. `source` is the file it was read from."""

    source: Path
    run: Run
    suite: str
    step: int
    config_hash: str
    model_sha256: str
    suite_sha256: str
    decoding: dict[str, Any]
    engine: str
    n_problems: int
    n_samples: int
    problems: tuple[Problem, ...]
    completions: Path | None = None
    tokens: int
    seconds: float
    tokens_per_second: float
    provenance: Provenance

    @model_validator(mode="after")
    def _counts_agree(self) -> Self:
        if len(self.problem_ids) != len(self.problems) or len(self.problems) != self.n_problems:
            raise ValueError(
                f"n_problems is {self.n_problems}, but {len(self.problem_ids)} distinct problems"
                f" in {len(self.problems)} entries are listed"
            )
        if not self.problems:
            raise ValueError("no problems")
        for problem in self.problems:
            for field in (*MEANS.values(), *SEARCH, "vote"):
                found = getattr(problem, field)
                if len(found) != self.n_samples and (found or field not in SEARCH):
                    raise ValueError(
                        f"problem {problem.problem_id} doesn't have n_samples = {self.n_samples}"
                        f" values in {field}"
                    )
        return self

    @property
    def problem_ids(self) -> frozenset[str]:
        """The identifiers of the problems asked."""
        return frozenset(problem.problem_id for problem in self.problems)

    @property
    def protocol(self) -> tuple[Any, ...]:
        """What was measured and how, without the seed of the sampling, which is the run's seed."""
        decoding = {key: value for key, value in self.decoding.items() if key != "seed"}
        return self.suite_sha256, self.problem_ids, self.n_samples, decoding, self.engine

    @cached_property
    def known(self) -> dict[str, NDArray[np.float64]]:
        """Cache for `statistics.measures.values`: some measures take long and are used often."""
        return {}

    @cached_property
    def ordered(self) -> list[Problem]:
        """The problems, ordered by problem_id."""
        return sorted(self.problems, key=lambda problem: problem.problem_id)

    def outcomes(self, field: str) -> NDArray[np.float64]:
        """Values of one field of the problems, [n_problems, n_samples], ordered by problem_id.

        The vote of a sample without an answer is NaN.
        """
        return np.array([getattr(problem, field) for problem in self.ordered], dtype=np.float64)

    @property
    def greedy(self) -> NDArray[np.float64] | None:
        """Whether the greedy completions are right, [n_problems, 1]; None if there are none."""
        found = [problem.greedy for problem in self.ordered]
        outcomes = [[item.correct] for item in found if item is not None]
        return np.array(outcomes) if len(outcomes) == len(found) else None


class ReleasedModel(_File):
    """`model.json` of a released model, which was not trained here."""

    source: Path
    run: Run
    config_hash: str
    base_model: BaseModelFile
    settings: dict[str, Any]


@dataclass(frozen=True)
class ReleasedResults:
    """A released model and its evaluations, by suite."""

    model: ReleasedModel
    evaluations: tuple[Evaluation, ...]


@dataclass(frozen=True)
class SuiteResults:
    """The evaluations of one run on one suite, by step; the first is the base model's."""

    name: str
    evaluations: tuple[Evaluation, ...]

    @property
    def base(self) -> Evaluation:
        """Evaluation of the base model, step 0."""
        return self.evaluations[0]

    @property
    def trained(self) -> Evaluation:
        """Evaluation of the last evaluated step."""
        return self.evaluations[-1]


@dataclass(frozen=True)
class RunResults:
    """All that the report knows about one run.

    `training` has the columns step, metric, value: what the trainer logged at each step.
    """

    model: Model
    suites: tuple[SuiteResults, ...]
    training: pl.DataFrame

    @property
    def run(self) -> Run:
        """What identifies the run."""
        return self.model.run

    @property
    def training_steps(self) -> int:
        """How many optimizer steps the trainer logged."""
        return self.training["step"].n_unique()

    @cached_property
    def diverged(self) -> str:
        """Where the loss or its gradient is first not finite, in words; empty if it always is.

        Only these two are logged when they are not finite: TRL leaves other metrics out.
        """
        of_loss = pl.col("metric").is_in(["loss", "grad_norm"])
        broken = self.training.filter(of_loss & ~pl.col("value").is_finite()).sort("step", "metric")
        if broken.is_empty():
            return ""
        return f"{broken['metric'][0]} is no number at step {broken['step'][0]}"

    @property
    def files(self) -> list[Path]:
        """The files that the numbers of this run come from."""
        evaluations = [evaluation for suite in self.suites for evaluation in suite.evaluations]
        return [self.model.source, self.model.metrics, *(item.source for item in evaluations)]


def read_input(path: Path, kind: type[_Kind]) -> _Kind:
    """Read a `model.json` or an evaluation, or raise `UserError` with the first thing wrong."""
    content = read_json(path)
    if isinstance(content, dict):
        content["source"] = path
    return validate(content, kind, str(path))


def read_training(path: Path) -> pl.DataFrame:
    """Read `metrics.jsonl` as a long table: step, metric, value.

    Missing values are left out. Infinite and undefined values are kept, since a training that
    diverged logs them. Where a resumed run logged a step twice, the last line counts.
    """
    values: dict[tuple[int, str], float] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise UserError("no such file", where=str(path)) from None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            step = int(row.pop("step"))
        except (ValueError, TypeError, KeyError, AttributeError):
            message = "not a JSON object with a step"
            raise UserError(message, where=f"{path}:{number}") from None
        for metric, value in row.items():
            if isinstance(value, int | float):
                values[step, metric] = float(value)
    if not values:
        raise UserError("no training metrics", where=str(path))
    return pl.DataFrame(
        [(step, metric, value) for (step, metric), value in values.items()],
        schema={"step": pl.Int64, "metric": pl.String, "value": pl.Float64},
        orient="row",
    ).sort("metric", "step")
