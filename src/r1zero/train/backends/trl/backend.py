"""How a run is laid out and started with TRL, accelerate, DeepSpeed and vLLM. Needs no torch."""

from pathlib import Path

import yaml

from r1zero.plan.assignment import GpuAssignment, assign_gpus
from r1zero.plan.backend import Inputs, Process
from r1zero.plan.layout import Constraints, Layout
from r1zero.plan.machine import Machine
from r1zero.reference.processes import client_arguments, reference_server
from r1zero.settings.run import RunSettings
from r1zero.train.backends.base import CheckpointFormat
from r1zero.train.backends.trl.rendering import (
    accelerate_config,
    engine_config,
    nodes_with_trainers,
    trl_config,
)

_ENTRYPOINT = "r1zero.train.backends.trl.entrypoint"
_ENGINE_FILE = "vllm.yaml"
# TRL 1.16, grpo_trainer.py, `_compute_loss`.
_BNPO = (
    "TRL averages the token mean of each pass, so that bnpo depends on how a step is cut into "
    "passes (`normalizer = self.current_gradient_accumulation_steps`)"
)
_DAPO = (
    "TRL divides dapo by the mean number of tokens of the steps that share rollouts "
    "(`normalizer * current_gradient_accumulation_steps / steps_per_generation`)"
)
# vLLM starts its workers as new processes: a fork of one that has used CUDA cannot use it.
_ENGINE_ENV = {"VLLM_WORKER_MULTIPROC_METHOD": "spawn", "VLLM_NO_USAGE_STATS": "1"}


class TrlBackend:
    """See `r1zero.train.backends.base.Backend`."""

    name = "trl"
    environment = None
    packages = ("trl", "transformers", "torch")
    # Saved by transformers, and the last two by DeepSpeed, beside the weights.
    checkpoint = CheckpointFormat(
        optimizer_states=(
            "optimizer.*",
            "scheduler.pt",
            "rng_state*.pth",
            "global_step*",
            "latest",
        )
    )

    def check(self, run: RunSettings) -> None:
        """Accept every run: TRL and `RunTrainer` honour all settings of a recipe."""

    def differences(self, run: RunSettings) -> dict[str, str]:
        """The losses that depend on how a step is cut, and on what shares its rollouts."""
        algorithm = run.algorithm
        if algorithm.loss_type == "bnpo":
            return {"algorithm.loss_type": _BNPO}
        if algorithm.loss_type == "dapo" and algorithm.updates_per_rollout > 1:
            return {"algorithm.updates_per_rollout": _DAPO}
        return {}

    def constraints(self, run: RunSettings) -> Constraints:
        """TRL wants whole groups, and the same number of completions for each process."""
        return Constraints(
            equal_share_of="completions",
            placements=("in_process", "colocate", "server"),
            shardings=("none", "optimizer", "full"),
            offload=True,
            references=("trainer", "server"),
        )

    def requires(self, layout: Layout) -> dict[str, str]:
        """Require vLLM to generate on GPUs, and DeepSpeed to shard or offload."""
        needed = {
            "vllm": layout.placement != "in_process",
            "deepspeed": layout.sharding != "none",
        }
        return {
            name: "make install TORCH=cuda VLLM=1"
            for name, is_needed in needed.items()
            if is_needed
        }

    def render(self, run: RunSettings, layout: Layout, inputs: Inputs) -> dict[str, str]:
        """The configuration files of accelerate, TRL and, if there is one, its vLLM engine."""
        trl = trl_config(
            run,
            layout,
            model=inputs.model,
            problems=inputs.problems.parent,
            output=inputs.checkpoints,
            reward_models=inputs.reward_models,
        )
        files = {"trl.yaml": trl, "accelerate.yaml": accelerate_config(layout)}
        if layout.placement == "colocate":
            files[_ENGINE_FILE] = engine_config(run, layout)
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
        """Servers of the reference model and of vLLM, if any, then the trainers of each node."""
        trainers = [
            _trainer(layout, machine, inputs, resume, node)
            for node in range(nodes_with_trainers(layout))
        ]
        servers = reference_server(run, layout, machine, inputs)
        if layout.placement == "server":
            servers.append(_server(run, layout, machine, inputs.model))
        return [*servers, *trainers]


def _server(run: RunSettings, layout: Layout, machine: Machine, model: Path) -> Process:
    """The server of vLLM, with the options that TRL's trainer needs (TRL 1.11 and later)."""
    assigned = _generator_gpus(layout, machine)
    longest = run.sizes.max_prompt_length + run.sizes.max_completion_length
    return Process(
        role="generator",
        argv=(
            *("vllm", "serve", str(model)),
            *("--host", f"{{address:{assigned[0].node}}}"),
            *("--port", "{port:generator}"),
            *("--dtype", "bfloat16"),
            *("--tensor-parallel-size", str(layout.generator_tensor_parallel)),
            *("--gpu-memory-utilization", f"{layout.generator_memory_share:g}"),
            *("--max-model-len", str(longest)),
            *("--weight-transfer-config", '{"backend":"nccl"}'),
            *("--logprobs-mode", "processed_logprobs"),
            *("--max-logprobs", "-1"),
            *(
                word
                for key, value in engine_config(run, layout).items()
                for word in (f"--{key.replace('_', '-')}", str(value))
            ),
            "--enable-scale-out",
        ),
        env={**_ENGINE_ENV, "VLLM_SERVER_DEV_MODE": "1"},
        gpus=tuple(each.gpu for each in assigned),
        node=assigned[0].node,
        health=f"http://{{address:{assigned[0].node}}}:{{port:generator}}/health",
    )


def _generator_gpus(layout: Layout, machine: Machine) -> list[GpuAssignment]:
    return [each for each in assign_gpus(layout, machine) if each.role == "generator"]


def _trainer(
    layout: Layout, machine: Machine, inputs: Inputs, resume: Path | None, node: int
) -> Process:
    """The trainers of one node, behind one launcher."""
    arguments = [str(inputs.run_file), str(inputs.config / "trl.yaml")]
    if inputs.kept_optimizer_states is not None:
        arguments += ["--keep-states", str(inputs.kept_optimizer_states)]
    if layout.placement == "server":
        node_of_server = _generator_gpus(layout, machine)[0].node
        arguments += ["--generator-host", f"{{address:{node_of_server}}}"]
        arguments += ["--generator-port", "{port:generator}", "--weights-port", "{port:weights}"]
    if layout.placement == "colocate":
        arguments += ["--engine", str(inputs.config / _ENGINE_FILE)]
    if resume:
        arguments += ["--resume", str(resume)]
    arguments += client_arguments(layout, machine)
    return Process(
        role="trainer",
        argv=(*_launcher(layout, inputs, node), "-m", _ENTRYPOINT, *arguments),
        # TRL warns at each start that `rollout_func` may change; its version is pinned.
        env={"TRL_EXPERIMENTAL_SILENCE": "1", **(_ENGINE_ENV if layout.gpus else {})},
        gpus=tuple(
            each.gpu
            for each in assign_gpus(layout, machine)
            if each.role == "trainer" and each.node == node
        ),
        node=node,
    )


def _launcher(layout: Layout, inputs: Inputs, node: int) -> tuple[str, ...]:
    """accelerate; torchrun for several processes on a CPU, of which accelerate would start one."""
    if layout.placement == "in_process" and layout.trainers > 1:
        return ("torchrun", "--standalone", "--nproc-per-node", str(layout.trainers))
    launcher: tuple[str, ...] = (
        "accelerate",
        "launch",
        "--config_file",
        str(inputs.config / "accelerate.yaml"),
    )
    if layout.trainers > 1:
        launcher += ("--main_process_port", "{port:trainers}")
    if nodes_with_trainers(layout) > 1:
        launcher += ("--machine_rank", str(node), "--main_process_ip", "{address:0}")
    return launcher
