"""A layout: the processes and batches of a run on given hardware, in words of no backend."""

import math
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from r1zero.core.section import Section
from r1zero.settings.workflow import RemoteReference

Placement = Literal["in_process", "colocate", "server"]
Sharding = Literal["none", "optimizer", "full"]


@dataclass(frozen=True)
class Constraints:
    """What a backend can be laid out as; the search for a layout stays within it."""

    equal_share_of: Literal["completions", "groups"]
    """What each trainer gets the same number of in a step. With `completions` a group may be cut
    over trainers. A step has whole groups in either case."""
    placements: tuple[Placement, ...]
    """Where it can generate. `in_process` is the only one without a GPU."""
    shardings: tuple[Sharding, ...]
    """What it can shard over several trainers, least first."""
    offload: bool
    """Whether it can keep optimizer states and weights in the memory of the host."""
    references: tuple[Literal["trainer", "server"], ...] = ("trainer",)
    """Where its reference model can be. `server` is any server."""

    def multiple(self, trainers: int, group: int) -> int:
        """The number that completions per step must be a multiple of.

        Args:
            trainers: Training processes.
            group: Completions per problem.

        """
        if self.equal_share_of == "groups":
            return trainers * group
        return math.lcm(trainers, group)


class Suggestion(Section):
    """A change of `hardware` in the configuration that makes the run possible."""

    hardware: dict[str, Any]
    """Keys to change, with their values."""
    text: str
    """The same for people, with its cost."""


class Layout(Section):
    """Processes, batches and placement of a run."""

    feasible: Literal[True] = True
    """True; a run without a layout has a `Refusal`."""
    placement: Placement
    """Where completions are generated: `in_process`, by the trainer itself on the CPU; `colocate`,
    by a generator on the GPUs that train; `server`, by a generator on GPUs of its own."""
    gpus: int = Field(ge=0)
    """GPUs of the run on all nodes."""
    nodes: int = Field(ge=1)
    """Nodes of the run."""
    trainers: int = Field(ge=1)
    """Training processes."""
    trainer_gpus: int = Field(ge=0)
    """GPUs that train, one for each trainer; 0 on the CPU."""
    generator_gpus: int = Field(ge=0)
    """GPUs that only generate (`server`)."""
    idle_gpus: int = Field(ge=0)
    """GPUs without work, which `hardware.accept` has to allow."""
    generator_tensor_parallel: int = Field(ge=0)
    """GPUs that share each copy of the weights in the generator; 0 without a generator."""
    generator_memory_share: float = Field(ge=0, le=1)
    """Share of the memory of a GPU that the generator reserves; 0 without a generator."""
    generator_sequences: int = Field(ge=0)
    """Completions that each copy works on at once; further ones wait. 0 without a generator."""
    reference: Literal["none", "trainer", "server", "remote"]
    """Where the reference model of the KL penalty is: nowhere, on every trainer, on a server that
    the run starts, or on one that is there already."""
    remote_reference: RemoteReference | None = None
    """That one."""
    reference_memory: dict[str, int] = Field(default={})
    """Bytes of the server of the reference model by part; empty without one, or where not
    computed."""
    sharding: Sharding
    """What is sharded over the trainers: nothing; optimizer states and gradients (ZeRO-2); the
    weights as well (ZeRO-3)."""
    offload_optimizer: bool
    """Whether optimizer states are kept in the memory of the host."""
    offload_weights: bool
    """Whether weights are."""
    gradient_checkpointing: bool
    """Whether activations are recomputed in the backward pass."""
    micro_batch: int = Field(ge=1)
    """Completions in one forward and backward pass of one trainer."""
    accumulation: int = Field(ge=1)
    """Passes of a trainer behind one optimizer step."""
    rollout_passes: int = Field(ge=1)
    """Passes of a trainer that one batch of rollouts feeds."""
    completions_per_step: int = Field(ge=1)
    """Completions behind one optimizer step: micro_batch x trainers x accumulation."""
    deviation: int
    """Their difference from the recipe's; other than 0 only if `hardware.accept` allows it."""
    weights_dtype: Literal["float32", "bfloat16"]
    """Type of the weights of a trainer. A sharded optimizer has float32 copies of its own."""
    compute_dtype: Literal["float32", "bfloat16"]
    """Type of the arithmetic."""
    memory: dict[str, int]
    """Bytes on a training GPU by part, at the peak of a step; empty where not computed."""
    reasons: list[str]
    """Why the layout is as it is, for people."""
    suggestions: list[Suggestion] = Field(default=[])
    """Empty: the run has a layout."""


class Refusal(Section):
    """Why a run has no layout on a machine, and what would work."""

    feasible: Literal[False] = False
    """False; a run with a layout has a `Layout`."""
    reasons: list[str]
    """Why each possible layout fails."""
    suggestions: list[Suggestion]
    """Changes of the configuration that work, nearest first."""
