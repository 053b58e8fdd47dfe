"""Cost of a run: disk exactly; time and memory of the host as estimates with their basis."""

from typing import NamedTuple

from r1zero.plan.assignment import assign_gpus
from r1zero.plan.gpus import GPUS, Gpu
from r1zero.plan.layout import Layout
from r1zero.plan.machine import Machine
from r1zero.settings.architecture import Architecture
from r1zero.settings.run import RunSettings

# Shares of the datasheet rates that training and decoding reach, and the share of the longest
# completion that a mean one takes. Rough: a plan shows the published time of a recipe beside its
# estimate for the same GPUs, where there is one.
COMPUTE_EFFICIENCY = 0.3
BANDWIDTH_EFFICIENCY = 0.5
MEAN_LENGTH = 0.25
# Completions that one copy of vLLM decodes at once.
_CONCURRENT = 256
_SMALL_FILES = 20_000_000
# Allowances for the host's memory, not measured on a GPU: a process on the CPU with its mini model,
# and one on a GPU with CUDA's libraries, pinned buffers and data, without its weights.
_CPU_PROCESS = 4 * 10**9
_GPU_PROCESS = 8 * 10**9
# Weights of a model whose sizes are not known: those of 8 billion parameters in float32.
_UNKNOWN_WEIGHTS = 32 * 10**9
# What ZeRO's offload keeps on the host, in bytes per parameter: float32 master weights, moments and
# gradients; and weights in bfloat16.
_OFFLOADED_OPTIMIZER, _OFFLOADED_WEIGHTS = 16, 2


class Disk(NamedTuple):
    """Bytes of checkpoints."""

    weights: int
    """Of one checkpoint, to evaluate it."""
    optimizer: int
    """Of its optimizer states, to resume from it."""
    checkpoints: int
    """How many the run saves."""

    @property
    def everything(self) -> int:
        """All checkpoints, all with optimizer states."""
        return self.checkpoints * (self.weights + self.optimizer)

    def kept_states(self, budget: float) -> int | None:
        """Checkpoints whose optimizer states fit into a budget beside all weights.

        Args:
            budget: Bytes.

        Returns:
            At least 1, since a run must be able to resume; None if not even that fits. While a
            checkpoint is written the one before it is still whole, so there is room for one more.

        """
        free = budget - self.checkpoints * self.weights
        count = int(free // self.optimizer) - 1
        return min(count, self.checkpoints) if count >= 1 else None


def disk_of(run: RunSettings, layout: Layout, architecture: Architecture) -> Disk:
    """Disk that a run's checkpoints take.

    With sharding (DeepSpeed) weights are saved in bfloat16, and the states are float32 weights and
    Adam's two moments: 2 and 12 bytes per parameter. Without it weights are float32, and the states
    are the moments: 4 and 8 bytes.
    """
    parameters = architecture.parameters
    weights, optimizer = (2, 12) if layout.sharding != "none" else (4, 8)
    return Disk(
        weights * parameters + _SMALL_FILES,
        optimizer * parameters,
        run.sizes.max_steps // run.sizes.save_steps,
    )


def host_memory_of(layout: Layout, machine: Machine, architecture: Architecture | None) -> int:
    """Bytes of memory that a training takes on the host of its fullest node, for a reservation.

    A process reads the weights to the host before they go to its GPU, and so does the generator.
    What is offloaded is divided evenly over the trainers.
    """
    if layout.placement == "in_process":
        return (layout.trainers + (layout.reference == "server")) * _CPU_PROCESS
    size = 4 if layout.weights_dtype == "float32" else 2
    weights = _weights(architecture, size)
    offloaded = 0
    if architecture:
        per_parameter = layout.offload_optimizer * _OFFLOADED_OPTIMIZER
        per_parameter += layout.offload_weights * _OFFLOADED_WEIGHTS
        offloaded = architecture.parameters * per_parameter // layout.trainer_gpus
    nodes = [0] * machine.nodes
    for gpu in assign_gpus(layout, machine):
        if gpu.role == "trainer":
            nodes[gpu.node] += _GPU_PROCESS + weights + offloaded
        elif gpu.role == "generator":
            # The processes of one generator read its weights once.
            nodes[gpu.node] += _GPU_PROCESS + (weights if gpu.rank == 0 else 0)
            if layout.reference == "server" and gpu.rank == 0:
                nodes[gpu.node] += _GPU_PROCESS + weights
    return max(nodes)


def evaluation_memory_of(architecture: Architecture | None, *, gpus: int, processes: int) -> int:
    """Bytes of memory that an evaluation takes on the host.

    The GPUs of a process read its weights once.
    """
    if not gpus:
        return _CPU_PROCESS
    return gpus * _GPU_PROCESS + processes * _weights(architecture, 4)


def _weights(architecture: Architecture | None, size: int) -> int:
    """Bytes of a model's weights, of `size` bytes each."""
    return size * architecture.parameters if architecture else _UNKNOWN_WEIGHTS


class Time(NamedTuple):
    """Seconds of one step, estimated."""

    generation: float
    """Its share of the time of a batch of rollouts."""
    update: float

    @property
    def step(self) -> float:
        """Both, one after the other."""
        return self.generation + self.update


def time_of(
    run: RunSettings, layout: Layout, architecture: Architecture, machine: Machine
) -> Time | None:
    """Estimate of a step's time; None where the rates of the GPUs are not known.

    An update computes 6 operations per parameter and token, 2 more for recomputed activations, and
    2 for the reference model.
    """
    gpu = GPUS.get(machine.gpu or "")
    if gpu is None or layout.placement == "in_process":
        return None
    parameters = architecture.parameters
    mean = MEAN_LENGTH * run.sizes.max_completion_length
    updates, iterations = run.algorithm.updates_per_rollout, run.algorithm.num_iterations
    rollouts = layout.completions_per_step * updates
    tokens = rollouts * (mean + run.sizes.max_prompt_length)
    generating = layout.generator_gpus or layout.trainer_gpus
    generation = decoding_seconds(
        gpu,
        architecture,
        completions=rollouts,
        prompt_length=run.sizes.max_prompt_length,
        mean_length=mean,
        longest=run.sizes.max_completion_length,
        copies=max(1, generating // layout.generator_tensor_parallel),
        tensor_parallel=layout.generator_tensor_parallel,
    )
    compute = gpu.tflops * 1e12 * COMPUTE_EFFICIENCY
    passes = 6 + 2 * layout.gradient_checkpointing + 2 * (run.algorithm.beta > 0)
    update = passes * parameters * tokens / updates / (compute * layout.trainer_gpus)
    return Time(generation / (updates * iterations), update)


def decoding_seconds(
    gpu: Gpu,
    architecture: Architecture,
    *,
    completions: int,
    prompt_length: int,
    mean_length: float,
    longest: int,
    copies: int,
    tensor_parallel: int,
) -> float:
    """Estimate of the time in which vLLM generates completions.

    Decoding reads all weights for each token of the longest sequence at work (2 bytes per
    parameter), and computes 2 operations per parameter and token.

    Args:
        gpu: Kind of GPU.
        architecture: The model.
        completions: Completions of all copies.
        prompt_length: Tokens of a prompt.
        mean_length: Tokens of a completion, on average.
        longest: Tokens of the longest completion of each batch, which all others wait for.
        copies: Copies of the model.
        tensor_parallel: GPUs of each copy.

    """
    waves = -(-completions // copies // _CONCURRENT)
    reading = waves * longest * 2 * architecture.parameters
    rate = gpu.bandwidth * 1e9 * BANDWIDTH_EFFICIENCY * tensor_parallel
    compute = gpu.tflops * 1e12 * COMPUTE_EFFICIENCY * tensor_parallel * copies
    tokens = completions * (mean_length + prompt_length)
    return reading / rate + 2 * architecture.parameters * tokens / compute
