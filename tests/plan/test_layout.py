"""The layout changes with the GPUs, the batch behind an optimizer step does not."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r1zero.errors import UserError
from r1zero.plan.layout import _TOKENS_PER_PASS, PLANNED_GPUS, Layout, lay_out
from r1zero.settings import RunSettings, recipe_names, resolve_run
from tiny import CONFIG, RECIPE, stage

MINI = resolve_run(RECIPE, scale="mini", backend="trl", seed=0, folder=CONFIG)


@st.composite
def runs(draw: st.DrawFn) -> RunSettings:
    """Runs of many sizes, none of which needs a published model."""
    sizes = MINI.sizes.model_copy(
        update={
            "prompts_per_step": draw(st.integers(1, 600)),
            "max_prompt_length": draw(st.integers(1, 4096)),
            "max_completion_length": draw(st.integers(1, 32768)),
        }
    )
    algorithm = MINI.algorithm.model_copy(update={"num_generations": draw(st.integers(2, 64))})
    return MINI.model_copy(update={"sizes": sizes, "algorithm": algorithm})


@settings(max_examples=300, deadline=None)
@given(runs(), st.sampled_from(PLANNED_GPUS))
def test_a_step_has_the_completions_of_the_recipe(run: RunSettings, gpus: int) -> None:
    layout = lay_out(run, gpus)
    wanted = run.sizes.prompts_per_step * run.algorithm.num_generations
    per_pass = layout.per_device_train_batch_size * layout.num_processes
    assert per_pass * layout.gradient_accumulation_steps == wanted == layout.completions_per_step
    # One batch of rollouts feeds one step, and holds whole groups.
    assert per_pass * layout.steps_per_generation == wanted
    assert per_pass * layout.steps_per_generation % run.algorithm.num_generations == 0


@settings(max_examples=300, deadline=None)
@given(runs(), st.sampled_from(PLANNED_GPUS))
def test_a_pass_is_as_large_as_memory_and_divisibility_allow(run: RunSettings, gpus: int) -> None:
    layout = lay_out(run, gpus)
    limit = _TOKENS_PER_PASS["gpu" if gpus else "cpu"]
    tokens = run.sizes.max_prompt_length + run.sizes.max_completion_length
    chosen, completions = layout.per_device_train_batch_size, layout.completions_per_step
    assert chosen == 1 or chosen * tokens <= limit
    larger = [n for n in range(chosen + 1, completions + 1) if completions % n == 0]
    assert all(n * tokens > limit for n in larger)


@pytest.mark.parametrize("recipe", recipe_names(CONFIG))
@pytest.mark.parametrize("scale", ["mini", "paper"])
def test_every_recipe_has_the_same_batch_on_any_hardware(recipe: str, scale: str) -> None:
    run = resolve_run(recipe, scale=scale, backend="trl", seed=0, folder=CONFIG)
    for gpus in PLANNED_GPUS:
        if gpus or run.made_here:
            assert lay_out(run, gpus).completions_per_step == run.completions_per_step


def test_types_follow_the_hardware() -> None:
    cpu, gpu = lay_out(MINI, 0), lay_out(MINI, 1)
    assert (cpu.placement, cpu.dtype) == ("transformers", "float32")
    assert (gpu.placement, gpu.dtype) == ("colocate", "bfloat16")
    full = MINI.model_copy(update={"dtype": "float32"})
    assert lay_out(full, 1).dtype == "float32"


@pytest.mark.parametrize("gpus", [2, 8, -1])
def test_what_cannot_be_planned_is_refused_with_what_can(gpus: int) -> None:
    with pytest.raises(UserError) as raised:
        lay_out(MINI, gpus)
    assert str(raised.value) == (
        f"hardware.gpus: no layout for {gpus} GPUs yet (0 or 1 can be planned)"
    )


def test_a_published_model_is_not_planned_on_a_cpu() -> None:
    paper = resolve_run(RECIPE, scale="paper", backend="trl", seed=0, folder=CONFIG)
    with pytest.raises(UserError, match=r"^hardware\.gpus: qwen2\.5-3b-instruct is too large"):
        lay_out(paper, 0)


def test_plan_command_shows_the_layout_as_json() -> None:
    shown = stage("plan", RECIPE, "--gpus", 0, "--json", "--config", CONFIG)
    assert Layout.model_validate(json.loads(shown)) == lay_out(MINI, 0)


def test_plan_command_shows_the_arithmetic_to_people() -> None:
    shown = stage("plan", RECIPE, "--gpus", 0, "--config", CONFIG)
    prompts, group = MINI.sizes.prompts_per_step, MINI.algorithm.num_generations
    assert f"# Plan: {RECIPE} on trl, seed 0, scale mini" in shown
    assert f"{prompts} problems x {group} completions = {prompts * group} completions" in shown
    assert "trains on | the CPU, 1 process, float32" in shown


def test_plan_command_refuses_two_gpus() -> None:
    with pytest.raises(UserError, match="no layout for 2 GPUs yet"):
        stage("plan", RECIPE, "--gpus", 2, "--config", CONFIG)
