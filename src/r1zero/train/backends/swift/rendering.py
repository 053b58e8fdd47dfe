"""Rendering of a run and its layout as the inputs of `swift rlhf` and `swift rollout`.

It states every setting that decides weights: the defaults of ms-swift differ from those of TRL
(beta, temperature, weight decay, Adam's second decay rate, LoRA, half precision).
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from r1zero.plan.layout import Layout
from r1zero.settings.run import RunSettings
from r1zero.tasks.prompts import load_prompt

TEMPLATE = "r1zero_raw"
"""Template of the plugin: the prompt as it stands."""
RECORDER = "r1zero"
"""Callback of the plugin that writes the records."""
ROWS = "swift_rows.jsonl"
"""File in the folder of checkpoints with the problems in the order of training."""
REWARD_MODEL = "r1zero_raw"
"""Plugin for reward models: prompt and completion as one text."""
# DeepSpeed configurations that ms-swift has by name: sharding, and whether anything is offloaded.
_DEEPSPEED = {
    ("optimizer", False): "zero2",
    ("optimizer", True): "zero2_offload",
    ("full", False): "zero3",
    ("full", True): "zero3_offload",
}


def reward_name(name: str) -> str:
    """Name of a reward function among those of ms-swift."""
    return f"r1zero_{name}"


def swift_config(
    run: RunSettings,
    layout: Layout,
    *,
    model: Path,
    output: Path,
    reward_models: Mapping[str, Path] | None = None,
) -> dict[str, Any]:
    """Settings of `swift rlhf`, in its own key names.

    The training process adds the types of the models, which it reads in their folders, and the
    ports of a generator.

    Args:
        run: The run.
        layout: Its layout.
        model: Folder of the model to start from.
        output: Folder for checkpoints.
        reward_models: Folders of the reward models, by name.

    """
    return {
        **_places(run, layout, model, output),
        **_rewards(run, reward_models or {}),
        **_algorithm(run, layout),
        **_generation(run, layout),
        **_optimization(run, layout),
        **_bookkeeping(run),
    }


def rollout_config(run: RunSettings, layout: Layout, *, model: Path) -> dict[str, Any]:
    """Settings of `swift rollout`, the generator on GPUs of its own, without host and port."""
    return {
        "model": str(model),
        "torch_dtype": "bfloat16",
        "template": TEMPLATE,
        "use_hf": True,
        "max_length": longest(run),
        "vllm_tensor_parallel_size": layout.generator_tensor_parallel,
        "vllm_data_parallel_size": layout.generator_gpus // layout.generator_tensor_parallel,
        "vllm_gpu_memory_utilization": layout.generator_memory_share,
        "vllm_max_model_len": longest(run),
        "vllm_max_num_seqs": layout.generator_sequences,
    }


def longest(run: RunSettings) -> int:
    """Most tokens of a prompt and its completion."""
    return run.sizes.max_prompt_length + run.sizes.max_completion_length


def _places(run: RunSettings, layout: Layout, model: Path, output: Path) -> dict[str, Any]:
    return {
        "rlhf_type": "grpo",
        "model": str(model),
        "template": TEMPLATE,
        "use_hf": True,
        # Otherwise it asks ModelScope about the model.
        "check_model": False,
        "tuner_type": "full",
        "torch_dtype": layout.weights_dtype,
        "fp16": False,
        "bf16": layout.compute_dtype == "bfloat16",
        **_device(layout),
        "dataset": [str(output / ROWS)],
        "split_dataset_ratio": 0,
        # The rows stand in the order of training.
        "dataset_shuffle": False,
        "strict": True,
        "load_from_cache_file": False,
        "dataset_num_proc": 1,
        "dataloader_num_workers": 0,
        "max_length": longest(run),
        "truncation_strategy": "delete",
        "output_dir": str(output),
        "add_version": False,
    }


def _device(layout: Layout) -> dict[str, Any]:
    if not layout.gpus:
        several = {"ddp_backend": "gloo"} if layout.trainers > 1 else {}
        return {"attn_impl": "eager", "use_cpu": True, **several}
    settings: dict[str, Any] = {"attn_impl": "sdpa"}
    if layout.sharding != "none":
        offload = layout.offload_optimizer or layout.offload_weights
        settings["deepspeed"] = _DEEPSPEED[layout.sharding, offload]
    return settings


def _rewards(run: RunSettings, models: Mapping[str, Path]) -> dict[str, Any]:
    """Reward functions and models; ms-swift wants the weights of the models last."""
    functions, judges = (
        [reward for reward in run.rewards if bool(reward.model) is is_model]
        for is_model in (False, True)
    )
    settings: dict[str, Any] = {}
    if functions:
        settings["reward_funcs"] = [reward_name(reward.name) for reward in functions]
    if judges:
        settings |= {
            "reward_model": [str(models[reward.model or ""]) for reward in judges],
            "reward_template": [TEMPLATE] * len(judges),
            "reward_model_plugin": [REWARD_MODEL] * len(judges),
        }
    return settings | {"reward_weights": [reward.weight for reward in (*functions, *judges)]}


def _algorithm(run: RunSettings, layout: Layout) -> dict[str, Any]:
    algorithm = run.algorithm
    upper = algorithm.epsilon_high
    stop_tokens = load_prompt(run.prompt).stop_tokens
    return {
        "num_generations": algorithm.num_generations,
        "per_device_train_batch_size": layout.micro_batch,
        "gradient_accumulation_steps": layout.accumulation,
        "steps_per_generation": layout.rollout_passes,
        "num_iterations": algorithm.num_iterations,
        "max_completion_length": run.sizes.max_completion_length,
        "temperature": algorithm.temperature,
        "top_p": algorithm.top_p,
        "top_k": algorithm.top_k or -1,
        "repetition_penalty": 1.0,
        **({"stop_words": list(stop_tokens)} if stop_tokens else {}),
        "loss_type": algorithm.loss_type,
        "advantage_estimator": "grpo",
        "scale_rewards": algorithm.scale_rewards,
        "importance_sampling_level": "token",
        "beta": algorithm.beta,
        "epsilon": algorithm.epsilon,
        **({"epsilon_high": upper} if upper is not None else {}),
        "overlong_filter": algorithm.mask_truncated_completions,
        "dynamic_sample": False,
    }


def _generation(run: RunSettings, layout: Layout) -> dict[str, Any]:
    if layout.placement == "transformers":
        return {"use_vllm": False}
    settings: dict[str, Any] = {
        "use_vllm": True,
        "vllm_mode": layout.placement,
        "async_generate": False,
    }
    if layout.placement == "server":
        # A large model takes minutes to load.
        return settings | {"vllm_server_timeout": 1800.0}
    return settings | {
        "vllm_gpu_memory_utilization": layout.generator_memory_share,
        "vllm_tensor_parallel_size": layout.generator_tensor_parallel,
        "vllm_max_model_len": longest(run),
        "vllm_max_num_seqs": layout.generator_sequences,
        "sleep_level": 1,
        # The plan has counted the trainer's memory beside that of the generator.
        "offload_model": False,
        "offload_optimizer": False,
    }


def _optimization(run: RunSettings, layout: Layout) -> dict[str, Any]:
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
        "data_seed": run.seed,
        "gradient_checkpointing": layout.gradient_checkpointing,
    }


def _bookkeeping(run: RunSettings) -> dict[str, Any]:
    return {
        "callbacks": [RECORDER],
        "eval_strategy": "no",
        "save_strategy": "steps",
        "save_steps": run.sizes.save_steps,
        "save_only_model": False,
        "logging_steps": 1,
        "logging_first_step": True,
        "logging_nan_inf_filter": False,
        "log_completions": False,
        "report_to": "none",
    }
