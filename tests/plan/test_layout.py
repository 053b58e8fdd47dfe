"""The layout changes with the hardware, the batch behind an optimizer step does not."""

import json
import re
import subprocess
import sys
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from r1zero.cli import app
from r1zero.plan.backend import load_backend
from r1zero.plan.layout import Constraints, Layout, Refusal, Sharding
from r1zero.plan.machine import Machine, find_machine
from r1zero.plan.search import lay_out
from r1zero.settings import RunSettings, load_sources, recipe_names, resolve_run
from r1zero.settings.scale import Computation, Workers
from r1zero.settings.workflow import Hardware
from tiny import CONFIG, ENVIRONMENT, RECIPE, REPOSITORY, stage

MINI = resolve_run(RECIPE, scale="mini", backend="trl", seed=0, folder=CONFIG)
PAPER = {
    name: resolve_run(name, scale="paper", backend="trl", seed=0, folder=CONFIG)
    for name in recipe_names(CONFIG)
}
MODELS = load_sources(CONFIG).models
SHARDINGS = get_args(Sharding)
GIBS = (16.0, 24.0, 40.0, 80.0, 141.0)


@st.composite
def runs(draw: st.DrawFn) -> RunSettings:
    """Published recipes, and the same with other batches and lengths."""
    run = PAPER[draw(st.sampled_from(sorted(PAPER)))]
    if draw(st.booleans()):
        return run
    sizes = run.sizes.model_copy(
        update={
            "prompts_per_step": draw(st.integers(1, 300)),
            "max_prompt_length": draw(st.integers(1, 2048)),
            "max_completion_length": draw(st.integers(1, 8192)),
        }
    )
    algorithm = run.algorithm.model_copy(update={"num_generations": draw(st.integers(2, 32))})
    models = [name for name, model in MODELS.items() if architecture(name)]
    return run.model_copy(
        update={
            "sizes": sizes,
            "algorithm": algorithm,
            "model": draw(st.sampled_from(models)),
            "placement": draw(st.sampled_from(["server", "colocate"])),
        }
    )


@st.composite
def wishes(draw: st.DrawFn) -> Hardware:
    """Hardware of 0 to 64 GPUs."""
    nodes = draw(st.sampled_from([1, 1, 1, 2, 4, 8]))
    return Hardware(
        gpus=draw(st.integers(0, 8)),
        nodes=nodes,
        gpu_memory_gb=draw(st.sampled_from(GIBS)),
        placement=draw(st.sampled_from(["auto", "auto", "server", "colocate"])),
        generator_gpus=draw(st.sampled_from([None, None, 1, 2, 3])),
        accept=draw(st.sampled_from([[], [], ["idle_gpus"], ["other_batch"]])),
        reference=draw(st.sampled_from(["auto", "auto", "trainer", "server"])),
    )


def architecture(model: str) -> Any:
    return getattr(MODELS.get(model), "architecture", None)


def planned(run: RunSettings, hardware: Hardware) -> Layout | Refusal:
    return lay_out(run, find_machine(hardware), architecture(run.model), hardware)


def check(run: RunSettings, hardware: Hardware, layout: Layout) -> None:
    """Everything that has to hold of a layout."""
    machine = find_machine(hardware)
    per_step = layout.micro_batch * layout.trainers * layout.accumulation
    # TRL: one batch of rollouts feeds so many optimizer steps, and holds whole groups.
    assert per_step == layout.completions_per_step
    updates = run.algorithm.updates_per_rollout
    assert layout.rollout_passes == layout.accumulation * updates
    assert per_step % run.algorithm.num_generations == 0
    assert layout.deviation == layout.completions_per_step - run.completions_per_step
    assert layout.deviation == 0 or "other_batch" in hardware.accept
    assert layout.idle_gpus == 0 or "idle_gpus" in hardware.accept
    assert layout.trainer_gpus + layout.generator_gpus + layout.idle_gpus == machine.gpus
    if layout.gpus:
        assert layout.trainers == layout.trainer_gpus
        assert sum(layout.memory.values()) < machine.gpu_memory_gb * 2**30
        assert 0 < layout.generator_memory_share < 1
        sizes = architecture(run.model)
        assert sizes.num_attention_heads % layout.generator_tensor_parallel == 0
        generating = layout.generator_gpus or layout.trainer_gpus
        assert generating % layout.generator_tensor_parallel == 0
    if hardware.placement != "auto" and layout.gpus:
        assert layout.placement == hardware.placement
    assert layout.reasons


@settings(max_examples=150, deadline=None)
@given(runs(), wishes())
def test_a_plan_holds_or_is_refused_with_what_works(run: RunSettings, hardware: Hardware) -> None:
    found = planned(run, hardware)
    if isinstance(found, Layout):
        check(run, hardware, found)
        return
    assert found.reasons
    assert found.suggestions, found.reasons
    for suggestion in found.suggestions:
        followed = Hardware.model_validate(hardware.model_dump() | suggestion.hardware)
        after = planned(run, followed)
        assert isinstance(after, Layout), (suggestion, after.reasons)
        check(run, followed, after)


@settings(max_examples=100, deadline=None)
@given(runs(), st.integers(1, 8))
def test_more_memory_never_shards_more(run: RunSettings, gpus: int) -> None:
    stages = []
    for memory in GIBS:
        found = planned(run, Hardware(gpus=gpus, gpu_memory_gb=memory, placement="colocate"))
        if isinstance(found, Layout):
            stages.append((found.offload_optimizer, SHARDINGS.index(found.sharding)))
        else:
            assert not stages or "divisible" in " ".join(found.reasons)
    assert stages == sorted(stages, reverse=True)


def test_the_published_plan_of_datawhale_on_three_gpus() -> None:
    layout = planned(PAPER["datawhale_r1"], Hardware(gpus=3, gpu="a800-80g"))
    assert isinstance(layout, Layout)
    assert (layout.placement, layout.trainer_gpus, layout.generator_gpus) == ("server", 2, 1)
    # Per-device batch 1 and accumulation 8 on 2 GPUs counted prompts: 16 of them, 8 times each.
    assert layout.completions_per_step == 16 * 8
    assert layout.deviation == 0


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_processes_on_a_cpu_share_the_batch(processes: int) -> None:
    computation = Computation(train=Workers(processes=processes))
    run = MINI.model_copy(update={"computation": computation})
    layout = lay_out(run, Machine(gpus_per_node=0))
    assert isinstance(layout, Layout)
    assert layout.trainers == processes
    assert (layout.weights_dtype, layout.placement) == ("float32", "in_process")
    share = layout.micro_batch * layout.accumulation
    assert share * processes == MINI.completions_per_step


def test_an_odd_batch_stops_until_a_deviation_is_accepted() -> None:
    run = PAPER["datawhale_r1"]
    wish = Hardware(gpus=8, gpu_memory_gb=80, placement="server", generator_gpus=1)
    refused = planned(run, wish)
    assert isinstance(refused, Refusal)
    assert re.findall(r"\d+", refused.reasons[0]) == ["7", "1", "128", "7"]
    found = planned(run, wish.model_copy(update={"accept": ["other_batch"]}))
    assert isinstance(found, Layout)
    assert (found.completions_per_step, found.deviation) == (112, -16)
    idle = planned(run, wish.model_copy(update={"accept": ["idle_gpus"]}))
    assert isinstance(idle, Layout)
    assert (idle.trainer_gpus, idle.generator_gpus, idle.idle_gpus) == (4, 1, 3)


def run_plan(*options: object, recipe: str = RECIPE, scale: str = "paper") -> tuple[int, Any]:
    arguments = ["plan", recipe, "--scale", scale, "--config", CONFIG, "--json", *options]
    result = CliRunner().invoke(app, list(map(str, arguments)))
    return result.exit_code, json.loads(result.output)


def test_the_command_prints_one_object() -> None:
    status, content = run_plan("--gpus", 3, "--gpu-memory-gb", 80)
    assert status == 0
    assert content.keys() >= Layout.model_fields.keys()
    assert content["feasible"] is True
    assert (content["placement"], content["trainer_gpus"]) == ("server", 2)


def test_a_refusal_has_the_same_keys_and_status_3() -> None:
    status, content = run_plan("--gpus", 7, "--gpu-memory-gb", 80)
    assert status == 3
    assert content.keys() >= Layout.model_fields.keys()
    assert content["feasible"] is False
    assert content["placement"] is None
    assert content["suggestions"][0]["hardware"] == {"accept": ["idle_gpus"]}


def test_the_page_shows_gpus_batches_and_commands() -> None:
    page = stage(
        *("plan", RECIPE, "--scale", "paper", "--config", CONFIG),
        *("--gpus", 3, "--gpu", "a800-80g"),
    )
    assert "| 0 | 0 | trainer 0 | cuda:0 |" in page
    assert "| 0 | 2 | generator 0 | cuda:0 |" in page
    assert "16 problems x 8 completions = 128" in page
    assert re.search(r"20 hours .* 3 x a800-80g", page)
    assert "--tensor-parallel-size 1" in page


def test_gpus_that_are_named_are_those_that_work() -> None:
    result = subprocess.run(
        [
            *(sys.executable, "-m", "r1zero", "plan", RECIPE, "--scale", "paper", "--json"),
            *("--gpu", "a100-80g"),
        ],
        cwd=REPOSITORY,
        env=ENVIRONMENT | {"CUDA_VISIBLE_DEVICES": "1,2,3"},
        capture_output=True,
        text=True,
        check=True,
    )
    content = json.loads(result.stdout)
    assert [
        (each["gpu"], each["role"], each["rank"], each["seen_as"])
        for each in content["assignments"]
    ] == [
        ("1", "trainer", 0, "cuda:0"),
        ("2", "trainer", 1, "cuda:1"),
        ("3", "generator", 0, "cuda:0"),
    ]
    server, trainer = content["processes"]
    assert (server["role"], server["gpus"]) == ("generator", ["3"])
    assert (trainer["role"], trainer["gpus"]) == ("trainer", ["1", "2"])


@pytest.mark.parametrize("gpus", range(2, 9))
def test_simple_grpo_has_its_reference_model_beside_the_generator(gpus: int) -> None:
    status, content = run_plan(
        *("--gpus", gpus, "--gpu", "a800-80g", "--accept", "idle_gpus"), recipe="simple_grpo"
    )
    assert status == 0
    # 32 completions, of which each trainer has as many as the others.
    trainers = max(n for n in range(1, gpus) if 32 % n == 0)
    assert (content["trainers"], content["reference"]) == (trainers, "server")
    reference, generator, trainer = content["processes"]
    assert [each["role"] for each in content["processes"]] == ["reference", "generator", "trainer"]
    assert reference["gpus"] == generator["gpus"][:1] == [str(trainers)]
    # Four updates share rollouts of 1,100 tokens, each in five bytes.
    megabytes = int(reference["argv"][reference["argv"].index("--request-mb") + 1])
    assert 0 <= megabytes * 10**6 - 4 * 32 // trainers * 1100 * 5 <= 10**6 + 10**4
    address = reference["health"].removesuffix("/health")
    assert address in trainer["argv"]
    idle = [each["gpu"] for each in content["assignments"] if each["role"] == "idle"]
    assert len(idle) == content["idle_gpus"]
    assert not idle or any(reason.endswith(": " + ", ".join(idle)) for reason in content["reasons"])


def test_a_reference_server_takes_from_the_generator_what_it_frees_on_the_trainers() -> None:
    run = PAPER["simple_grpo"]
    wish = Hardware(gpus=2, gpu="a800-80g", placement="server")
    server, trainer = (
        planned(run, wish.model_copy(update={"reference": reference}))
        for reference in ("server", "trainer")
    )
    assert isinstance(server, Layout)
    assert isinstance(trainer, Layout)
    assert server.sharding == trainer.sharding != "full"
    weights = server.reference_memory["weights"]
    assert "reference" not in server.memory
    assert trainer.memory["reference"] == weights
    assert trainer.reference_memory == {}
    taken = sum(server.reference_memory.values()) / (80 * 2**30)
    assert server.generator_memory_share + taken <= 0.95
    assert trainer.generator_memory_share > server.generator_memory_share


def test_a_reference_model_at_an_address_needs_no_gpu() -> None:
    address = "http://reference.example:59875"
    for gpus in (0, 2):
        scale = "mini" if gpus == 0 else "paper"
        status, content = run_plan(
            *("--gpus", gpus, "--reference", address, "--gpu-memory-gb", 80), scale=scale
        )
        assert status == 0
        assert content["reference"] == "remote"
        assert "reference" not in content["memory"]
        (trainer,) = (each for each in content["processes"] if each["role"] == "trainer")
        assert address in trainer["argv"]
        assert any(address in reason for reason in content["reasons"])
        assert not any(each["role"] == "reference" for each in content["processes"])


def test_a_reference_server_wants_a_gpu_of_the_generator() -> None:
    wish = Hardware(gpus=4, gpu_memory_gb=80, placement="colocate", reference="server")
    found = planned(PAPER["simple_grpo"], wish)
    assert isinstance(found, Refusal)
    assert any("hardware.reference" in reason for reason in found.reasons)
    assert {"reference": "auto"} in [each.hardware for each in found.suggestions]


def test_a_layout_stays_within_the_constraints_of_the_backend(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A backend that offers less than TRL: whole groups per trainer, servers, full sharding."""
    limited = Constraints(
        equal_share_of="groups", placements=("server",), shardings=("none", "full"), offload=False
    )
    backend = load_backend("trl")
    monkeypatch.setattr(type(backend), "constraints", lambda self, run: limited)
    run = PAPER["datawhale_r1"]  # 16 groups of 8, placement server
    for gpus in (2, 3, 5, 6):
        found = planned(run, Hardware(gpus=gpus, gpu_memory_gb=80, placement="server"))
        if isinstance(found, Layout):
            assert found.completions_per_step % (8 * found.trainers) == 0
            assert found.sharding in limited.shardings
            assert not found.offload_optimizer
    wish = Hardware(gpus=4, gpu_memory_gb=80, placement="server", accept=["other_batch"])
    nearest = planned(run, wish)
    assert isinstance(nearest, Layout)
    assert nearest.completions_per_step % (8 * nearest.trainers) == 0
    assert isinstance(
        planned(run, Hardware(gpus=8, gpu_memory_gb=80, placement="colocate")), Refusal
    )
    assert isinstance(lay_out(MINI, Machine(gpus_per_node=0)), Refusal)


def test_save_steps_25_of_a_3b_run_pass_700_gb_and_a_budget_keeps_all_weights() -> None:
    from r1zero.plan.cost import disk_of

    run = PAPER["datawhale_r1"]
    often = run.model_copy(update={"sizes": run.sizes.model_copy(update={"save_steps": 25})})
    layout = planned(often, Hardware(gpus=3, gpu_memory_gb=80))
    assert isinstance(layout, Layout)
    disk = disk_of(often, layout, architecture(often.model))
    assert disk.checkpoints == 18
    assert 700e9 < disk.everything < 800e9
    assert disk.kept_states(300e9) == 4
    assert disk.kept_states(150e9) is None


@pytest.mark.parametrize(
    ("options", "key"),
    [
        (["--gpu", "z9"], "hardware.gpu:"),
        (["--gpus", "many"], "hardware: gpus"),
        (["--gpus", "3", "--placement", "nowhere"], "hardware: placement:"),
        (["--gpus", "3", "--gpu", "a800-80g", "--disk-gb", "60"], "hardware.disk_gb: 9 "),
        (["--gpus", "3", "--backend", "nobody"], f"recipe {RECIPE} at scale paper: backend:"),
    ],
)
def test_wrong_options_are_named(options: list[str], key: str) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "r1zero", "plan", RECIPE, "--scale", "paper", *options],
        cwd=REPOSITORY,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert result.stderr.startswith(f"error: {key}")
