"""Which recipes ms-swift can run, and how it is started. Needs no ms-swift."""

from pathlib import Path

import yaml

import r1zero
from r1zero.core.errors import UserError
from r1zero.plan.backend import Inputs, Process
from r1zero.plan.layout import Constraints, Layout
from r1zero.plan.machine import Machine
from r1zero.settings.run import RunSettings
from r1zero.train.backends.base import CheckpointFormat
from r1zero.train.backends.swift.rendering import swift_config

_ENTRYPOINT = "r1zero.train.backends.swift.entrypoint"
CONFIG = "swift.yaml"
# ms-swift 4.6, rlhf_trainers/grpo_trainer.py, `_compute_loss_and_metrics`.
_KL = (
    "ms-swift limits the KL estimate of a token to 10 nats, which is one that the policy left far "
    "behind (`per_token_kl = torch.clamp(..., min=-10, max=10)`)"
)
_BNPO = (
    "ms-swift averages the token mean of each pass, as TRL does, so that bnpo depends on how a "
    "step is cut into passes"
)


class SwiftBackend:
    """See `r1zero.train.backends.base.Backend`."""

    name = "swift"
    environment = "swift"
    packages = ("ms-swift", "trl", "transformers", "torch")
    checkpoint = CheckpointFormat(
        optimizer_states=("optimizer.*", "scheduler.pt", "rng_state*.pth")
    )

    def check(self, run: RunSettings) -> None:
        """Refuse the settings for which ms-swift has nothing, or something else."""
        algorithm = run.algorithm
        updates = algorithm.updates_per_rollout
        refusals = {
            "zero_variance_groups": (
                algorithm.zero_variance_groups != "keep",
                "ms-swift has no `drop`, and its dynamic sampling trains on the groups without "
                "variance after all where it finds too few others",
            ),
            "updates_per_rollout": (
                updates > 1 and algorithm.loss_type == "dapo",
                "ms-swift divides the loss dapo by the tokens of all steps that share rollouts, "
                "not by those of one step",
            ),
            "mask_truncated_completions": (
                algorithm.mask_truncated_completions and algorithm.loss_type == "dapo",
                "ms-swift divides the loss dapo by the tokens of the truncated completions too",
            ),
            "rollout_importance_sampling": (
                algorithm.rollout_importance_sampling != "none",
                "its rollouts have the probabilities of the trainer",
            ),
        }
        for key, (is_refused, reason) in refusals.items():
            if is_refused:
                raise UserError(
                    f"the backend swift cannot honour its value: {reason}",
                    where=f"recipe {run.recipe}: algorithm.{key}",
                )
        if any(reward.model for reward in run.rewards):
            raise UserError(
                "the backend swift runs on the CPU alone here, without reward models",
                where=f"recipe {run.recipe}: rewards",
            )

    def differences(self, run: RunSettings) -> dict[str, str]:
        """The KL estimate of a token, and a loss that depends on how a step is cut."""
        found = {}
        if run.algorithm.beta:
            found["algorithm.beta"] = _KL
        if run.algorithm.loss_type == "bnpo":
            found["algorithm.loss_type"] = _BNPO
        return found

    def constraints(self, run: RunSettings) -> Constraints:
        """The environment has neither vLLM nor DeepSpeed, so there is no GPU form."""
        return Constraints(
            equal_share_of="completions",
            placements=("transformers",),
            devices=("cpu",),
            shardings=("none",),
            offload=False,
        )

    def requires(self, layout: Layout) -> dict[str, str]:
        """Require nothing: the lock has all that there is."""
        return {}

    def render(self, run: RunSettings, layout: Layout, inputs: Inputs) -> dict[str, str]:
        """The configuration file of `swift rlhf`."""
        content = swift_config(run, layout, model=inputs.model, output=inputs.checkpoints)
        return {CONFIG: yaml.safe_dump(content, sort_keys=False, allow_unicode=True)}

    def processes(
        self,
        run: RunSettings,
        layout: Layout,
        machine: Machine,
        inputs: Inputs,
        resume: Path | None = None,
    ) -> list[Process]:
        """The trainers, behind torchrun where there are several."""
        launcher = ["python"]
        if layout.trainers > 1:
            launcher = ["torchrun", "--standalone", "--nproc-per-node", str(layout.trainers)]
        arguments = [str(inputs.run_file), str(inputs.config / CONFIG)]
        arguments += ["--problems", str(inputs.problems)]
        if inputs.kept_optimizer_states is not None:
            arguments += ["--keep-states", str(inputs.kept_optimizer_states)]
        if resume:
            arguments += ["--resume", str(resume)]
        return [
            Process(
                role="trainer",
                argv=(*launcher, "-m", _ENTRYPOINT, *arguments),
                # This package is not installed in the environment.
                env={"PYTHONPATH": str(Path(r1zero.__file__).parents[1])},
            )
        ]
