"""Memory and time of generation with transformers, where there is no vLLM. Needs no torch.

Both follow `r1zero.sampling`: its cache grows by concatenation, and each step is one forward pass
of transformers over all open rows. `tests/plan/test_generation.py` compares the memory with
allocations measured on a CPU. The time was not measured on a GPU.
"""

from collections.abc import Iterator
from math import ceil

from r1zero.plan.activations import BYTES, Dtype
from r1zero.plan.gpus import Gpu
from r1zero.plan.memory import CUDA_CONTEXT, FRAGMENTATION, Parts, kv_bytes_per_token
from r1zero.settings.architecture import Architecture

# Float32 copies of the logits of a step: the logits, their scores, probabilities, cumulative
# probabilities; with top-p or top-k also sorted scores with their indices of eight bytes, and what
# the warpers of transformers compute from them.
_COPIES, _COPIES_WITH_WARPERS = 5, 9
EVALUATION_BATCH = 64
"""Completions of a chunk of an evaluation with transformers on a GPU."""
USABLE = 0.95
"""Share of the memory of a GPU that is planned for; the driver and fragmentation take the rest."""
# Completions to work on at once: more keep a GPU no busier, fewer leave it idle.
_MOST_SEQUENCES, _LEAST_SEQUENCES = 256, 8
# Launching the kernels of one layer, which a step takes however little it computes: some thirty of
# them from Python. A rough figure: a model of 36 layers is known for about 30 tokens a second.
_SECONDS_PER_LAYER = 0.001
# The cache is read for the attention, and read and written when it grows.
_CACHE_PASSES = 3


def transformers_memory(
    architecture: Architecture,
    *,
    sequences: int,
    prompt_length: int,
    completion_length: int,
    compute: Dtype,
    copied_weights: bool,
    warpers: bool,
) -> Parts:
    """Bytes that `r1zero.sampling` takes beside a model, by part; their sum is the need.

    Args:
        architecture: The model.
        sequences: Completions that are generated at once.
        prompt_length: Tokens of the longest prompt.
        completion_length: Tokens of the longest completion.
        compute: Type of the arithmetic, and of keys and values.
        copied_weights: Whether the weights exist once more while it generates: as autocast's
            bfloat16 copies of float32 weights, or gathered from their shards (ZeRO-3).
        warpers: Whether top-p or top-k is used.

    """
    size, length = BYTES[compute], prompt_length + completion_length
    cache = sequences * length * kv_bytes_per_token(architecture, size)
    # With a mask, keys and values are repeated for every query head that shares them, one layer at
    # a time; and one layer's cache is there twice while it grows.
    layer = cache // architecture.num_hidden_layers
    if architecture.num_key_value_heads < architecture.num_attention_heads:
        layer += 2 * sequences * length * architecture.query_size * size
    width = 4 * architecture.hidden_size + 3 * (
        architecture.intermediate_size + architecture.query_size
    )
    # The mask of the prompts is there as booleans and as numbers.
    reading = sequences * prompt_length * (width * size + prompt_length * (1 + size))
    copies = _COPIES_WITH_WARPERS if warpers else _COPIES
    return {
        "generating_weights": _copy_of_weights(architecture) if copied_weights else 0,
        "kv_cache": cache,
        # The prompts are read while the cache has room for the completions.
        "activations": max(layer, reading - cache * completion_length // length),
        "logits": sequences * architecture.vocab_size * 4 * copies,
    }


def _copy_of_weights(architecture: Architecture) -> int:
    """Bytes of the matrices in bfloat16; an embedding that is no output head is not copied."""
    layers = architecture.num_hidden_layers * architecture.layer_parameters
    return 2 * (layers + architecture.embedding_parameters)


def with_allowances(resident: int, parts: Parts) -> Parts:
    """Parts of a GPU while it generates, with what CUDA and its allocator take.

    Args:
        resident: Bytes that a trainer holds meanwhile, from `trainer_resident`; of an evaluation,
            those of the weights.
        parts: From `transformers_memory`.

    """
    growing = sum(size for part, size in parts.items() if part != "generating_weights")
    allowances = {"fragmentation": ceil(FRAGMENTATION * growing), "context": CUDA_CONTEXT}
    return {"resident": resident} | parts | allowances


def evaluation_sequences(architecture: Architecture, gpu: float, **sizes: int) -> int:
    """Completions that an evaluation can generate at once on one GPU; 0 if the model does not fit.

    Args:
        architecture: The model, whose weights are in bfloat16.
        gpu: Bytes of the GPU.
        sizes: `prompt_length` and `completion_length` of the longest.

    """
    for sequences in (EVALUATION_BATCH >> halvings for halvings in range(7)):
        parts = transformers_memory(
            architecture,
            sequences=sequences,
            **sizes,
            compute="bfloat16",
            copied_weights=False,
            warpers=True,
        )
        if sum(with_allowances(2 * architecture.parameters, parts).values()) <= USABLE * gpu:
            return sequences
    return 0


def numbers_of_sequences(rollouts: int, least: int = _LEAST_SEQUENCES) -> Iterator[int]:
    """Numbers of completions to work on at once, largest first, halved down to `least`."""
    sequences = min(rollouts, _MOST_SEQUENCES)
    yield sequences
    while sequences > least:
        sequences = max(sequences // 2, least)
        yield sequences


def transformers_seconds(
    gpu: Gpu,
    architecture: Architecture,
    *,
    completions: int,
    sequences: int,
    prompt_length: int,
    longest: int,
    compute_rate: float,
    bandwidth: float,
) -> float:
    """Estimate of the time in which one GPU generates completions with transformers.

    Args:
        gpu: Kind of GPU.
        architecture: The model.
        completions: Completions.
        sequences: Those that are generated at once.
        prompt_length: Tokens of a prompt.
        longest: Tokens of the longest completion of each batch, which all others wait for.
        compute_rate: Share of the datasheet's arithmetic that is reached.
        bandwidth: Share of its bandwidth.

    """
    batches = ceil(completions / sequences)
    length = prompt_length + longest / 2
    cache = sequences * length * kv_bytes_per_token(architecture)
    read = 2 * architecture.parameters + _CACHE_PASSES * cache
    launching = architecture.num_hidden_layers * _SECONDS_PER_LAYER
    step = max(launching, read / (gpu.bandwidth * 1e9 * bandwidth))
    tokens = completions * (prompt_length + longest / 2)
    computing = 2 * architecture.parameters * tokens / (gpu.tflops * 1e12 * compute_rate)
    return batches * longest * step + computing
