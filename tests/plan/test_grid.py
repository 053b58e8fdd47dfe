"""Every recipe on every machine that the README could mean: laid out, or refused with the reason.

`refused.txt` lists what has always been refused, as `NODESxGPUS KIND: recipes`, and below a line
that says why what is refused since. A machine that could train a recipe has to train it still.
"""

import itertools
from pathlib import Path

import pytest

from r1zero.plan.layout import Layout, Refusal
from r1zero.plan.machine import find_machine
from r1zero.plan.search import lay_out
from r1zero.settings import Hardware, load_sources, recipe_names, resolve_run
from tiny import CONFIG

MACHINES = ((1, 1), (1, 2), (1, 3), (1, 4), (1, 8), (1, 16), (2, 8), (3, 8))
KINDS = ("4090", "a100-40g", "a800-80g", "h100-80g", "h200")


def refused_before() -> set[tuple[str, str, str]]:
    lines = (Path(__file__).parent / "refused.txt").read_text().splitlines()
    found = set()
    for line in lines:
        if line.startswith("#"):
            continue
        place, _, recipes = line.partition(":")
        machine, kind = place.split()
        found |= {(recipe, machine, kind) for recipe in recipes.split()}
    return found


@pytest.mark.slow
@pytest.mark.parametrize("has_vllm", [True, False])
def test_no_recipe_is_refused_without_a_reason(has_vllm: bool) -> None:
    models = load_sources(CONFIG).models
    laid_out, refused = 0, {}
    for name in recipe_names(CONFIG):
        run = resolve_run(name, scale="paper", backend="trl", seed=0, folder=CONFIG)
        sizes = getattr(models[run.model], "architecture", None)
        for (nodes, gpus), kind in itertools.product(MACHINES, KINDS):
            hardware = Hardware(gpus=gpus, nodes=nodes, gpu=kind)
            machine = find_machine(hardware).model_copy(update={"has_vllm": has_vllm})
            found = lay_out(run, machine, sizes, hardware)
            if isinstance(found, Layout):
                laid_out += 1
                continue
            assert isinstance(found, Refusal)
            refused[name, f"{nodes}x{gpus}", kind] = "; ".join(found.reasons)
            assert found.suggestions
    new = refused.keys() - refused_before()
    print(f"vLLM {has_vllm}: {laid_out} laid out, {len(refused)} refused, {len(new)} of them new")
    assert laid_out > 0.5 * (laid_out + len(refused))
    for cell in new:
        assert not has_vllm, cell
        assert refused[cell].startswith("transformers on"), cell
