"""The files of a plan, as the programs that read them understand them."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from trl import GRPOConfig, ModelConfig, TrlParser
from trl.scripts.grpo import GRPOScriptArguments

from r1zero.core.errors import UserError
from r1zero.settings import RunSettings
from tiny import RECIPE, contents, stage

# Defaults of TRL that changed between releases, by the name of the setting. The limit on prompts,
# which was removed, is checked by `r1zero.train.backends.trl.entrypoint` itself.
DRIFTED = {"beta", "loss_type", "temperature", "max_completion_length", "use_vllm"}
DRIFTED_OF_VLLM = {
    "vllm_mode",
    "vllm_importance_sampling_correction",
    "vllm_importance_sampling_mode",
    "vllm_importance_sampling_clip_max",
}


@pytest.fixture(scope="module")
def run_file(
    tiny_config: Path, tiny_task: Path, tiny_base: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A run's run.json."""
    path = tmp_path_factory.mktemp("run") / "run.json"
    options = ("--config", tiny_config, "--problems", tiny_task, "--model", tiny_base)
    stage("resolve", RECIPE, *options, "--out", path)
    return path


def rendered(run_file: Path, gpus: int, out: Path) -> dict[str, Any]:
    hardware = json.dumps({"gpus": gpus, "gpu_memory_gb": 80})
    places = ("--checkpoints", out / "checkpoints", "--out", out)
    stage("layout", run_file, "--hardware", hardware, *places)
    content: dict[str, Any] = yaml.safe_load((out / "config" / "trl.yaml").read_text())
    return content


def parsed(path: Path) -> tuple[GRPOScriptArguments, GRPOConfig, ModelConfig]:
    """What `trl grpo --config` reads."""
    parser = TrlParser((GRPOScriptArguments, GRPOConfig, ModelConfig))
    options = ["--config", str(path)]
    script, config, model = parser.parse_args_and_config(options, fail_with_unknown_args=True)
    return script, config, model


def settings_of(run_file: Path) -> RunSettings:
    return RunSettings.model_validate(json.loads(run_file.read_text())["settings"])


def test_run_json_has_settings_and_hashes(run_file: Path, tiny_task: Path, tiny_base: Path) -> None:
    content = json.loads(run_file.read_text())
    run = settings_of(run_file)
    assert content["run"] == run.identity()
    assert content["config_hash"] == run.training_hash()
    train = json.loads(tiny_task.read_text())["files"]["train"]
    assert content["data_hash"] == train["sha256"]
    assert content["base_model"]["path"] == str(tiny_base.parent)
    assert content["problems"] == str(tiny_task)


def test_trl_reads_the_cpu_config(run_file: Path, tmp_path: Path) -> None:
    run, settings = settings_of(run_file), rendered(run_file, 0, tmp_path)
    script, config, model = parsed(tmp_path / "config" / "trl.yaml")
    check_algorithm(run, script, config)
    assert (config.use_cpu, config.bf16, config.use_vllm) == (True, False, False)
    assert (model.dtype, model.attn_implementation) == ("float32", "eager")
    assert model.model_name_or_path == settings["model_name_or_path"]
    assert config.output_dir == str(tmp_path / "checkpoints")
    # TRL's own batch of rollouts is the recipe's batch.
    assert config.generation_batch_size == run.completions_per_step


def test_trl_reads_the_gpu_config(run_file: Path, tmp_path: Path) -> None:
    """A base of scale mini computes in float32 there too."""
    run = settings_of(run_file)
    assert rendered(run_file, 1, tmp_path)["bf16"] is False
    script, config, model = parsed(tmp_path / "config" / "trl.yaml")
    check_algorithm(run, script, config)
    assert (config.use_vllm, config.vllm_mode) == (True, "colocate")
    assert config.vllm_enable_sleep_mode
    assert config.vllm_max_model_length == (
        run.sizes.max_prompt_length + run.sizes.max_completion_length
    )
    # Float32 weights, bfloat16 arithmetic: bfloat16 weights would lose small updates.
    assert (model.dtype, model.attn_implementation) == ("float32", "sdpa")
    assert config.generation_batch_size == run.completions_per_step


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_trl_reads_the_gpu_config_with_bf16(run_file: Path, tmp_path: Path) -> None:
    rendered(run_file, 1, tmp_path)
    config = parsed(tmp_path / "config" / "trl.yaml")[1]
    assert (config.bf16, config.use_cpu, config.device.type) == (True, False, "cuda")


def check_algorithm(run: RunSettings, script: GRPOScriptArguments, config: GRPOConfig) -> None:
    """What the recipe says is what TRL understood."""
    algorithm, sizes = run.algorithm, run.sizes
    for name in (
        "loss_type",
        "scale_rewards",
        "beta",
        "num_generations",
        "num_iterations",
        "epsilon",
        "epsilon_high",
        "mask_truncated_completions",
        "temperature",
        "top_p",
        "top_k",
        "adam_beta1",
        "adam_beta2",
        "weight_decay",
        "max_grad_norm",
        "lr_scheduler_type",
    ):
        assert getattr(config, name) == getattr(algorithm, name), name
    for name in ("max_steps", "max_completion_length", "learning_rate", "save_steps"):
        assert getattr(config, name) == getattr(sizes, name), name
    assert config.optim == algorithm.optimizer
    assert config.seed == run.seed
    assert config.reward_weights == [reward.weight for reward in run.rewards]
    assert script.reward_funcs == [
        f"r1zero.rewards.trl_plugin.{reward.name}" for reward in run.rewards
    ]


def test_warm_up_is_the_share_of_the_steps_rounded_up(run_file: Path, tmp_path: Path) -> None:
    content = json.loads(run_file.read_text())
    content["settings"]["algorithm"]["warmup_ratio"] = 0.03
    content["settings"]["sizes"] |= {"max_steps": 450, "save_steps": 50}
    other = tmp_path / "run.json"
    other.write_text(json.dumps(content))
    assert rendered(other, 0, tmp_path)["warmup_steps"] == 14
    assert parsed(tmp_path / "config" / "trl.yaml")[1].warmup_steps == 14


@pytest.mark.parametrize("gpus", [0, 1])
def test_settings_whose_defaults_drift_are_stated(
    run_file: Path, tmp_path: Path, gpus: int
) -> None:
    stated = rendered(run_file, gpus, tmp_path).keys()
    assert stated >= (DRIFTED | DRIFTED_OF_VLLM if gpus else DRIFTED)


def test_the_hardware_changes_no_setting_of_the_algorithm(run_file: Path, tmp_path: Path) -> None:
    cpu, gpu = (rendered(run_file, gpus, tmp_path / str(gpus)) for gpus in (0, 1))
    different = {key for key in cpu.keys() & gpu.keys() if cpu[key] != gpu[key]}
    assert different <= {
        "dtype",
        "attn_implementation",
        "output_dir",
        "per_device_train_batch_size",
        "gradient_accumulation_steps",
        "steps_per_generation",
        "use_vllm",
        "use_cpu",
        "bf16",
        "gradient_checkpointing",
    }
    assert cpu.keys() ^ gpu.keys() == {key for key in gpu if key.startswith("vllm_")}


def test_rendering_again_gives_the_same_bytes(run_file: Path, tmp_path: Path) -> None:
    rendered(run_file, 0, tmp_path)
    before = contents(tmp_path)
    rendered(run_file, 0, tmp_path)
    assert contents(tmp_path) == before
    assert before.keys() == {
        "config/trl.yaml",
        "config/accelerate.yaml",
        "plan.json",
        "plan.md",
    }


def test_problems_that_were_changed_are_named(
    tiny_config: Path, tiny_task: Path, tiny_base: Path, tmp_path: Path
) -> None:
    shutil.copytree(tiny_task.parent, tmp_path / "task")
    options = ("--config", tiny_config, "--model", tiny_base)
    manifest = tmp_path / "task" / "manifest.json"
    stage("resolve", RECIPE, *options, "--problems", manifest, "--out", tmp_path / "run.json")
    train = tmp_path / "task" / "problems" / "train.parquet"
    train.write_bytes(train.read_bytes() + b"\0")
    with pytest.raises(UserError) as raised:
        rendered(tmp_path / "run.json", 0, tmp_path / "plan")
    assert raised.value.where == str(train)


def test_settings_that_do_not_hold_are_named_with_the_file(run_file: Path, tmp_path: Path) -> None:
    content = json.loads(run_file.read_text())
    del content["settings"]["algorithm"]["beta"]
    (tmp_path / "run.json").write_text(json.dumps(content))
    with pytest.raises(UserError) as raised:
        rendered(tmp_path / "run.json", 0, tmp_path)
    assert raised.value.where == str(tmp_path / "run.json")
    assert "algorithm.beta" in raised.value.message
