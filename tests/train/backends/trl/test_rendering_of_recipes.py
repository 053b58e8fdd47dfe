"""The plans of the recipes as they are shipped, at their real sizes, and the command as a process.

The arithmetic of any layout is in `test_layout.py`, the files of one plan in `test_plan_files.py`.
"""

import dataclasses
import importlib.util
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from accelerate.commands.config.config_args import ClusterConfig, load_config_from_file
from transformers import TrainingArguments
from trl import GRPOConfig, ModelConfig, TrlParser
from trl.scripts.grpo import GRPOScriptArguments

from r1zero.plan.backend import Inputs, load_backend
from r1zero.plan.layout import Layout
from r1zero.plan.machine import find_machine
from r1zero.plan.search import lay_out
from r1zero.settings import RunSettings, load_sources, recipe_names, resolve_run
from r1zero.settings.scale import Computation, Workers
from r1zero.settings.workflow import Hardware
from r1zero.train.backends.trl.rendering import accelerate_config, engine_config, trl_config
from r1zero.train.backends.trl.vllm_engine import planned_engine
from tiny import CONFIG, RECIPE, REPOSITORY

READERS = (GRPOScriptArguments, GRPOConfig, ModelConfig)

# What the GRPO papers name, and what TRL's releases gave different defaults.
STATED = {
    "beta",
    "epsilon",
    "epsilon_high",
    "importance_sampling_level",
    "loss_type",
    "mask_truncated_completions",
    "max_completion_length",
    "num_generations",
    "num_iterations",
    "scale_rewards",
    "steps_per_generation",
    "sync_ref_model",
    "temperature",
    "top_k",
    "top_p",
    "use_vllm",
}
STATED_OF_VLLM = {
    "vllm_gpu_memory_utilization",
    "vllm_importance_sampling_clip_max",
    "vllm_importance_sampling_correction",
    "vllm_importance_sampling_mode",
    "vllm_max_model_length",
    "vllm_mode",
}


def resolved(recipe: str = RECIPE, scale: str = "mini") -> RunSettings:
    return resolve_run(recipe, scale=scale, backend="trl", seed=3, folder=CONFIG)


ZERO_STAGE = {"optimizer": 2, "full": 3}
GPUS = {"mini": (0, 1), "paper": (1, 3, 8, 16)}


def plannable() -> list[Any]:
    """Every shipped recipe at both scales, on all hardware that it can be planned for."""
    return [
        pytest.param(run, gpus, id=f"{run.recipe}-{run.scale}-{gpus}")
        for recipe in recipe_names(CONFIG)
        for run in (resolved(recipe, "mini"), resolved(recipe, "paper"))
        for gpus in GPUS[run.scale]
        if isinstance(laid_out(run, gpus), Layout)
    ]


def laid_out(run: RunSettings, gpus: int) -> Any:
    """Its layout on gpus of 80 GiB, eight to a node."""
    hardware = Hardware(gpus=min(gpus, 8), nodes=max(1, gpus // 8), gpu_memory_gb=80)
    model = load_sources(CONFIG).models.get(run.model)
    sizes = getattr(model, "architecture", None)
    return lay_out(run, find_machine(hardware), sizes, hardware)


def rendered(run: RunSettings, gpus: int, folder: Path) -> dict[str, Any]:
    return trl_config(
        run,
        laid_out(run, gpus),
        model=folder / "m",
        problems=folder / "p",
        output=folder / "o",
        reward_models={reward.model: folder / "r" for reward in run.rewards if reward.model},
    )


@pytest.mark.parametrize(("run", "gpus"), plannable())
def test_every_key_is_one_that_trl_knows(run: RunSettings, gpus: int, tmp_path: Path) -> None:
    fields = [field.name for reader in READERS for field in dataclasses.fields(reader)]
    assert set(rendered(run, gpus, tmp_path)) <= set(fields)


@pytest.mark.parametrize(("run", "gpus"), plannable())
def test_no_default_that_drifts_is_inherited(run: RunSettings, gpus: int, tmp_path: Path) -> None:
    content = rendered(run, gpus, tmp_path)
    of_vllm = STATED_OF_VLLM if gpus else set()
    if content.get("vllm_mode") == "server":  # these two are the server's own
        of_vllm = of_vllm - {"vllm_gpu_memory_utilization", "vllm_max_model_length"}
    assert content.keys() >= STATED | of_vllm


@pytest.mark.parametrize(("run", "gpus"), plannable())
def test_trl_understands_what_the_recipe_says(
    run: RunSettings, gpus: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = laid_out(run, gpus)
    monkeypatch.setattr(TrainingArguments, "world_size", property(lambda self: layout.trainers))
    # bf16 aside: transformers admits it only where there is a GPU.
    content = rendered(run, gpus, tmp_path) | {"bf16": False}
    path = tmp_path / "trl.yaml"
    path.write_text(yaml.safe_dump(content))
    script, config, model = TrlParser(READERS).parse_args_and_config(
        ["--config", str(path)], fail_with_unknown_args=True
    )
    # transformers turns "none" into no integrations.
    for name, value in (content | {"report_to": []}).items():
        reader = next(reader for reader in (config, script, model) if hasattr(reader, name))
        assert getattr(reader, name) == value, name
    updates = run.algorithm.updates_per_rollout
    assert config.generation_batch_size == run.completions_per_step * updates
    assert config.beta == run.algorithm.beta
    assert config.learning_rate == run.sizes.learning_rate
    assert config.warmup_steps == math.ceil(run.algorithm.warmup_ratio * run.sizes.max_steps)
    # So many optimizer steps take a batch of rollouts: with one, every step is on-policy.
    assert config.steps_per_generation == config.gradient_accumulation_steps * updates
    assert config.seed == 3


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "r1zero", "plan", *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_the_command_prints_one_json_object() -> None:
    result = command(RECIPE, "--gpus", "0", "--json")
    assert (result.returncode, result.stderr) == (0, "")
    shown = json.loads(result.stdout)
    recipe = yaml.safe_load((CONFIG / "recipes" / f"{RECIPE}.yaml").read_text())
    scale = yaml.safe_load((CONFIG / "scales" / "mini.yaml").read_text())
    prompts = scale["tasks"][recipe["task"]]["sizes"]["prompts_per_step"]
    assert shown["completions_per_step"] == prompts * recipe["algorithm"]["num_generations"]
    assert (shown["gpus"], shown["trainers"]) == (0, scale["computation"]["train"]["processes"])


@pytest.mark.parametrize(("run", "gpus"), plannable())
def test_accelerate_reads_its_config(run: RunSettings, gpus: int, tmp_path: Path) -> None:
    layout = laid_out(run, gpus)
    path = tmp_path / "accelerate.yaml"
    path.write_text(yaml.safe_dump(accelerate_config(layout)))
    config = load_config_from_file(str(path))
    assert isinstance(config, ClusterConfig)
    assert config.num_processes == layout.trainers
    assert config.use_cpu == (gpus == 0)
    assert config.mixed_precision == ("bf16" if layout.compute_dtype == "bfloat16" else "no")
    wanted = (
        "DEEPSPEED"
        if layout.sharding != "none"
        else "MULTI_GPU"
        if layout.trainer_gpus > 1
        else "NO"
    )
    assert str(config.distributed_type.value) == wanted
    if layout.sharding != "none":
        assert config.deepspeed_config["zero_stage"] == ZERO_STAGE[layout.sharding]


@pytest.mark.skipif(not importlib.util.find_spec("deepspeed"), reason="DeepSpeed is not installed")
@pytest.mark.parametrize(("run", "gpus"), plannable())
def test_deepspeed_reads_its_config(run: RunSettings, gpus: int) -> None:
    from accelerate.utils import DeepSpeedPlugin
    from deepspeed.runtime.zero.config import DeepSpeedZeroConfig

    layout = laid_out(run, gpus)
    if layout.sharding == "none":
        pytest.skip("nothing is sharded")
    keys = accelerate_config(layout)["deepspeed_config"]
    plugin = DeepSpeedPlugin(
        zero_stage=keys["zero_stage"],
        offload_optimizer_device=keys["offload_optimizer_device"],
        offload_param_device=keys["offload_param_device"],
        gradient_accumulation_steps=keys["gradient_accumulation_steps"],
        zero3_init_flag=keys["zero3_init_flag"],
        zero3_save_16bit_model=keys["zero3_save_16bit_model"],
    )
    zero = DeepSpeedZeroConfig(**plugin.deepspeed_config["zero_optimization"])
    assert zero.stage == ZERO_STAGE[layout.sharding]


def test_the_command_refuses_with_what_works() -> None:
    result = command(RECIPE, "--gpus", "0", "--scale", "paper")
    assert result.returncode == 3
    assert "qwen2.5-3b-instruct" in result.stdout
    assert "'gpus': 1" in result.stdout


def test_a_layout_names_the_packages_that_it_needs() -> None:
    backend = load_backend("trl")
    sharded = laid_out(resolved("datawhale_r1", "paper"), 8)
    assert sharded.sharding != "none"
    assert set(backend.requires(sharded)) == {"vllm", "deepspeed"}
    assert not backend.requires(laid_out(resolved(), 0))


@pytest.mark.parametrize("processes", [1, 2])
def test_launchers_leave_all_arguments_to_the_trainer(processes: int, tmp_path: Path) -> None:
    """argparse takes an argument for an option that it is a prefix of, also among the rest."""
    from accelerate.commands.launch import launch_command_parser
    from torch.distributed.run import get_args_parser

    computation = Computation(train=Workers(processes=processes))
    run = resolved().model_copy(update={"computation": computation})
    machine = find_machine(Hardware(gpus=0))
    inputs = Inputs(
        *(tmp_path / name for name in ("run.json", "model", "train.parquet")),
        reward_models={},
        plan=tmp_path / "plan",
        checkpoints=tmp_path / "checkpoints",
        kept_optimizer_states=2,
    )
    layout = lay_out(run, machine)
    assert isinstance(layout, Layout)
    (process,) = load_backend("trl").processes(
        run, layout, machine, inputs, resume=tmp_path / "checkpoint-2"
    )
    own = process.argv[process.argv.index("-m") + 2 :]
    assert {"--keep-states", "--resume"} <= set(own)
    server = ("--generator-host", "h", "--generator-port", "1", "--weights-port", "2")
    for extra in ((), server, ("--engine", "e")):
        if process.argv[0] == "torchrun":
            options = get_args_parser().parse_args([*process.argv[1:], *extra])
        else:
            options = launch_command_parser().parse_args([*process.argv[2:], *extra])
        assert tuple(options.training_script_args) == (*own, *extra)


@pytest.mark.parametrize("nodes", [1, 2])
def test_a_server_is_of_this_machine_alone_unless_the_run_has_several(
    nodes: int, tmp_path: Path
) -> None:
    run = resolved("datawhale_r1", "paper")
    hardware = Hardware(gpus=8, nodes=nodes, gpu="a800-80g", placement="server")
    machine = find_machine(hardware)
    layout = lay_out(run, machine, None, hardware)
    assert isinstance(layout, Layout)
    inputs = Inputs(Path("run.json"), tmp_path, tmp_path / "t.parquet", {}, tmp_path, tmp_path)
    server, *trainers = [
        process.at(dict.fromkeys(process.ports, 1), address="$NODE_{}" if nodes > 1 else "me")
        for process in load_backend("trl").processes(run, layout, machine, inputs)
    ]
    host = "$NODE_1" if nodes > 1 else "me"
    assert option(server.argv, "--host") == host
    assert option(server.argv, "--seed") == str(run.seed)
    assert int(option(server.argv, "--max-num-seqs")) == layout.generator_sequences
    for trainer in trainers:
        assert option(trainer.argv, "--generator-host") == host
        # What a shell must expand is not in single quotes.
        assert ('--generator-host "$NODE_1"' in trainer.as_shell()) == (nodes > 1)


@pytest.mark.parametrize(("gpus", "placement"), [(1, "colocate"), (2, "server")])
def test_no_process_with_vllm_reports_its_use(gpus: int, placement: str, tmp_path: Path) -> None:
    run = resolved("datawhale_r1", "mini")
    hardware = Hardware(gpus=gpus, gpu_memory_gb=80, placement=placement)
    machine = find_machine(hardware)
    layout = lay_out(run, machine, None, hardware)
    assert isinstance(layout, Layout)
    inputs = Inputs(Path("run.json"), tmp_path, tmp_path / "t.parquet", {}, tmp_path, tmp_path)
    processes = load_backend("trl").processes(run, layout, machine, inputs)
    assert len(processes) == gpus
    assert all(process.env["VLLM_NO_USAGE_STATS"] == "1" for process in processes)


def option(argv: tuple[str, ...], name: str) -> str:
    return argv[argv.index(name) + 1]


def test_an_engine_in_the_trainer_is_the_planned_one(monkeypatch: pytest.MonkeyPatch) -> None:
    from trl.generation import vllm_generation

    monkeypatch.setattr(vllm_generation, "LLM", dict, raising=False)
    run, layout = resolved("simplerl_zoo", "paper"), laid_out(resolved("simplerl_zoo", "paper"), 1)
    assert layout.placement == "colocate"
    planned = engine_config(run, layout)
    with planned_engine(planned):
        # As TRL 1.16 calls it: for a batch of 8192, which vLLM refuses beside 4096 tokens.
        engines = [
            vllm_generation.LLM(seed=group, max_num_seqs=8192, max_num_batched_tokens=4096)
            for group in (0, 1, 0)
        ]
    assert vllm_generation.LLM is dict
    assert engines[0] == engines[2]
    assert engines[0]["seed"] != engines[1]["seed"]
    for engine in engines:
        assert engine["max_num_seqs"] <= engine["max_num_batched_tokens"]
        assert engine["max_num_seqs"] == layout.generator_sequences


@pytest.mark.parametrize(
    ("algorithm", "corrects"),
    [({}, False), ({"rollout_importance_sampling": "token"}, True)],
)
def test_the_generator_changes_the_loss_only_where_the_recipe_says_so(
    algorithm: dict[str, str], corrects: bool, tmp_path: Path
) -> None:
    run = resolved("datawhale_r1", "paper")
    run = run.model_copy(update={"algorithm": run.algorithm.model_copy(update=algorithm)})
    assert rendered(run, 3, tmp_path)["vllm_importance_sampling_correction"] is corrects
