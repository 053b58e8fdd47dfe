"""Who sits on which card, and the commands that start a plan."""

from collections.abc import Iterator
from pathlib import Path
from shlex import quote
from typing import NamedTuple

from r1zero.plan.layout import Layout
from r1zero.plan.machine import Machine
from r1zero.settings.run import RunSettings

VLLM_PORT = 8000


class GpuAssignment(NamedTuple):
    """What one card does."""

    node: int
    card: str
    """As `CUDA_VISIBLE_DEVICES` names it."""
    role: str
    seen_as: str
    """As the process on it names it."""


class Command(NamedTuple):
    """A command and the environment it needs."""

    environment: dict[str, str]
    arguments: list[str]

    def __str__(self) -> str:
        """As one would type it, an option a line."""
        words = [f"{name}={quote(value)}" for name, value in self.environment.items()]
        text = " ".join([*words, *map(quote, self.arguments)])
        return text.replace(" --", " \\\n    --")


def seats(layout: Layout, machine: Machine) -> Iterator[GpuAssignment]:
    """Every card of every node; trainers come first, vLLM's own cards after them."""
    cards = [(node, card) for node in range(machine.nodes) for card in machine.cards]
    order = {"train": 0, "vllm": 0}
    for index, (node, card) in enumerate(cards):
        if index < layout.training_gpus:
            local = index % machine.gpus_per_node
            with_vllm = " and vLLM" if layout.placement == "colocate" else ""
            yield GpuAssignment(node, card, f"trainer {index}{with_vllm}", f"cuda:{local}")
        elif index < layout.training_gpus + layout.vllm_gpus:
            yield GpuAssignment(node, card, f"vLLM {order['vllm']}", f"cuda:{order['vllm']}")
            order["vllm"] += 1
        else:
            yield GpuAssignment(node, card, "idle", "")


def vllm_command(run: RunSettings, layout: Layout, machine: Machine, model: Path) -> Command:
    """The server that vLLM has itself, as TRL's trainer wants it (TRL 1.11 and later)."""
    own = [seat.card for seat in seats(layout, machine) if seat.role.startswith("vLLM")]
    longest = run.sizes.max_prompt_length + run.sizes.max_completion_length
    return Command(
        {"CUDA_VISIBLE_DEVICES": ",".join(own), "VLLM_SERVER_DEV_MODE": "1"},
        [
            *("vllm", "serve", str(model)),
            *("--port", str(VLLM_PORT)),
            *("--dtype", "bfloat16"),
            *("--tensor-parallel-size", str(layout.vllm_tensor_parallel)),
            *("--gpu-memory-utilization", f"{layout.vllm_gpu_memory_utilization:g}"),
            *("--max-model-len", str(longest)),
            *("--weight-transfer-config", '{"backend":"nccl"}'),
            *("--logprobs-mode", "processed_logprobs"),
            *("--max-logprobs", "-1"),
            "--enable-scale-out",
        ],
    )


def train_command(layout: Layout, machine: Machine, plan: Path, rest: list[str]) -> Command:
    """The trainer through accelerate; on the CPU with several processes through torchrun.

    `accelerate launch` starts one process on a CPU, whatever number it is given.
    """
    if layout.placement == "transformers" and layout.num_processes > 1:
        launcher = [
            *("torchrun", "--standalone"),
            *("--nproc-per-node", str(layout.num_processes)),
        ]
    else:
        launcher = ["accelerate", "launch", "--config_file", str(plan / "accelerate.yaml")]
        if machine.nodes > 1:
            launcher += ["--machine_rank", "$NODE", "--main_process_ip", "$HEAD"]
    cards = [
        seat.card for seat in seats(layout, machine) if seat.node == 0 and "trainer" in seat.role
    ]
    environment = {"CUDA_VISIBLE_DEVICES": ",".join(cards)}
    return Command(environment, [*launcher, "-m", "r1zero.train.backends.trl.entrypoint", *rest])


def commands(
    run: RunSettings, layout: Layout, machine: Machine, *, model: Path, plan: Path
) -> list[Command]:
    """What starts a plan by hand, in order."""
    rest = ["--config", str(plan / "trl.yaml")]
    trainer = train_command(layout, machine, plan, rest)
    if layout.placement == "server":
        return [vllm_command(run, layout, machine, model), trainer]
    return [trainer]
