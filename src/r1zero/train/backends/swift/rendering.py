"""Rendering of a run and its layout as `swift.yaml`, the input of `swift rlhf`.

It states every setting that decides weights: the defaults of ms-swift differ from those of TRL
(beta, temperature, weight decay, Adam's second decay rate, LoRA, half precision).
"""

import math
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


def reward_name(name: str) -> str:
    """Name of a reward function among those of ms-swift."""
    return f"r1zero_{name}"


def swift_config(run: RunSettings, layout: Layout, *, model: Path, output: Path) -> dict[str, Any]:
    """Settings of `swift rlhf`, in its own key names.

    Args:
        run: The run.
        layout: Its layout.
        model: Folder of the model to start from.
        output: Folder for checkpoints.

    """
    return {
        **_places(run, layout, model, output),
        **_algorithm(run, layout),
        **_optimization(run),
        **_bookkeeping(run),
    }


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
        "attn_impl": "eager",
        "use_cpu": True,
        **({"ddp_backend": "gloo"} if layout.trainers > 1 else {}),
        "dataset": [str(output / ROWS)],
        "split_dataset_ratio": 0,
        # The rows stand in the order of training.
        "dataset_shuffle": False,
        "strict": True,
        "load_from_cache_file": False,
        "dataset_num_proc": 1,
        "dataloader_num_workers": 0,
        "max_length": run.sizes.max_prompt_length + run.sizes.max_completion_length,
        "truncation_strategy": "delete",
        "output_dir": str(output),
        "add_version": False,
    }


def _algorithm(run: RunSettings, layout: Layout) -> dict[str, Any]:
    algorithm = run.algorithm
    upper = algorithm.epsilon_high
    stop_tokens = load_prompt(run.prompt).stop_tokens
    return {
        "reward_funcs": [reward_name(reward.name) for reward in run.rewards],
        "reward_weights": [reward.weight for reward in run.rewards],
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
        "use_vllm": False,
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
        "data_seed": run.seed,
        "gradient_checkpointing": False,
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
