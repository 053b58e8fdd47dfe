"""GPUs and time of an evaluation: pure, and without a file, so that the rules can ask for it."""

import math
from collections.abc import Mapping
from typing import NamedTuple

from r1zero.plan.cost import BANDWIDTH_EFFICIENCY, COMPUTE_EFFICIENCY, decoding_seconds
from r1zero.plan.generation import EVALUATION_BATCH, evaluation_sequences, transformers_seconds
from r1zero.plan.gpus import GPUS, Gpu
from r1zero.plan.machine import Machine
from r1zero.plan.memory import server_utilization, vllm_memory
from r1zero.settings.architecture import Architecture
from r1zero.settings.run import RunSettings

CHUNK_ON_GPUS = 2048
"""Completions that an evaluation asks vLLM for at once. Processes share the work chunk by chunk."""
# Sequences of the greatest length, and of any length, that vLLM's cache and sampler have room for.
_FULL_SEQUENCES, _SEQUENCES = 16, 256
# Further copies of the model are taken until an evaluation is estimated to take so long.
_WANTED_SECONDS = 2 * 3600
# The estimate is right to a factor of two or three. Loading a large model takes minutes.
_FACTOR, _LOADING_SECONDS = 3, 1800
_UNKNOWN_MINUTES = 4 * 60


class EvaluationLayout(NamedTuple):
    """What one evaluation takes on a node."""

    processes: int
    """Processes that generate, each with a copy of the model."""
    tensor_parallel: int
    """GPUs of each process; 0 on the CPU."""
    minutes: int
    """Time to ask a scheduler for: a limit, not an estimate."""

    @property
    def gpus(self) -> int:
        """GPUs of all processes."""
        return self.processes * self.tensor_parallel


def evaluation_layout(
    run: RunSettings,
    machine: Machine,
    architecture: Architecture | None,
    sizes: Mapping[str, int],
) -> EvaluationLayout:
    """Lay out an evaluation of a run on a node.

    Tensor parallelism is the least with which the model fits; without vLLM there is none. More
    processes are taken where one would take more than two hours, as evaluations also run side by
    side.

    Args:
        run: The run.
        machine: The machine.
        architecture: Sizes of the model; without them there is one process, with one GPU.
        sizes: `max_problems` and `n_samples` that the suite has of its own.

    """
    if machine.gpus_per_node == 0:
        return EvaluationLayout(1, 0, _UNKNOWN_MINUTES)
    if architecture is None:
        return EvaluationLayout(1, 1, _UNKNOWN_MINUTES)
    parallel, chunk = 1, EVALUATION_BATCH
    if machine.has_vllm:
        longest = run.sizes.max_prompt_length + run.sizes.max_completion_length
        parallel, chunk = _tensor_parallel(machine, architecture, longest), CHUNK_ON_GPUS
    gpu = GPUS.get(machine.gpu or "")
    if gpu is None:
        return EvaluationLayout(1, parallel, _UNKNOWN_MINUTES)
    problems = sizes.get("max_problems", run.evaluation.max_problems)
    sampled = problems * sizes.get("n_samples", run.evaluation.n_samples)
    ways = [sampled, *([problems] if run.evaluation.greedy else [])]

    def seconds(copies: int) -> float:
        """Time of a number of processes, were all completions as long as they may be."""
        if machine.has_vllm:
            return sum(_with_vllm(run, architecture, gpu, n, copies, parallel) for n in ways)
        shares = (math.ceil(n / min(copies, math.ceil(n / chunk))) for n in ways)
        return sum(_with_transformers(run, architecture, gpu, n) for n in shares)

    most = min(machine.gpus_per_node // parallel, math.ceil(sampled / chunk))
    enough = (n for n in range(1, most + 1) if seconds(n) <= _WANTED_SECONDS)
    processes = next(enough, most)
    limit = _LOADING_SECONDS + _FACTOR * seconds(processes)
    return EvaluationLayout(processes, parallel, math.ceil(limit / 60))


def _with_vllm(
    run: RunSettings,
    architecture: Architecture,
    gpu: Gpu,
    completions: int,
    copies: int,
    tensor_parallel: int,
) -> float:
    """Seconds in which copies of vLLM generate completions."""
    return decoding_seconds(
        gpu,
        architecture,
        completions=completions,
        prompt_length=run.sizes.max_prompt_length,
        mean_length=run.sizes.max_completion_length,
        longest=run.sizes.max_completion_length,
        copies=min(copies, math.ceil(completions / CHUNK_ON_GPUS)),
        tensor_parallel=tensor_parallel,
    )


def _with_transformers(
    run: RunSettings, architecture: Architecture, gpu: Gpu, completions: int
) -> float:
    """Seconds in which one process generates completions without vLLM."""
    prompt, longest = run.sizes.max_prompt_length, run.sizes.max_completion_length
    sequences = evaluation_sequences(
        architecture, gpu.memory * 2**30, prompt_length=prompt, completion_length=longest
    )
    return transformers_seconds(
        gpu,
        architecture,
        completions=completions,
        sequences=max(1, sequences),
        prompt_length=prompt,
        longest=longest,
        compute_rate=COMPUTE_EFFICIENCY,
        bandwidth=BANDWIDTH_EFFICIENCY,
    )


def _tensor_parallel(machine: Machine, architecture: Architecture, length: int) -> int:
    """Fewest GPUs of a node that hold a copy of the model and its cache; the most if none do."""
    sizes = [
        n
        for n in (1, 2, 4, 8)
        if n <= machine.gpus_per_node and architecture.num_attention_heads % n == 0
    ]
    for size in sizes:
        parts = vllm_memory(
            architecture,
            tensor_parallel=size,
            sequences=_SEQUENCES,
            full_sequences=_FULL_SEQUENCES,
            max_length=length,
        )
        if server_utilization(parts, int(machine.gpu_memory_gb * 2**30)):
            return size
    return sizes[-1]
