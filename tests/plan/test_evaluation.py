"""GPUs and time of an evaluation follow from the model, the suite and the machine."""

import itertools

import pytest

from r1zero.plan.evaluation import evaluation_layout
from r1zero.plan.machine import find_machine
from r1zero.plan.memory import server_utilization, vllm_memory
from r1zero.settings import Hardware, load_sources, recipe_names, resolve_run
from r1zero.settings.run import RunSettings
from r1zero.settings.sources import HubModel
from tiny import CONFIG

SOURCES = load_sources(CONFIG)
KINDS = ("4090", "a100-40g", "h200")


def paper(recipe: str) -> RunSettings:
    return resolve_run(recipe, scale="paper", backend="trl", seed=0, folder=CONFIG)


def model_of(run: RunSettings) -> HubModel:
    source = SOURCES.models[run.model]
    assert isinstance(source, HubModel)
    return source


@pytest.mark.parametrize("recipe", recipe_names(CONFIG))
def test_an_evaluation_fits_on_its_node(recipe: str) -> None:
    run = paper(recipe)
    sizes = model_of(run).architecture
    assert sizes
    for kind, gpus in itertools.product(KINDS, (1, 3, 8)):
        machine = find_machine(Hardware(gpus=gpus, gpu=kind))
        found = evaluation_layout(run, machine, sizes, {})
        assert 1 <= found.gpus <= gpus
        assert found.tensor_parallel in (1, 2, 4, 8)
        assert sizes.num_attention_heads % found.tensor_parallel == 0
        if found.tensor_parallel > 1:
            # The model would not fit on half as many.
            length = run.sizes.max_prompt_length + run.sizes.max_completion_length
            parts = vllm_memory(
                sizes,
                tensor_parallel=found.tensor_parallel // 2,
                sequences=256,
                full_sequences=16,
                max_length=length,
            )
            assert server_utilization(parts, int(machine.gpu_memory_gb * 2**30)) is None


def test_more_work_takes_more_gpus_and_then_more_time() -> None:
    run = paper("dapo")
    machine = find_machine(Hardware(gpus=8, gpu="a100-80g"))
    sizes = model_of(run).architecture
    found = [
        evaluation_layout(run, machine, sizes, {"max_problems": n, "n_samples": 32})
        for n in (10, 100, 1000, 10000)
    ]
    assert [each.gpus for each in found] == sorted(each.gpus for each in found)
    assert (found[0].processes, found[-1].gpus) == (1, 8)
    assert found[-1].minutes > 10 * found[0].minutes
    assert all(each.minutes > 30 for each in found)


def test_without_known_rates_or_sizes_it_is_one_process() -> None:
    run = paper("datawhale_r1")
    sizes = model_of(run).architecture
    unknown = evaluation_layout(run, find_machine(Hardware(gpus=8, gpu_memory_gb=80)), sizes, {})
    assert (unknown.processes, unknown.gpus) == (1, 1)
    assert evaluation_layout(run, find_machine(Hardware(gpus=8, gpu="h200")), None, {}).gpus == 1
    assert evaluation_layout(run, find_machine(Hardware(gpus=0)), sizes, {}).gpus == 0
