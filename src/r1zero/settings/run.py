"""One run, resolved: recipe, scale and seed merged into what the trainer does."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from r1zero.core.files import sha256_json
from r1zero.core.section import Name, RunName, Section
from r1zero.settings.backends import BackendName, RunBackend
from r1zero.settings.recipe import Algorithm, Evaluation, Reward, Sizes, check_saved_steps
from r1zero.settings.scale import Computation
from r1zero.tasks.registry import TaskName


class RunSettings(Section):
    """Everything that decides the weights of a run, and nothing about the hardware."""

    recipe: RunName
    backend: RunBackend
    seed: int
    scale: Name
    task: TaskName
    model: str
    is_mini_base: bool
    """Whether the model is a base that the workflow pre-trains, not a published one."""
    base_seed: int = 0
    """Added to the seed of such a base."""
    dataset: Name
    prompt: Name
    placement: Literal["server", "colocate"]
    """Placement as published, which a plan tries first; it decides no weights."""
    reference: Literal["trainer", "server"] = "trainer"
    """Place of the reference model as published, which a plan follows; it decides no weights."""
    dtype: str
    rewards: list[Reward]
    algorithm: Algorithm
    sizes: Sizes
    evaluation: Evaluation
    computation: Computation = Computation()
    """Layout of computation on a CPU."""
    home_backend: BackendName = "trl"
    """Backend that is nearest to the published program."""
    backends: dict[str, dict[str, Any]] = Field(default={})
    """Published settings that only other backends honour."""

    @model_validator(mode="after")
    def _checkpoints_are_between_rollouts(self) -> Self:
        check_saved_steps(self.algorithm, self.sizes.save_steps, self.sizes.max_steps)
        return self

    @property
    def completions_per_step(self) -> int:
        """Completions behind one optimizer step, on any number of GPUs."""
        return self.sizes.prompts_per_step * self.algorithm.num_generations

    @property
    def evaluated_steps(self) -> list[int]:
        """Step 0 (the base model) and every checkpoint."""
        return list(range(0, self.sizes.max_steps + 1, self.sizes.save_steps))

    def identity(self) -> dict[str, Any]:
        """Names of the run, as in every file that it makes."""
        base = {"base_seed": self.base_seed} if self.base_seed else {}
        return {
            "recipe": self.recipe,
            "backend": self.backend,
            "seed": self.seed,
            **base,
            "scale": self.scale,
            "task": self.task,
        }

    def training_hash(self) -> str:
        """Hash of all that decides the weights; a run resumes only checkpoints of its hash."""
        others: dict[str, Any] = {
            "evaluation": True,
            "placement": True,
            "reference": True,
            "backends": True,
            "home_backend": True,
            "computation": {"pretrain", "evaluate"},
            # A run on the base of the scale has the hash of one that names no base.
            **({} if self.base_seed else {"base_seed": True}),
        }
        return sha256_json(self.model_dump(mode="json", exclude=others))
