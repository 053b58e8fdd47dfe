"""Which process of a layout each GPU belongs to."""

from collections.abc import Iterator
from typing import Literal, NamedTuple

from r1zero.plan.layout import Layout
from r1zero.plan.machine import Machine


class GpuAssignment(NamedTuple):
    """The work of one GPU."""

    node: int
    gpu: str
    """Name in `CUDA_VISIBLE_DEVICES` of the node."""
    role: Literal["trainer", "generator", "idle"]
    rank: int
    """Number among the GPUs of this role."""
    seen_as: str
    """Name of the device in the process that uses it."""


def assign_gpus(layout: Layout, machine: Machine) -> Iterator[GpuAssignment]:
    """Assign every GPU of every node: the trainers' first, then the generator's.

    With placements `colocate` and `transformers` a trainer's GPU generates as well.
    """
    gpus = [(node, gpu) for node in range(machine.nodes) for gpu in machine.gpu_ids]
    for index, (node, gpu) in enumerate(gpus):
        rank = index - layout.trainer_gpus
        if rank < 0:
            local = index % machine.gpus_per_node
            yield GpuAssignment(node, gpu, "trainer", index, f"cuda:{local}")
        elif rank < layout.generator_gpus:
            yield GpuAssignment(node, gpu, "generator", rank, f"cuda:{rank}")
        else:
            yield GpuAssignment(node, gpu, "idle", rank - layout.generator_gpus, "")
