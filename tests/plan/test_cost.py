"""What a run takes of the host's memory, and positions that a model has."""

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from r1zero.core.errors import UserError
from r1zero.plan.cost import evaluation_memory_of, host_memory_of
from r1zero.plan.layout import Layout
from r1zero.plan.machine import Machine, find_machine
from r1zero.plan.search import lay_out, layout_or_error
from r1zero.settings import Hardware, load_sources, resolve_run
from r1zero.settings.architecture import Architecture, positions_of
from r1zero.settings.sources import HubModel
from tiny import CONFIG

GB = 10**9


def architecture(model: str) -> Architecture:
    source = load_sources(CONFIG).models[model]
    assert isinstance(source, HubModel)
    assert source.architecture
    return source.architecture


def laid_out(recipe: str, gpus: int, nodes: int = 1) -> tuple[Layout, Machine] | None:
    run = resolve_run(recipe, scale="paper", backend="trl", seed=0, folder=CONFIG)
    hardware = Hardware(gpus=gpus, nodes=nodes, gpu="a100-80g", accept=["idle_gpus"])
    machine = find_machine(hardware)
    found = lay_out(run, machine, architecture(run.model), hardware)
    return (found, machine) if isinstance(found, Layout) else None


@given(
    recipe=st.sampled_from(["datawhale_r1", "simple_grpo", "trl_gsm8k", "dapo"]),
    gpus=st.integers(1, 8),
    nodes=st.integers(1, 4),
)
def test_a_node_holds_the_weights_of_its_processes(recipe: str, gpus: int, nodes: int) -> None:
    found = laid_out(recipe, gpus, nodes)
    assume(found is not None)
    assert found is not None
    layout, machine = found
    run = resolve_run(recipe, scale="paper", backend="trl", seed=0, folder=CONFIG)
    sizes = architecture(run.model)
    needed = host_memory_of(layout, machine, sizes)
    # Trainers fill the first nodes.
    assert needed >= min(gpus, layout.trainer_gpus) * 2 * sizes.parameters
    # Never more than a machine for such gpus has: a quarter of a terabyte for each of them.
    assert needed <= gpus * 256 * GB


def test_what_is_offloaded_is_on_the_host() -> None:
    found = laid_out("datawhale_r1", 1)
    assert found is not None
    layout, machine = found
    sizes = architecture("qwen2.5-3b-instruct")
    inside = host_memory_of(layout, machine, sizes)
    offloaded = layout.model_copy(update={"offload_optimizer": True, "offload_weights": True})
    assert host_memory_of(offloaded, machine, sizes) - inside == 18 * sizes.parameters


def test_a_mini_run_takes_what_the_start_of_the_readme_says() -> None:
    run = resolve_run("datawhale_r1", scale="mini", backend="trl", seed=0, folder=CONFIG)
    hardware = Hardware(gpus=0)
    machine = find_machine(hardware)
    layout = layout_or_error(run, machine, None, hardware)
    assert host_memory_of(layout, machine, None) == 2 * 4 * GB
    assert evaluation_memory_of(None, gpus=0, processes=1) == 4 * GB


def test_an_unknown_model_is_given_room() -> None:
    found = laid_out("datawhale_r1", 2)
    assert found is not None
    known = host_memory_of(*found, architecture("qwen2.5-7b"))
    assert host_memory_of(*found, None) >= known
    assert evaluation_memory_of(None, gpus=1, processes=1) >= 28 * GB


def test_more_tokens_than_positions_are_refused() -> None:
    run = resolve_run("trl_gsm8k", scale="paper", backend="trl", seed=0, folder=CONFIG)
    short = architecture(run.model).model_copy(update={"max_position_embeddings": 300})
    hardware = Hardware(gpus=1, gpu="4090")
    with pytest.raises(UserError) as raised:
        layout_or_error(run, find_machine(hardware), short, hardware)
    sizes = run.sizes
    assert str(raised.value) == (
        f"recipe trl_gsm8k: sizes: max_prompt_length {sizes.max_prompt_length} and "
        f"max_completion_length {sizes.max_completion_length} are more than the 300 positions of "
        f"{run.model} (max_completion_length of at most {300 - sizes.max_prompt_length} works)"
    )
    enough = sizes.max_prompt_length + sizes.max_completion_length
    whole = architecture(run.model).model_copy(update={"max_position_embeddings": enough})
    assert layout_or_error(run, find_machine(hardware), whole, hardware).feasible


@pytest.mark.parametrize(
    ("config", "positions"),
    [
        ({"max_position_embeddings": 4096}, 4096),
        ({}, None),
        ({"max_position_embeddings": 4096, "rope_scaling": None}, 4096),
        ({"max_position_embeddings": 4096, "rope_parameters": {"rope_type": "default"}}, 4096),
        ({"max_position_embeddings": 4096, "rope_scaling": {"type": "yarn", "factor": 4}}, None),
        ({"max_position_embeddings": 4096, "rope_parameters": {"rope_type": "linear"}}, None),
    ],
)
def test_scaled_positions_are_not_judged(config: dict[str, Any], positions: int | None) -> None:
    assert positions_of(config) == positions
