"""Which recipes the backend can run, and how it is started. Needs no torch."""

from pathlib import Path

import yaml

from r1zero.core.errors import UserError
from r1zero.plan.backend import Inputs, Process
from r1zero.plan.layout import Constraints, Layout
from r1zero.plan.machine import Machine
from r1zero.reference.processes import client_arguments, reference_server
from r1zero.settings.run import RunSettings
from r1zero.train.backends.base import CheckpointFormat
from r1zero.train.backends.split.config import SplitConfig

_ENTRYPOINT = "r1zero.train.backends.split.entrypoint"
CONFIG = "split.yaml"


class SplitBackend:
    """See `r1zero.train.backends.base.Backend`."""

    name = "split"
    environment = None
    packages = ("accelerate", "transformers", "torch")
    checkpoint = CheckpointFormat(optimizer_states=("optimizer.pt",))

    def check(self, run: RunSettings) -> None:
        """Refuse what needs a GPU, another model or the probabilities of an engine."""
        mode = run.algorithm.rollout_importance_sampling
        refusals = {
            "model": (
                not run.is_mini_base,
                f"cannot train {run.model}: it generates on the CPU alone",
            ),
            "rewards": (
                any(reward.model for reward in run.rewards),
                "has no reward models",
            ),
            "algorithm.rollout_importance_sampling": (
                mode != "none",
                f"cannot honour {mode}: its rollouts have the probabilities of the trainer",
            ),
        }
        for key, (is_refused, reason) in refusals.items():
            if is_refused:
                raise UserError(f"the backend split {reason}", where=f"recipe {run.recipe}: {key}")

    def differences(self, run: RunSettings) -> dict[str, str]:
        """A loss that TRL averages over passes."""
        if run.algorithm.loss_type == "bnpo":
            return {"algorithm.loss_type": "bnpo is divided by the tokens of the step, as dapo is"}
        return {}

    def constraints(self, run: RunSettings) -> Constraints:
        """Each process draws and scores whole groups."""
        return Constraints(
            equal_share_of="groups",
            placements=("in_process",),
            shardings=("none",),
            offload=False,
            references=("trainer", "server"),
        )

    def requires(self, layout: Layout) -> dict[str, str]:
        """Require nothing beyond the training stack."""
        return {}

    def render(self, run: RunSettings, layout: Layout, inputs: Inputs) -> dict[str, str]:
        """The configuration file."""
        config = SplitConfig.of(
            run,
            layout,
            model=str(inputs.model),
            problems=str(inputs.problems),
            output=str(inputs.checkpoints),
        )
        content = config.model_dump(mode="json")
        return {CONFIG: yaml.safe_dump(content, sort_keys=False, allow_unicode=True)}

    def processes(
        self,
        run: RunSettings,
        layout: Layout,
        machine: Machine,
        inputs: Inputs,
        resume: Path | None = None,
    ) -> list[Process]:
        """The reference server if there is one; the trainers, behind torchrun if several."""
        launcher = ["python"]
        if layout.trainers > 1:
            launcher = ["torchrun", "--standalone", "--nproc-per-node", str(layout.trainers)]
        arguments = [str(inputs.run_file), str(inputs.config / CONFIG)]
        if inputs.kept_optimizer_states is not None:
            arguments += ["--keep-states", str(inputs.kept_optimizer_states)]
        if resume:
            arguments += ["--resume", str(resume)]
        arguments += client_arguments(layout, machine)
        trainer = Process(role="trainer", argv=(*launcher, "-m", _ENTRYPOINT, *arguments))
        return [*reference_server(run, layout, machine, inputs), trainer]
