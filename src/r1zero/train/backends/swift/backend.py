"""Which recipes ms-swift can run, and how it is started. Needs no ms-swift."""

from collections.abc import Sequence
from pathlib import Path

import yaml

import r1zero
from r1zero.core.errors import UserError
from r1zero.plan.assignment import GpuAssignment, assign_gpus
from r1zero.plan.backend import Inputs, Process
from r1zero.plan.layout import Constraints, Layout
from r1zero.plan.machine import Machine
from r1zero.settings.run import RunSettings
from r1zero.train.backends.base import CheckpointFormat
from r1zero.train.backends.swift.rendering import rollout_config, swift_config

_ENTRYPOINT = "r1zero.train.backends.swift.entrypoint"
_GENERATOR = "r1zero.train.backends.swift.generator"
CONFIG, ROLLOUT_CONFIG = "swift.yaml", "rollout.yaml"
# This package is not installed in the environment.
_ENV = {"PYTHONPATH": str(Path(r1zero.__file__).parents[1])}
# vLLM starts its workers as new processes: a fork of one that has used CUDA cannot use it.
_ENGINE_ENV = {"VLLM_WORKER_MULTIPROC_METHOD": "spawn", "VLLM_NO_USAGE_STATS": "1"}
_IN_LOCK = "add it, and a CUDA build of torch, to envs/swift.lock, which is for the CPU"
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

    def differences(self, run: RunSettings) -> dict[str, str]:
        """The KL estimate of a token, and a loss that depends on how a step is cut."""
        found = {}
        if run.algorithm.beta:
            found["algorithm.beta"] = _KL
        if run.algorithm.loss_type == "bnpo":
            found["algorithm.loss_type"] = _BNPO
        return found

    def constraints(self, run: RunSettings) -> Constraints:
        """ms-swift wants whole groups, and the same number of completions for each process."""
        return Constraints(
            equal_share_of="completions",
            placements=("colocate", "server"),
            devices=("cpu", "gpu"),
            shardings=("none", "optimizer", "full"),
            offload=True,
        )

    def requires(self, layout: Layout) -> dict[str, str]:
        """Require vLLM to generate on GPUs, and DeepSpeed to shard or offload."""
        needed = {
            "vllm": layout.placement != "transformers",
            "deepspeed": layout.sharding != "none",
        }
        return {name: _IN_LOCK for name, is_needed in needed.items() if is_needed}

    def render(self, run: RunSettings, layout: Layout, inputs: Inputs) -> dict[str, str]:
        """The configuration files of `swift rlhf` and of a generator on GPUs of its own."""
        files = {
            CONFIG: swift_config(
                run,
                layout,
                model=inputs.model,
                output=inputs.checkpoints,
                reward_models=inputs.reward_models,
            )
        }
        if layout.placement == "server":
            files[ROLLOUT_CONFIG] = rollout_config(run, layout, model=inputs.model)
        return {
            name: yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
            for name, content in files.items()
        }

    def processes(
        self,
        run: RunSettings,
        layout: Layout,
        machine: Machine,
        inputs: Inputs,
        resume: Path | None = None,
    ) -> list[Process]:
        """The generator if it has GPUs of its own, then the trainers of each node."""
        gpus = list(assign_gpus(layout, machine))
        nodes = sorted({each.node for each in gpus if each.role == "trainer"}) or [0]
        trainers = [_trainers(layout, gpus, inputs, resume, nodes, node) for node in nodes]
        if layout.placement == "server":
            return [_generator(gpus, inputs), *trainers]
        return trainers


def _generator(gpus: Sequence[GpuAssignment], inputs: Inputs) -> Process:
    """`swift rollout`. Its trainers send no key, so it listens on the address of its node alone."""
    mine = [each for each in gpus if each.role == "generator"]
    node = mine[0].node
    address = f"{{address:{node}}}"
    return Process(
        role="generator",
        argv=(
            *("python", "-m", _GENERATOR, str(inputs.config / ROLLOUT_CONFIG)),
            *("--host", address, "--port", "{port:generator}"),
        ),
        env=_ENV | _ENGINE_ENV,
        gpus=tuple(each.gpu for each in mine),
        node=node,
        health=f"http://{address}:{{port:generator}}/health/",
    )


def _trainers(
    layout: Layout,
    gpus: Sequence[GpuAssignment],
    inputs: Inputs,
    resume: Path | None,
    nodes: Sequence[int],
    node: int,
) -> Process:
    """The trainers of one node, behind torchrun where there are several."""
    mine = [each for each in gpus if each.role == "trainer" and each.node == node]
    launcher: tuple[str, ...] = ("python",)
    if layout.trainers > 1:
        count = str(len(mine) or layout.trainers)
        launcher = ("torchrun", "--standalone", "--nproc-per-node", count)
    if len(nodes) > 1:
        launcher = (
            *("torchrun", "--nnodes", str(len(nodes)), "--node-rank", str(nodes.index(node))),
            *("--nproc-per-node", str(len(mine))),
            *("--master-addr", "{address:0}", "--master-port", "{port:trainers}"),
        )
    arguments = [str(inputs.run_file), str(inputs.config / CONFIG)]
    arguments += ["--problems", str(inputs.problems)]
    if layout.placement == "server":
        server = next(each.node for each in gpus if each.role == "generator")
        arguments += ["--generator-host", f"{{address:{server}}}"]
        arguments += ["--generator-port", "{port:generator}", "--weights-port", "{port:weights}"]
    if inputs.kept_optimizer_states is not None:
        arguments += ["--keep-states", str(inputs.kept_optimizer_states)]
    if resume:
        arguments += ["--resume", str(resume)]
    return Process(
        role="trainer",
        argv=(*launcher, "-m", _ENTRYPOINT, *arguments),
        env=_ENV | (_ENGINE_ENV if layout.gpus else {}),
        gpus=tuple(each.gpu for each in mine),
        node=node,
    )
