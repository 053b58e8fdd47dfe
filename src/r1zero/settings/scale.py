"""A scale: other sizes for the same recipes."""

from typing import Literal, Self

from pydantic import Field, model_validator

from r1zero.core.section import Name, Section
from r1zero.settings.recipe import ListedSuites
from r1zero.tasks.registry import AnyTraces, TaskName


class Workers(Section):
    """What divides the work of a stage on a CPU."""

    processes: int = Field(default=1, ge=1)
    """Processes that divide the completions of a step; in pre-training, which has one process,
    threads that divide the rows of a batch."""
    threads: int = Field(default=1, ge=1)
    """Threads of each, which divide single operations."""

    @property
    def cores(self) -> int:
        """Cores that they keep busy."""
        return self.processes * self.threads


class EvaluationWorkers(Section):
    """Threads of an evaluation on a CPU; the evaluations of a run are independent jobs."""

    threads: int = Field(default=1, ge=1)
    """Threads of each evaluation."""


class Computation(Section):
    """Layout of computation on a CPU, the same on any number of cores.

    Another layout rounds sums differently, and ends with other weights.
    """

    pretrain: Workers = Workers()
    """Pre-training of a base model."""
    train: Workers = Workers()
    """Training of a run."""
    evaluate: EvaluationWorkers = EvaluationWorkers()
    """Evaluation of a checkpoint."""


class MiniBase(Section):
    """A base model pre-trained on this machine, by next-token prediction on random traces."""

    hidden_size: int = Field(ge=16)
    """Width."""
    num_hidden_layers: int = Field(ge=1)
    """Depth."""
    num_attention_heads: int = Field(ge=1)
    """Attention heads; must divide half the width, since the width of a head is even."""
    num_key_value_heads: int = Field(ge=1)
    """Heads of keys and values, each shared by as many attention heads."""
    intermediate_size: int = Field(ge=16)
    """Width of the feed-forward layers."""
    steps: int = Field(ge=1)
    """Optimizer steps of pre-training."""
    tokens_per_step: int = Field(ge=64)
    """Tokens per optimizer step, padding included."""
    muon_learning_rate: float = Field(gt=0)
    """Peak learning rate of Muon, which trains the matrices of the layers."""
    adam_learning_rate: float = Field(gt=0)
    """Peak learning rate of AdamW, which trains embeddings and norms."""
    prompts: list[Name] = Field(min_length=1)
    """Prompt templates of the traces, in equal shares; they must include those of all recipes that
    start from this base."""
    traces: AnyTraces
    """Traces that it is trained on."""
    seed: int = 0
    """Seed of weights and traces."""

    @model_validator(mode="after")
    def _heads_fit_the_width(self) -> Self:
        half = self.hidden_size / 2
        if half % self.num_attention_heads:
            fitting = [heads for heads in range(1, self.num_attention_heads) if half % heads == 0]
            raise ValueError(
                f"num_attention_heads {self.num_attention_heads} does not divide half of "
                f"hidden_size {self.hidden_size}" + (f"; {fitting[-1]} does" if fitting else "")
            )
        if self.num_attention_heads % self.num_key_value_heads:
            raise ValueError(
                f"num_key_value_heads {self.num_key_value_heads} does not divide "
                f"num_attention_heads {self.num_attention_heads}"
            )
        return self


class ScaledSizes(Section):
    """The sizes of a recipe that a scale replaces; a key left out stays as published."""

    max_steps: int | None = Field(default=None, ge=1)
    """Optimizer steps."""
    prompts_per_step: int | None = Field(default=None, ge=1)
    """Problems per optimizer step."""
    max_prompt_length: int | None = Field(default=None, ge=1)
    """Longest prompt in tokens."""
    max_completion_length: int | None = Field(default=None, ge=1)
    """Longest completion in tokens."""
    learning_rate: float | None = Field(default=None, gt=0)
    """Peak learning rate: a small model needs a larger one."""
    save_steps: int | None = Field(default=None, ge=1)
    """Steps between checkpoints."""


class ScaledEvaluation(Section):
    """The sizes of an evaluation that a scale replaces."""

    max_problems: int | None = Field(default=None, ge=1)
    """Most problems of each suite."""
    n_samples: int | None = Field(default=None, ge=1)
    """Completions sampled per problem."""
    greedy: bool | None = None
    """Also one greedy completion per problem."""
    suites: ListedSuites | None = None
    """Suites in addition to the test rows of the dataset; an empty list removes those of the
    recipes."""


class ScaledTask(Section):
    """Changes for every recipe of one task."""

    model: Name | None = None
    """Model in place of the published one: a name in `bases`."""
    dataset: Name | None = None
    """Dataset in place of the published one."""
    sizes: ScaledSizes = ScaledSizes()
    evaluation: ScaledEvaluation = ScaledEvaluation()


class Scale(Section):
    """Other sizes for the same recipes, with an unchanged algorithm."""

    description: str
    """Purpose of this scale in one line."""
    device: Literal["cpu", "any"] = "any"
    """`cpu` keeps runs of this scale off the GPU. With `any` they are laid out on the GPUs that
    there are, where the arithmetic of its own bases stays float32."""
    computation: Computation = Computation()
    """Processes and threads of each stage on a CPU, whatever `--cores` says: more cores run more
    jobs side by side, fewer take longer, and the results are the same."""
    bases: dict[Name, MiniBase] = Field(default={})
    """Base models pre-trained on this machine, by name."""
    tasks: dict[TaskName, ScaledTask] = Field(default={})
    """Changes by task; other tasks run as published."""

    @model_validator(mode="after")
    def _bases_have_rows(self) -> Self:
        for name, base in self.bases.items():
            task = base.traces.task
            if task not in self.tasks or self.tasks[task].dataset is None:
                raise ValueError(
                    f"bases.{name} has traces of {task}, but tasks.{task} has no `dataset`"
                )
        return self
