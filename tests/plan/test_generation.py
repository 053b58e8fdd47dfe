"""Generation without vLLM: its memory against allocations, and plans of every recipe with it.

Measured is every allocation of PyTorch's CPU allocator while `r1zero.sampling` generates.
"""

import itertools
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch.profiler import ProfilerActivity, profile
from transformers import Qwen2Config, Qwen2ForCausalLM

from r1zero.plan.backend import load_backend
from r1zero.plan.cost import time_of
from r1zero.plan.evaluation import evaluation_layout
from r1zero.plan.generation import transformers_memory, transformers_seconds
from r1zero.plan.gpus import GPUS
from r1zero.plan.layout import Layout, Refusal
from r1zero.plan.machine import Machine, find_machine
from r1zero.plan.search import lay_out
from r1zero.sampling import sample
from r1zero.settings import Hardware, RunSettings, load_sources, recipe_names, resolve_run
from r1zero.settings.architecture import Architecture
from tiny import CONFIG

# The model may say so much more than was measured, and no less.
_MOST_OVER = 0.5
PAPER = {
    name: resolve_run(name, scale="paper", backend="trl", seed=0, folder=CONFIG)
    for name in recipe_names(CONFIG)
}
MODELS = load_sources(CONFIG).models


@dataclass(frozen=True)
class Case:
    """Sizes of a model and of what it generates."""

    hidden: int = 64
    layers: int = 2
    heads: int = 4
    key_value_heads: int = 2
    vocabulary: int = 500
    sequences: int = 16
    prompt: int = 16
    completion: int = 24
    top_p: float = 1.0
    autocast: bool = False


CASES = [
    Case(prompt=4),
    Case(autocast=True, sequences=4, hidden=128, completion=8),
    Case(key_value_heads=4),
    Case(vocabulary=20_000, completion=3),
    Case(vocabulary=20_000, completion=3, top_p=0.9),
    Case(prompt=160, completion=4),
]


def measured(case: Case) -> tuple[int, int]:
    """Bytes that a generation adds at most, and those that the memory model says."""
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=case.vocabulary,
        hidden_size=case.hidden,
        intermediate_size=4 * case.hidden,
        num_hidden_layers=case.layers,
        num_attention_heads=case.heads,
        num_key_value_heads=case.key_value_heads,
        tie_word_embeddings=True,
        attn_implementation="sdpa",
    )
    model = Qwen2ForCausalLM(config).eval()
    # Prompts of two lengths have a mask.
    prompts = [[1] * case.prompt] * (case.sequences - 1) + [[2]]
    with (
        profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler,
        torch.autocast("cpu", dtype=torch.bfloat16, enabled=case.autocast),
    ):
        sample(
            model,
            prompts,
            max_new_tokens=case.completion,
            eos=[case.vocabulary],
            pad=0,
            top_p=case.top_p,
        )
    events: list[Any] = profiler.profiler.kineto_results.events()
    alive = most = 0
    for event in sorted((e for e in events if e.name() == "[memory]"), key=lambda e: e.start_ns()):
        alive += event.nbytes()
        most = max(most, alive)
    parts = transformers_memory(
        Architecture.from_config(config.to_dict()),
        sequences=case.sequences,
        prompt_length=case.prompt,
        completion_length=case.completion,
        compute="bfloat16" if case.autocast else "float32",
        copied_weights=case.autocast,
        warpers=case.top_p < 1,
    )
    return most, sum(parts.values())


@pytest.mark.parametrize("case", CASES, ids=str)
def test_memory_of_a_generation_is_what_was_measured_or_more(case: Case) -> None:
    found, said = measured(case)
    print(f"{case}: measured {found / 1e6:.2f} MB, {said / 1e6:.2f} said, {said / found - 1:+.1%}")
    assert found <= said <= (1 + _MOST_OVER) * found


def without_vllm(gpus: int, kind: str, nodes: int = 1) -> Machine:
    described = find_machine(Hardware(gpus=gpus, gpu=kind, nodes=nodes))
    return described.model_copy(update={"has_vllm": False})


def architecture(run: RunSettings) -> Architecture:
    found = getattr(MODELS[run.model], "architecture", None)
    assert isinstance(found, Architecture)
    return found


@pytest.mark.parametrize("recipe", sorted(PAPER))
def test_every_recipe_is_laid_out_without_vllm_or_refused_with_what_works(recipe: str) -> None:
    run = PAPER[recipe]
    sizes = architecture(run)
    for kind, (gpus, nodes) in itertools.product(
        ("4090", "a100-40g", "a100-80g", "h200"), ((1, 1), (2, 1), (4, 1), (8, 1), (8, 2))
    ):
        machine = without_vllm(gpus, kind, nodes)
        found = lay_out(run, machine, sizes)
        if isinstance(found, Refusal):
            assert found.reasons
            assert found.suggestions
            continue
        assert found.placement == "transformers"
        assert found.trainers == found.trainer_gpus == gpus * nodes
        assert found.micro_batch * found.trainers * found.accumulation == run.completions_per_step
        usable = machine.gpu_memory_gb * 2**30
        assert sum(found.memory.values()) < usable
        assert sum(found.rollout_memory.values()) < usable
        share = found.completions_per_step * run.algorithm.updates_per_rollout // found.trainers
        assert min(8, share) <= found.generator_sequences <= share
        assert "vllm" not in load_backend("trl").requires(found)
        assert any("vLLM is not installed" in reason for reason in found.reasons)
        time = time_of(run, found, sizes, machine)
        assert time
        evaluated = evaluation_layout(run, machine, sizes, {})
        assert evaluated.tensor_parallel == 1
        assert 1 <= evaluated.processes <= gpus
        # A described machine has vLLM, which is faster, unless its key says otherwise.
        fast = lay_out(run, find_machine(Hardware(gpus=gpus, gpu=kind, nodes=nodes)), sizes)
        if isinstance(fast, Layout) and fast.placement == "colocate":
            other = time_of(run, fast, sizes, machine)
            assert other
            assert other.generation < time.generation


def test_a_placement_that_is_asked_for_is_taken_wherever_vllm_is() -> None:
    run = PAPER["datawhale_r1"]
    for placement in ("transformers", "colocate"):
        hardware = Hardware(gpus=1, gpu="h200", placement=placement)
        for has_vllm in (True, False):
            machine = find_machine(hardware).model_copy(update={"has_vllm": has_vllm})
            found = lay_out(run, machine, architecture(run), hardware)
            assert isinstance(found, Layout)
            assert found.placement == placement
            needed = "vllm" in load_backend("trl").requires(found)
            assert needed == (placement == "colocate")


def test_a_step_takes_as_long_as_its_launches_or_its_reading() -> None:
    sizes = architecture(PAPER["datawhale_r1"])

    def seconds(sequences: int, completions: int) -> float:
        return transformers_seconds(
            GPUS["h200"],
            sizes,
            completions=completions,
            sequences=sequences,
            prompt_length=100,
            longest=1000,
            compute_rate=0.3,
            bandwidth=0.5,
        )

    # Few sequences more cost nothing, many do, and batches wait for each other.
    assert seconds(2, 2) == pytest.approx(seconds(1, 1), rel=0.02)
    assert seconds(4096, 4096) > 2 * seconds(1, 1)
    assert seconds(8, 64) == pytest.approx(8 * seconds(8, 8), rel=0.02)
