"""The machine that a run is planned for: this one, or a described one. Needs no torch."""

import importlib.util
import os
from typing import Literal

from pydantic import Field

from r1zero.core.errors import UserError
from r1zero.core.section import Section
from r1zero.plan.gpus import GPUS
from r1zero.settings.workflow import Hardware

_ASSUMED = "a100-80g"


class Machine(Section):
    """Nodes and GPUs."""

    nodes: int = Field(default=1, ge=1)
    """Machines."""
    gpus_per_node: int = Field(ge=0)
    """GPUs of each; 0 for a run on the CPU."""
    gpu_memory_gb: float = Field(default=0, ge=0)
    """Memory of one GPU in 2^30 bytes; 0 without GPUs."""
    gpu: str | None = None
    """Kind of GPU, if it is one of `gpus.GPUS`."""
    source: str = "described"
    """Origin of these numbers, for people."""
    has_vllm: bool = True
    """Whether vLLM is there to generate; a described machine is taken to have it."""
    visible: list[str] = Field(default=[])
    """GPUs of a node as `CUDA_VISIBLE_DEVICES` names them; empty if it is not set."""

    @property
    def gpu_ids(self) -> list[str]:
        """Names of the GPUs of a node, for `CUDA_VISIBLE_DEVICES`."""
        return self.visible or [str(gpu) for gpu in range(self.gpus_per_node)]

    @property
    def gpus(self) -> int:
        """GPUs on all nodes."""
        return self.nodes * self.gpus_per_node


def find_machine(hardware: Hardware) -> Machine:
    """The machine that the settings describe; what they leave out is measured on this machine.

    Raises:
        UserError: An unknown kind of GPU.

    """
    if hardware.gpu and hardware.gpu not in GPUS:
        raise UserError(
            f"unknown kind of GPU '{hardware.gpu}'",
            where="hardware.gpu",
            hint=f"known: {', '.join(GPUS)}; or give hardware.gpu_memory_gb",
        )
    count = count_gpus(hardware.gpus)
    if count == 0:
        return Machine(gpus_per_node=0, source="no GPU in use")
    kind, source = hardware.gpu, "described"
    memory = hardware.gpu_memory_gb or (GPUS[kind].memory if kind else None)
    if memory is None:
        memory = min(gpu_memories(), default=None)
        source = "measured here"
    if memory is None:
        kind, memory = _ASSUMED, GPUS[_ASSUMED].memory
        source = f"assumed to be {_ASSUMED}; set hardware.gpu or hardware.gpu_memory_gb"
    return Machine(
        nodes=hardware.nodes,
        gpus_per_node=count,
        gpu_memory_gb=memory,
        gpu=kind,
        source=source,
        has_vllm=hardware.gpus != "auto" or importlib.util.find_spec("vllm") is not None,
        visible=visible_gpus() if hardware.gpus == "auto" else [],
    )


def count_gpus(wanted: int | Literal["auto"]) -> int:
    """GPUs of a node: the number asked for, or for `auto` those of this machine.

    `auto` counts the entries of `CUDA_VISIBLE_DEVICES`, and all GPUs that NVML finds if that is not
    set.
    """
    if wanted != "auto":
        return wanted
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        return len(visible_gpus())
    return len(gpu_memories())


def visible_gpus() -> list[str]:
    """GPUs that CUDA_VISIBLE_DEVICES names."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    return [gpu.strip() for gpu in named if gpu.strip() not in ("", "-1")]


def gpu_memories() -> list[float]:
    """Memory in 2^30 bytes of each GPU of this machine; empty without a driver."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        handles = map(pynvml.nvmlDeviceGetHandleByIndex, range(pynvml.nvmlDeviceGetCount()))
        return [pynvml.nvmlDeviceGetMemoryInfo(handle).total / 2**30 for handle in handles]
    except pynvml.NVMLError:
        return []
    finally:
        pynvml.nvmlShutdown()
