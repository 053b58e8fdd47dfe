"""GPU memory of training and of vLLM, in bytes by part.

Parameters, gradients and optimizer states follow the ZeRO paper (arXiv 1910.02054, section 3) and
DeepSpeed 0.19. The memory of a pass is in `activations.py`, and was measured. Constants marked
"allowance" are round numbers on the safe side, not measurements.
"""

from math import ceil, floor
from typing import Literal

from r1zero.plan.activations import BYTES, Attention, Device, Dtype, Pass, peak
from r1zero.settings.architecture import Architecture

ZeroStage = Literal[0, 2, 3]
Parts = dict[str, int]

_GIB = 1 << 30
# Allowance: CUDA context, loaded kernels and cuBLAS workspaces of one process.
_CUDA_CONTEXT = _GIB
# Allowance: NCCL's channels and buffers, with more than one process.
_NCCL = _GIB // 2
# Allowance: memory of the caching allocator beyond the tensors of a pass. Not measured.
_FRAGMENTATION = 0.1
# DeepSpeed's default `reduce_bucket_size`, in numbers.
REDUCE_BUCKET = 500_000_000

# Allowance: CUDA graphs of vLLM, which stay while it sleeps.
_CUDA_GRAPHS = _GIB
BATCHED_TOKENS = 4096
"""vLLM's `max_num_batched_tokens`, as TRL 1.16 sets it in colocate mode."""
# Tokens in a block of vLLM's KV cache, and the multiple its vocabulary is padded to.
_KV_BLOCK = 16
_VOCABULARY_MULTIPLE = 64
# vLLM's default `gpu_memory_utilization`, and the largest share of a GPU that is planned for.
_SERVER_SHARE = 0.9
_GPU_SHARE = 0.95
_RESIDENT = ("parameters", "gradients", "optimizer", "reference", "communication")
# Logits, their processed copy and probabilities, in float32.
_SAMPLER_COPIES = 3


def training_memory(
    architecture: Architecture,
    *,
    weights: Dtype,
    autocast: bool,
    zero_stage: ZeroStage,
    processes: int,
    micro_batch: int,
    prompt_length: int,
    completion_length: int,
    checkpointing: bool,
    reference: bool,
    attention: Attention,
    offload_optimizer: bool = False,
    offload_parameters: bool = False,
    master_weights: bool = True,
    device: Device = "cuda",
    pieces: int = 1,
    reduce_bucket: int = REDUCE_BUCKET,
    live_parameters: int | None = None,
) -> Parts:
    """Bytes on one GPU at the peak of a training step, by part; their sum is the need.

    All gradients are counted, as they are held from the second pass of a step on.

    Args:
        architecture: The model.
        weights: Type of the weights that the passes compute with.
        autocast: Whether float32 weights are computed with in bfloat16.
        zero_stage: DeepSpeed's stage; 0 is plain or distributed data parallel, without DeepSpeed.
        processes: Training processes, one a GPU.
        micro_batch: Completions in one pass of one process.
        prompt_length: Tokens of the longest prompt.
        completion_length: Tokens of the longest completion.
        checkpointing: Whether a layer's activations are computed again in the backward pass.
        reference: Whether a reference model is loaded (`beta` above 0).
        attention: Kernel.
        offload_optimizer: ZeRO: optimizer states, and the gradients they read, on the CPU.
        offload_parameters: ZeRO-3: parameters on the CPU.
        master_weights: Stage 0 with bfloat16 weights: whether the optimizer has float32 copies
            of them. Plain AdamW has none; DeepSpeed always has.
        device: `cpu` counts tensors only, no context or fragmentation.
        pieces: Forward passes behind one backward pass, as in the TRL backend.
        reduce_bucket: ZeRO's `reduce_bucket_size`, in numbers.
        live_parameters: ZeRO-3: numbers gathered at once. By default the largest module, which
            holds where `stage3_max_live_parameters`, `stage3_max_reuse_distance` and
            `stage3_prefetch_bucket_size` are rendered accordingly; DeepSpeed's own default is 1e9.

    """
    step = Pass(
        architecture=architecture,
        weights=weights,
        autocast=autocast and weights == "float32",
        rows=micro_batch,
        prompt_length=prompt_length,
        completion_length=completion_length,
        checkpointing=checkpointing,
        attention=attention,
        device=device,
        pieces=pieces,
    )
    if live_parameters is None:
        live_parameters = max(architecture.embedding_parameters, architecture.layer_parameters)
    held = _held(
        step,
        stage=zero_stage,
        processes=processes,
        live=live_parameters,
        offload_optimizer=offload_optimizer,
        offload_parameters=offload_parameters,
        master_weights=master_weights,
    )
    if reference:
        sharded = zero_stage == 3
        count = architecture.parameters
        held["reference"] = BYTES[weights] * (ceil(count / processes) if sharded else count)
    transient = _worst(step, zero_stage, processes, offload_optimizer)
    parts = held | transient
    parts["communication"] = _communication(step, zero_stage, processes, reduce_bucket)
    if device == "cuda":
        parts["fragmentation"] = ceil(_FRAGMENTATION * sum(transient.values()))
        parts["context"] = _CUDA_CONTEXT
    return parts


def reference_memory(
    architecture: Architecture,
    *,
    weights: Dtype,
    autocast: bool,
    micro_batch: int,
    prompt_length: int,
    completion_length: int,
    device: Device = "cuda",
) -> Parts:
    """Bytes that a server of the reference model takes, by part.

    Its forward passes are counted as those of a trainer that saves no activations, whose peak is in
    the backward pass: an upper bound, not measured.

    Args:
        architecture: The model.
        weights: Type of its weights.
        autocast: Whether float32 weights are computed with in bfloat16.
        micro_batch: Completions in one pass.
        prompt_length: Tokens of the longest prompt.
        completion_length: Tokens of the longest completion.
        device: `cpu` counts tensors only, no context or fragmentation.

    """
    passing = sum(
        peak(
            Pass(
                architecture=architecture,
                weights=weights,
                autocast=autocast,
                rows=micro_batch,
                prompt_length=prompt_length,
                completion_length=completion_length,
                checkpointing=True,
                attention="sdpa",
                device=device,
            )
        ).values()
    )
    parts = {"weights": BYTES[weights] * architecture.parameters, "passes": passing}
    if device == "cuda":
        parts |= {"fragmentation": ceil(_FRAGMENTATION * passing), "context": _CUDA_CONTEXT}
    return parts


def _held(
    step: Pass,
    *,
    stage: ZeroStage,
    processes: int,
    live: int,
    offload_optimizer: bool,
    offload_parameters: bool,
    master_weights: bool,
) -> Parts:
    """Parameters, gradients and optimizer states, which are held all the time.

    Per parameter, with plain AdamW: a weight, a gradient and two moments of the weight's type.
    With DeepSpeed: a weight and a gradient of the model's type, and float32 master weight and
    moments, 12 bytes (it clones a master even of float32 weights, `stage_1_and_2.py`). Stage 2
    shards gradients and optimizer states, stage 3 the weights too.
    """
    count, size = step.architecture.parameters, step.weight_bytes
    share = ceil(count / processes)
    if stage == 0:
        moments = 4 + 8 if master_weights and size == 2 else 2 * size
        gradients, optimizer = count * size, count * moments
    else:
        gradients, optimizer = share * size, share * 12
        if offload_optimizer:
            gradients = optimizer = 0
    parameters = count * size
    if stage == 3:
        resident = 0 if offload_parameters else share
        # Sharded by one is not sharded: nothing is gathered.
        gathered = live if processes > 1 or offload_parameters else 0
        parameters = (resident + gathered) * size
    return {"parameters": parameters, "gradients": gradients, "optimizer": optimizer}


def _worst(step: Pass, stage: ZeroStage, processes: int, offload_optimizer: bool) -> Parts:
    """The peak of a pass, or of the optimizer step if that is larger.

    ZeRO-2 and 3 turn their share of the gradients into float32 for the step.
    """
    passing = peak(step)
    if stage == 0 or offload_optimizer:
        return passing
    stepping = 4 * ceil(step.architecture.parameters / processes)
    if stepping <= sum(passing.values()):
        return passing
    return {"activations": 0, "logits": 0, "working": stepping}


def _communication(step: Pass, stage: ZeroStage, processes: int, bucket: int) -> int:
    """Buckets that gradients are reduced in, and NCCL's own buffers."""
    nccl = _NCCL if processes > 1 and step.device == "cuda" else 0
    if stage == 0:
        # DDP keeps all gradients once more in its buckets (`gradient_as_bucket_view` is off).
        return nccl + (step.architecture.parameters * step.weight_bytes if processes > 1 else 0)
    return nccl + bucket * step.weight_bytes


def vllm_memory(
    architecture: Architecture,
    *,
    tensor_parallel: int,
    sequences: int,
    max_length: int,
    full_sequences: int | None = None,
    dtype_bytes: int = 2,
    batched_tokens: int = BATCHED_TOKENS,
) -> Parts:
    """Bytes on each GPU of a vLLM engine, by part. From vLLM's documentation, not measured.

    Args:
        architecture: The model.
        tensor_parallel: GPUs that share one copy of the model.
        sequences: Completions that are generated at once, which the sampler has room for.
        max_length: Tokens of the longest prompt and completion together.
        full_sequences: Those of the greatest length that the KV cache has room for; all of them by
            default.
        dtype_bytes: Bytes of a weight, and of a number in the KV cache.
        batched_tokens: vLLM's `max_num_batched_tokens`.

    """
    # Fewer key and value heads than GPUs: each GPU keeps one.
    heads = ceil(architecture.num_key_value_heads / tensor_parallel)
    per_token = kv_bytes_per_token(architecture, dtype_bytes) // architecture.num_key_value_heads
    blocks = (full_sequences or sequences) * ceil(max_length / _KV_BLOCK)
    width = 4 * architecture.hidden_size + 3 * ceil(
        (architecture.intermediate_size + architecture.query_size) / tensor_parallel
    )
    return {
        "weights": _vllm_weights(architecture, tensor_parallel) * dtype_bytes,
        "kv_cache": blocks * _KV_BLOCK * per_token * heads,
        "activations": batched_tokens * width * dtype_bytes
        + sequences * architecture.vocab_size * 4 * _SAMPLER_COPIES,
        "cuda_graphs": _CUDA_GRAPHS,
        "context": _CUDA_CONTEXT + (_NCCL if tensor_parallel > 1 else 0),
    }


def kv_bytes_per_token(architecture: Architecture, dtype_bytes: int = 2) -> int:
    """Bytes of the keys and values of one token in all layers."""
    layer = 2 * architecture.key_value_size * dtype_bytes
    return architecture.num_hidden_layers * layer


def _vllm_weights(architecture: Architecture, tensor_parallel: int) -> int:
    """Weights on one GPU: matrices split, keys and values down to one head, norms copied."""
    hidden, size = architecture.hidden_size, architecture.head_size
    vocabulary = ceil(architecture.vocab_size / _VOCABULARY_MULTIPLE) * _VOCABULARY_MULTIPLE
    tables = (1 if architecture.tie_word_embeddings else 2) * vocabulary * hidden
    keys_and_values = 2 * hidden * architecture.key_value_size
    kept = 2 * hidden * size * ceil(architecture.num_key_value_heads / tensor_parallel)
    split = 2 * hidden * architecture.query_size + 3 * hidden * architecture.intermediate_size
    copied = architecture.layer_parameters - split - keys_and_values
    layer = ceil(split / tensor_parallel) + kept + copied
    return ceil(tables / tensor_parallel) + architecture.num_hidden_layers * layer + hidden


def vllm_asleep(parts: Parts) -> int:
    """Bytes that stay allocated while vLLM sleeps at level 2: its CUDA graphs.

    Weights and KV cache go. Its CUDA context is the trainer's, which counts it.
    """
    return parts["cuda_graphs"]


def vllm_resident(training: Parts) -> int:
    """Bytes of a trainer that stay allocated while vLLM generates on the same GPU.

    Activations, logits and working memory of a pass are gone. Gradients are counted, though an
    optimizer frees them after its step. The CUDA context is counted with vLLM, which runs in the
    same process.
    """
    return sum(size for part, size in training.items() if part in _RESIDENT)


def server_utilization(parts: Parts, gpu: int, beside: int = 0) -> float | None:
    """`gpu_memory_utilization` of a vLLM on a GPU of `gpu` bytes without a trainer; None: no room.

    vLLM gives the KV cache what its share leaves, and more of it never slows generation: so 0.9,
    vLLM's default, or up to 0.95 where `parts`, from `vllm_memory`, need it.

    Args:
        parts: From `vllm_memory`.
        gpu: Bytes of the GPU.
        beside: Bytes of another process there, whose context is among them.

    """
    most = floor(100 * (_GPU_SHARE - beside / gpu)) / 100
    share = max(min(_SERVER_SHARE, most), _share(parts, gpu))
    return share if share <= most else None


def colocate_utilization(parts: Parts, gpu: int, resident: int) -> float | None:
    """`gpu_memory_utilization` of a vLLM that shares a GPU with a trainer; None: no room.

    Args:
        parts: From `vllm_memory`.
        gpu: Bytes of the GPU.
        resident: Bytes of the trainer while vLLM generates, from `vllm_resident`; without sleep
            mode the sum of all its parts but the context.

    """
    share = _share(parts, gpu)
    return share if share + resident / gpu <= _GPU_SHARE else None


def _share(parts: Parts, gpu: int) -> float:
    """The need as a share of the GPU, rounded up to hundredths."""
    return ceil(100 * sum(parts.values()) / gpu) / 100
