"""A recipe: one published GRPO setup, in the field's own terms."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from r1zero.core.section import Name, Section
from r1zero.settings.backends import BackendName
from r1zero.tasks.registry import TaskName

OptionValue = bool | int | float | str


class Reward(Section):
    """One reward function."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$")]
    """A function of `r1zero.rewards.functions`, such as `correct`; the dotted path of your own
    function with TRL's signature; with `model`, a name for the metrics."""
    weight: float = 1.0
    """Its weight in the sum of rewards."""
    options: dict[Name, OptionValue] = Field(default={})
    """Options of the reward function."""
    model: str | None = None
    """Reward model of `sources.yaml`, with one output; it reads prompt and completion."""

    @model_validator(mode="after")
    def _is_a_function_or_a_model(self) -> Self:
        if self.model and ("." in self.name or self.options):
            raise ValueError("a reward model has a plain `name` and no `options`")
        return self


class Algorithm(Section):
    """What defines the algorithm: the same at every scale and on any number of GPUs."""

    loss_type: Literal["grpo", "dr_grpo", "dapo", "bnpo"]
    """How token losses are normalised (grpo: by each completion's own length)."""
    scale_rewards: Literal["group", "batch", "none"]
    """Divide advantages by the standard deviation of rewards in the group, the batch, or not."""
    beta: float = Field(ge=0)
    """Weight of the KL penalty towards the reference model; 0 loads no reference model."""
    num_generations: int = Field(ge=2)
    """Completions per problem (group size G)."""
    num_iterations: int = Field(default=1, ge=1)
    """Optimizer passes over each batch of completions (mu in the GRPO paper)."""
    updates_per_rollout: int = Field(default=1, ge=1)
    """Optimizer steps that one batch of rollouts is cut into; above 1 the later ones are
    off-policy."""
    zero_variance_groups: Literal["keep", "drop", "resample"] = "keep"
    """Groups whose rewards are all equal: keep them in the loss, where only the KL penalty acts on
    them; drop them from the loss; or replace them by other problems (DAPO)."""
    max_resamples: int = Field(default=8, ge=1)
    """`resample` only: draws after which groups without variance are dropped."""
    epsilon: float = Field(default=0.2, gt=0)
    """Clipping range of the probability ratio."""
    epsilon_high: float | None = Field(default=None, gt=0)
    """Upper clipping range where it differs (DAPO's clip-higher)."""
    mask_truncated_completions: bool = False
    """Leave completions that hit the length limit out of the loss."""
    temperature: float = Field(default=1.0, gt=0)
    """Sampling temperature of the rollouts."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Nucleus of the rollouts' sampling."""
    top_k: int = Field(default=0, ge=0)
    """Top-k of the rollouts' sampling; 0 for none."""
    optimizer: Literal["adamw_torch", "adamw_torch_fused"] = "adamw_torch"
    """Optimizer, as transformers names it."""
    adam_beta1: float = Field(default=0.9, ge=0, lt=1)
    """Adam's first decay rate."""
    adam_beta2: float = Field(default=0.999, ge=0, lt=1)
    """Adam's second decay rate."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Decoupled weight decay."""
    max_grad_norm: float = Field(default=1.0, gt=0)
    """Gradient norm at which gradients are clipped."""
    lr_scheduler_type: Literal["cosine", "linear", "constant", "constant_with_warmup"]
    """Shape of the learning rate over the run."""
    warmup_ratio: float = Field(default=0.0, ge=0, lt=1)
    """Share of the steps over which the learning rate rises from 0."""

    rollout_importance_sampling: Literal["none", "token", "sequence"] = "none"
    """Where a server or engine generates, its probabilities differ slightly from the trainer's.
    `token` weights each token by the ratio of the two, cut at the maximum below; `sequence` weights
    each completion, and leaves those above the maximum out of the loss. `none` is the loss as most
    publications have it."""
    rollout_importance_sampling_max: float = Field(default=3.0, gt=0)
    """Largest ratio of `rollout_importance_sampling`."""

    @property
    def shared_steps(self) -> int:
        """Optimizer steps that share a batch of rollouts."""
        return self.updates_per_rollout * self.num_iterations

    @model_validator(mode="after")
    def _groups_stand_alone(self) -> Self:
        if self.zero_variance_groups == "resample" and self.scale_rewards == "batch":
            raise ValueError("zero_variance_groups: resample wants scale_rewards: group or none")
        return self

    @model_validator(mode="after")
    def _ratios_are_unbiased(self) -> Self:
        # The generator's log-probabilities are those of the tokens left, the trainer's of all.
        if self.rollout_importance_sampling != "none" and (self.top_p < 1 or self.top_k > 0):
            raise ValueError(
                f"rollout_importance_sampling: {self.rollout_importance_sampling} wants top_p 1 "
                f"and top_k 0, because ratios to truncated probabilities are biased; there are "
                f"top_p {self.top_p:g} and top_k {self.top_k}; none works"
            )
        return self


def check_saved_steps(algorithm: Algorithm, save_steps: int, max_steps: int) -> None:
    """Raise `ValueError` where a checkpoint would lie between steps that share rollouts.

    Rollouts are not saved: a run that goes on from there would draw others, and end elsewhere.
    Where `max_steps` is no multiple of such steps either, that can't be helped.
    """
    shared = algorithm.shared_steps
    if save_steps % shared and max_steps % shared == 0:
        whole = [n for n in range(shared, max_steps + 1, shared) if max_steps % n == 0]
        nearest = min(whole, key=lambda n: abs(n - save_steps))
        raise ValueError(
            f"save_steps {save_steps} is no multiple of the {shared} steps that share a batch of "
            f"rollouts (updates_per_rollout x num_iterations); {nearest} is"
        )


class Sizes(Section):
    """Sizes, which a scale may change; it never changes the algorithm."""

    max_steps: int = Field(ge=1)
    """Optimizer steps."""
    prompts_per_step: int = Field(ge=1)
    """Problems per optimizer step; completions per step are this times `num_generations`."""
    max_prompt_length: int = Field(ge=1)
    """Longest prompt in tokens; longer ones are left out when the data is prepared."""
    max_completion_length: int = Field(ge=1)
    """Longest completion in tokens."""
    learning_rate: float = Field(gt=0)
    """Peak learning rate."""
    save_steps: int = Field(ge=1)
    """A checkpoint, and so an evaluation, every this many steps."""

    @model_validator(mode="after")
    def _last_step_is_saved(self) -> Self:
        if self.max_steps % self.save_steps:
            divisors = [n for n in range(1, self.max_steps + 1) if self.max_steps % n == 0]
            below = max(n for n in divisors if n <= max(1, self.save_steps))
            raise ValueError(
                f"save_steps {self.save_steps} does not divide max_steps {self.max_steps}, so the "
                f"last step would not be saved; {below} does"
            )
        return self


class SuiteSizes(Section):
    """How much of one suite is measured, where it is not as much as of the others."""

    max_problems: int | None = Field(default=None, ge=1)
    """Most problems, in place of that of all suites."""
    n_samples: int | None = Field(default=None, ge=1)
    """Completions sampled per problem, in place of that of all suites."""


class ListedSuite(SuiteSizes):
    """One suite of a recipe."""

    name: Name
    """Dataset of `sources.yaml` with test rows."""


def _repeated(names: list[str]) -> str | None:
    """The first name that is there more than once."""
    return next((name for name in names if names.count(name) > 1), None)


def _each_once(suites: "list[ListedSuite]") -> "list[ListedSuite]":
    if name := _repeated([suite.name for suite in suites]):
        raise ValueError(f"lists {name} twice")
    return suites


def _listed(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


# A name alone is a suite of the same sizes as the others.
ListedSuites = Annotated[
    list[
        Annotated[ListedSuite, BeforeValidator(_listed, json_schema_input_type=Name | ListedSuite)]
    ],
    AfterValidator(_each_once),
]


class Evaluation(Section):
    """How the base and the trained model are evaluated."""

    max_problems: int = Field(ge=1)
    """Most problems of each suite. Of a larger one the same draw is taken in every run."""
    n_samples: int = Field(ge=1)
    """Completions sampled per problem."""
    temperature: float = Field(ge=0)
    """Sampling temperature; 0 is greedy."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Nucleus of the sampling."""
    greedy: bool = True
    """Also one greedy completion per problem."""
    suites: ListedSuites = Field(default=[])
    """Datasets of `sources.yaml` whose test rows are measured on, besides those of the recipe's own
    dataset: names, or mappings with sizes of their own. They are held out of the training rows."""


class PublishedTime(Section):
    """Time of the published run; a plan shows it beside its estimate."""

    gpus: int = Field(ge=1)
    """GPUs."""
    gpu: str
    """Kind of GPU, as `hardware.gpu` names it."""
    hours: float = Field(gt=0)
    """Hours of the whole run."""
    source: str
    """Where it is reported."""


class PublishedScore(Section):
    """A score that was published for the setup; the report puts it beside its own."""

    suite: Name
    """Suite, by its name here; where other problems were used, `protocol` says so."""
    metric: Annotated[str, Field(pattern=r"^(accuracy|greedy_accuracy|(pass|maj)@[1-9]\d*)$")] = (
        "accuracy"
    )
    """Metric of this project that it is nearest to. `accuracy` is the mean over samples, which
    papers call avg@n or pass@1."""
    base: float | None = Field(default=None, ge=0, le=100)
    """Score of the base model in per cent, where one was published."""
    trained: float = Field(ge=0, le=100)
    """Score of the trained model in per cent."""
    source: str
    """Where it was published, to the table or line."""
    protocol: str
    """How it was measured there: problems, decoding, samples."""


class ReleasedModel(Section):
    """A model that the publishers of a recipe released."""

    model: str
    """Model of `sources.yaml`."""
    prompt: Name | None = None
    """Prompt template that it was trained with, where that is not the recipe's."""
    published_scores: list[PublishedScore] = Field(default=[])
    """What it scored; those of the recipe if left out."""


class Recipe(Section):
    """One published GRPO setup. Comments in the file give each key's source."""

    description: str
    """One line for the menu (`snakemake --list-target-rules`)."""
    source: str
    """Where it was published."""
    task: TaskName
    """Task: data, prompt and rewards."""
    model: str
    """Model of `sources.yaml` at paper scale."""
    dataset: Name
    """Dataset of `sources.yaml` at paper scale."""
    prompt: Name
    """Prompt template of the task."""
    placement: Literal["server", "colocate"] = "colocate"
    """Where vLLM generated as published; a plan tries it first."""
    reference: Literal["trainer", "server"] = "trainer"
    """Where the reference model of the KL penalty was as published: in the trainer, or on a server
    of its own. A plan follows it where the backend can."""
    dtype: Literal["bfloat16", "float32"] = "bfloat16"
    """Type of the weights on a GPU. On a CPU they are float32."""
    rewards: list[Reward] = Field(min_length=1)
    """Reward functions, summed with their weights."""
    algorithm: Algorithm
    sizes: Sizes
    evaluation: Evaluation
    home_backend: BackendName = "trl"
    """Backend that is nearest to the published program. It is a label: `backends` of the
    configuration says which backends train the recipe."""
    backends: dict[BackendName, dict[Name, Any]] = Field(default={})
    """Published settings that only another backend honours, kept for it."""
    published_time: PublishedTime | None = None
    """How long the published run took, if that is reported."""
    published_scores: list[PublishedScore] = Field(default=[])
    """What the published run scored."""
    released: list[ReleasedModel] = Field(default=[])
    """Models that its publishers released, which `evaluate` of the configuration scores."""

    @model_validator(mode="after")
    def _checkpoints_are_between_rollouts(self) -> Self:
        check_saved_steps(self.algorithm, self.sizes.save_steps, self.sizes.max_steps)
        return self

    @model_validator(mode="after")
    def _rewards_have_names_of_their_own(self) -> Self:
        if name := _repeated([reward.name for reward in self.rewards]):
            raise ValueError(f"two rewards are called {name}")
        return self
