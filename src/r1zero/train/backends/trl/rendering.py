"""Rendering of a run and its layout as the files that accelerate and TRL read.

`trl.yaml` is also a complete input of TRL's own `trl grpo --config`, with `R1ZERO_RUN` set to the
run's `run.json`, so that anyone can start the same training by hand. It states every setting that
decides weights, because TRL's defaults change between releases (those of beta, loss type,
temperature, completion length and placement all did).
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from r1zero.plan.layout import Layout
from r1zero.plan.memory import BATCHED_TOKENS
from r1zero.settings.run import RunSettings

# Without the correction TRL still wants the name of a mode.
_RATIOS = {"none": "token_truncate", "token": "token_truncate", "sequence": "sequence_mask"}
# Port of the vLLM server in a training that is started by hand; `r1zero train` chooses a free one.
VLLM_PORT = 8000


def accelerate_config(layout: Layout) -> dict[str, Any]:
    """Settings of `accelerate launch`, with those of DeepSpeed if the layout shards or offloads."""
    config: dict[str, Any] = {
        "compute_environment": "LOCAL_MACHINE",
        "distributed_type": "NO",
        "num_machines": nodes_with_trainers(layout),
        "machine_rank": 0,
        "num_processes": layout.trainers,
        "mixed_precision": "bf16" if layout.compute_dtype == "bfloat16" else "no",
        "use_cpu": layout.gpus == 0,
        "same_network": True,
        "rdzv_backend": "static",
        "main_training_function": "main",
    }
    if layout.sharding != "none":
        config |= {
            "distributed_type": "DEEPSPEED",
            "deepspeed_config": _deepspeed(layout),
        }
    elif layout.trainer_gpus > 1:
        config["distributed_type"] = "MULTI_GPU"
    return config


def nodes_with_trainers(layout: Layout) -> int:
    """Nodes that trainers run on; they fill one node after the other."""
    return max(1, -(-layout.trainer_gpus * layout.nodes // max(1, layout.gpus)))


def _deepspeed(layout: Layout) -> dict[str, Any]:
    stage_3 = layout.sharding == "full"
    return {
        "zero_stage": 3 if stage_3 else 2,
        "offload_optimizer_device": "cpu" if layout.offload_optimizer else "none",
        "offload_param_device": "cpu" if layout.offload_weights else "none",
        "gradient_accumulation_steps": layout.accumulation,
        "gradient_clipping": "auto",  # the trainer's max_grad_norm
        "zero3_init_flag": stage_3,
        "zero3_save_16bit_model": stage_3,
        "deepspeed_multinode_launcher": "standard",
    }


def trl_config(
    run: RunSettings,
    layout: Layout,
    *,
    model: Path,
    problems: Path,
    output: Path,
    reward_models: Mapping[str, Path] | None = None,
) -> dict[str, Any]:
    """Settings of `trl grpo`, in its own key names.

    Args:
        run: The run.
        layout: Its layout.
        model: Folder of the model to start from.
        problems: Folder with `train.parquet`.
        output: Folder for checkpoints.
        reward_models: Folders of the reward models, by name.

    """
    return {
        **_places(run, layout, model, problems, output, reward_models or {}),
        **_batches(run, layout),
        **_algorithm(run),
        **_optimization(run),
        **_generation(run, layout),
        **_bookkeeping(run),
    }


def attention(*, on_cpu: bool) -> str:
    """Implementation of attention; plain attention's backward pass takes half the time on a CPU."""
    return "eager" if on_cpu else "sdpa"


def engine_config(run: RunSettings, layout: Layout) -> dict[str, Any]:
    """Settings of vLLM's engine that TRL has no key for, as the plan counted its memory."""
    return {
        "max_num_seqs": layout.generator_sequences,
        "max_num_batched_tokens": max(BATCHED_TOKENS, layout.generator_sequences),
        "seed": run.seed,
    }


def reward_functions(run: RunSettings, models: Mapping[str, Path]) -> list[str]:
    """The reward functions as TRL names them: dotted paths, and folders of reward models."""
    return [
        str(models[reward.model])
        if reward.model
        else reward.name
        if "." in reward.name
        else f"r1zero.rewards.trl_plugin.{reward.name}"
        for reward in run.rewards
    ]


def _places(
    run: RunSettings,
    layout: Layout,
    model: Path,
    problems: Path,
    output: Path,
    reward_models: Mapping[str, Path],
) -> dict[str, Any]:
    return {
        "model_name_or_path": str(model),
        "dtype": layout.weights_dtype,
        "attn_implementation": attention(on_cpu=not layout.gpus),
        "dataset_name": str(problems),
        "dataset_train_split": "train",
        "reward_funcs": reward_functions(run, reward_models),
        "reward_weights": [reward.weight for reward in run.rewards],
        "output_dir": str(output),
    }


def _batches(run: RunSettings, layout: Layout) -> dict[str, Any]:
    return {
        "per_device_train_batch_size": layout.micro_batch,
        "gradient_accumulation_steps": layout.accumulation,
        "steps_per_generation": layout.rollout_passes,
        "num_generations": run.algorithm.num_generations,
        "shuffle_dataset": True,
        "dataloader_num_workers": 0,
    }


def _algorithm(run: RunSettings) -> dict[str, Any]:
    algorithm = run.algorithm
    return {
        "loss_type": algorithm.loss_type,
        "scale_rewards": algorithm.scale_rewards,
        "beta": algorithm.beta,
        # The k3 estimate as in the GRPO paper, not times the ratio.
        "use_bias_correction_kl": False,
        "num_iterations": algorithm.num_iterations,
        "epsilon": algorithm.epsilon,
        "epsilon_high": algorithm.epsilon_high,
        "importance_sampling_level": "token",
        "mask_truncated_completions": algorithm.mask_truncated_completions,
        "sync_ref_model": False,
        "disable_dropout": False,
    }


def _optimization(run: RunSettings) -> dict[str, Any]:
    algorithm, sizes = run.algorithm, run.sizes
    return {
        "optim": algorithm.optimizer,
        "learning_rate": sizes.learning_rate,
        "lr_scheduler_type": algorithm.lr_scheduler_type,
        "warmup_steps": math.ceil(algorithm.warmup_ratio * sizes.max_steps),
        "adam_beta1": algorithm.adam_beta1,
        "adam_beta2": algorithm.adam_beta2,
        "adam_epsilon": 1.0e-8,
        "weight_decay": algorithm.weight_decay,
        "max_grad_norm": algorithm.max_grad_norm,
        "max_steps": sizes.max_steps,
        "seed": run.seed,
    }


def _generation(run: RunSettings, layout: Layout) -> dict[str, Any]:
    algorithm, sizes = run.algorithm, run.sizes
    settings: dict[str, Any] = {
        "temperature": algorithm.temperature,
        "top_p": algorithm.top_p,
        "top_k": algorithm.top_k,
        "repetition_penalty": 1.0,
        "max_completion_length": sizes.max_completion_length,
        "use_vllm": layout.placement != "in_process",
        "use_cpu": layout.gpus == 0,
        "bf16": layout.compute_dtype == "bfloat16",
        "gradient_checkpointing": layout.gradient_checkpointing,
    }
    if layout.placement == "colocate":
        settings |= {
            "vllm_mode": "colocate",
            "vllm_gpu_memory_utilization": layout.generator_memory_share,
            "vllm_tensor_parallel_size": layout.generator_tensor_parallel,
            "vllm_enable_sleep_mode": True,
            "vllm_max_model_length": sizes.max_prompt_length + sizes.max_completion_length,
        }
    if layout.placement == "server":
        settings |= {
            "vllm_mode": "server",
            "vllm_server_host": "127.0.0.1",
            "vllm_server_port": VLLM_PORT,
            # A large model takes minutes to load.
            "vllm_server_timeout": 1800.0,
        }
    if layout.placement != "in_process":
        settings |= {
            "vllm_importance_sampling_correction": algorithm.rollout_importance_sampling != "none",
            "vllm_importance_sampling_mode": _RATIOS[algorithm.rollout_importance_sampling],
            "vllm_importance_sampling_clip_max": algorithm.rollout_importance_sampling_max,
        }
    return settings


def _bookkeeping(run: RunSettings) -> dict[str, Any]:
    return {
        "logging_steps": 1,
        "logging_first_step": True,
        # Log a loss of NaN as NaN, not as 0.
        "logging_nan_inf_filter": False,
        "save_strategy": "steps",
        "save_steps": run.sizes.save_steps,
        "save_only_model": False,
        "eval_strategy": "no",
        "report_to": "none",
        "log_completions": False,
        "disable_tqdm": True,
    }
