"""Peak memory and speed of generation and update of one model with random weights.

Started as `-m r1zero.gpu_check.measure NAME DEVICE OUT`. The update is a pass of TRL's trainer and
a step of AdamW, in float32 with bfloat16 autocast, as a plan without sharding has it.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.profiler import ProfilerActivity, profile
from transformers import PreTrainedModel, Qwen2Config, Qwen2ForCausalLM
from trl.trainer.utils import add_fused_lm_head

from r1zero.core.errors import UserError
from r1zero.core.files import write_json
from r1zero.plan.activations import Device
from r1zero.plan.cost import BANDWIDTH_EFFICIENCY, COMPUTE_EFFICIENCY
from r1zero.plan.generation import transformers_memory, transformers_seconds
from r1zero.plan.gpus import Gpu, kind_of
from r1zero.plan.memory import training_memory
from r1zero.sampling import sample
from r1zero.settings import load_sources
from r1zero.settings.architecture import Architecture
from r1zero.settings.sources import HubModel

TINY = "tiny"
# Of the memory model: what is no tensor.
_ALLOWANCES = ("context", "fragmentation")
_REPEATS = 3


class Sizes(NamedTuple):
    """What is generated and updated."""

    rows: int
    """Completions in a pass."""
    sequences: int
    """Completions that are generated at once."""
    prompt: int
    completion: int
    generated: int
    """Tokens of a completion that is generated."""


_SIZES = Sizes(rows=4, sequences=64, prompt=256, completion=768, generated=128)
_TINY_SIZES = Sizes(rows=2, sequences=4, prompt=8, completion=8, generated=4)
_TINY = Architecture(
    vocab_size=500,
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    tie_word_embeddings=True,
)


def measure(name: str, device: Device) -> dict[str, Any]:
    """Measure one model.

    Args:
        name: A model of `config/sources.yaml`, or `tiny`.
        device: Where.

    Returns:
        For `update` and `generation` each: peak of the allocated bytes, what the memory model says,
        tokens per second, and the estimate for the kind of GPU, None for one of unknown rates.

    Raises:
        UserError: The model does not fit on the GPU.

    """
    architecture, sizes = (_TINY, _TINY_SIZES) if name == TINY else (_published(name), _SIZES)
    said = _predicted(architecture, sizes, device)
    if device == "cuda":
        total = torch.cuda.get_device_properties(0).total_memory
        if sum(said.values()) > total:
            raise UserError(
                f"needs {sum(said.values()) / 2**30:.1f} GiB without sharding, the GPU has "
                f"{total / 2**30:.1f}",
                where=name,
            )
    torch.manual_seed(0)
    model = _model(architecture).to(device)
    gpu = kind_of(torch.cuda.get_device_name(0)) if device == "cuda" else None
    # Generation first: the update leaves gradients and optimizer states.
    generation = _generation(model, architecture, sizes, device, gpu)
    update = _update(model, architecture, sizes, device, gpu)
    return {
        "model": name,
        "parameters": architecture.parameters,
        "sizes": sizes._asdict(),
        "generation": generation,
        "update": update | {"said": said, "said_bytes": _tensors(said)},
    }


def _published(name: str) -> Architecture:
    source = load_sources().models[name]
    assert isinstance(source, HubModel)
    assert source.architecture
    return source.architecture


def _model(architecture: Architecture) -> PreTrainedModel:
    names = set(Architecture.model_fields) - {"max_position_embeddings", "head_dim"}
    config = Qwen2Config(
        **architecture.model_dump(include=names),
        max_position_embeddings=4096,
        attn_implementation="sdpa",
    )
    model = Qwen2ForCausalLM(config)
    add_fused_lm_head(model, outputs=("log_probs", "entropy"))
    return model.train()


def _predicted(architecture: Architecture, sizes: Sizes, device: Device) -> dict[str, int]:
    return training_memory(
        architecture,
        weights="float32",
        autocast=True,
        zero_stage=0,
        processes=1,
        micro_batch=sizes.rows,
        prompt_length=sizes.prompt,
        completion_length=sizes.completion,
        checkpointing=False,
        reference=False,
        attention="sdpa",
        device=device,
    )


def _tensors(parts: dict[str, int]) -> int:
    return sum(size for part, size in parts.items() if part not in _ALLOWANCES)


def _generation(
    model: PreTrainedModel,
    architecture: Architecture,
    sizes: Sizes,
    device: Device,
    gpu: Gpu | None,
) -> dict[str, Any]:
    prompts = [[1] * sizes.prompt] * (sizes.sequences - 1) + [[2]]

    def generate() -> None:
        with torch.autocast(device, dtype=torch.bfloat16):
            sample(
                model,
                prompts,
                max_new_tokens=sizes.generated,
                eos=[architecture.vocab_size],
                pad=0,
            )

    held = sum(weight.nbytes for weight in model.parameters())
    peak, seconds = _peak_and_seconds(generate, device, held)
    said = transformers_memory(
        architecture,
        sequences=sizes.sequences,
        prompt_length=sizes.prompt,
        completion_length=sizes.generated,
        compute="bfloat16",
        copied_weights=True,
        warpers=False,
    )
    estimate = gpu and transformers_seconds(
        gpu,
        architecture,
        completions=sizes.sequences,
        sequences=sizes.sequences,
        prompt_length=sizes.prompt,
        longest=sizes.generated,
        compute_rate=COMPUTE_EFFICIENCY,
        bandwidth=BANDWIDTH_EFFICIENCY,
    )
    tokens = sizes.sequences * sizes.generated
    return {
        "peak_bytes": peak,
        "said_bytes": held + sum(said.values()),
        "said": said,
        "tokens_per_second": tokens / seconds,
        "estimated_tokens_per_second": tokens / estimate if estimate else None,
    }


def _update(
    model: PreTrainedModel,
    architecture: Architecture,
    sizes: Sizes,
    device: Device,
    gpu: Gpu | None,
) -> dict[str, Any]:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6)
    length = sizes.prompt + sizes.completion
    ids = torch.randint(1, architecture.vocab_size, (sizes.rows, length), device=device)
    mask = torch.ones_like(ids)
    mask[:, : sizes.prompt // 2] = 0
    labels = ids.masked_fill(mask == 0, -100)
    labels[:, : -sizes.completion] = -100
    advantages = torch.randn(sizes.rows, 1, device=device)

    def one_pass() -> None:
        """As in GRPOTrainer's `_get_per_token_logps_and_entropies` and `_compute_loss`."""
        with torch.autocast(device, dtype=torch.bfloat16):
            outputs = model(input_ids=ids, attention_mask=mask, labels=labels, fused_lm_head=True)
        logps = outputs.log_probs[:, -sizes.completion :]
        del outputs
        ratio = torch.exp(logps - logps.detach())
        loss = -(ratio * advantages).mean()
        loss.backward()  # type: ignore[no-untyped-call]

    one_pass()
    optimizer.step()
    held = 4 * sum(weight.nbytes for weight in model.parameters())
    peak, _ = _peak_and_seconds(one_pass, device, held)

    def one_step() -> None:
        optimizer.zero_grad()
        one_pass()
        optimizer.step()

    one_step()
    seconds = _seconds(one_step, device)
    tokens = sizes.rows * length
    rate = gpu and gpu.tflops * 1e12 * COMPUTE_EFFICIENCY / (6 * architecture.parameters)
    return {
        "peak_bytes": peak,
        "tokens_per_second": tokens / seconds,
        "estimated_tokens_per_second": rate,
    }


def _peak_and_seconds(work: Callable[[], None], device: Device, held: int) -> tuple[int, float]:
    """Most bytes allocated during some work, and its seconds without that measurement.

    Args:
        work: What to do; it is done twice.
        device: Where.
        held: Bytes that are held before, which the profiler of a CPU does not see.

    """
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        work()
        peak = torch.cuda.max_memory_allocated()
    else:
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
            work()
        peak = held + most_allocated(profiler)
    return peak, _seconds(work, device, repeats=1)


def most_allocated(profiler: Any) -> int:
    """The most bytes alive at once, above those alive at the start."""
    events = [e for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"]
    alive = most = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        alive += event.nbytes()
        most = max(most, alive)
    return most


def _seconds(work: Callable[[], None], device: Device, repeats: int = _REPEATS) -> float:
    started = time.perf_counter()
    for _ in range(repeats):
        work()
    if device == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - started) / repeats


def main(name: str, device: Device, out: Path) -> None:
    """Measure a model and write the result."""
    write_json(out, measure(name, device))


if __name__ == "__main__":
    try:
        main(sys.argv[1], "cuda" if sys.argv[2] == "cuda" else "cpu", Path(sys.argv[3]))
    except UserError as error:
        sys.exit(f"error: {error}")
