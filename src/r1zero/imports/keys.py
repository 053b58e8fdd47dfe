"""Published keys that no recipe has, and why."""

from typing import Any

_PLAN = "the plan decides"
_LOG = "logging: no part of a recipe"
_EVALUATION = "evaluation is this project's own"
_PLACES = "the workflow has its own folders"
_SOURCES = "config/sources.yaml says which files and revisions"

# Keys by the reason they are dropped for; `*` at the end stands for any end.
_REASONS: dict[str, str] = {
    _PLAN: "vllm_* use_vllm deepspeed gradient_checkpointing* attn_implementation attn_impl bf16 "
    "tf32 ds3_gather_for_generation dataloader_* dataset_num_proc ddp_* use_cpu use_liger* "
    "offload_* move_model_batches lmdeploy_* use_lmdeploy num_infer_workers async_generate "
    "sleep_level torch_compile* low_cpu_mem_usage pad_to_multiple_of fsdp* device_map "
    "tensor_parallel_size bf16_full_eval use_reentrant",
    "the plan decides, from the disk there is": "save_total_limit save_only_model",
    _LOG: "swanlab* workspace project experiment_name report_to logging_* run_name wandb* "
    "log_* num_completions_to_print disable_tqdm trackio* project_name push_to_hub* hub_* "
    "include_tokens_per_second",
    _EVALUATION: "eval_* do_eval per_device_eval_batch_size val_dataset num_generations_eval "
    "load_best_model_at_end metric_for_best_model greater_is_better evaluation_strategy",
    _PLACES: "output_dir overwrite_output_dir resume_from_checkpoint add_version cache_dir "
    "do_train create_checkpoint_symlink load_from_cache_file use_hf save_safetensors",
    "the configuration has `seeds`": "seed data_seed",
    _SOURCES: "dataset_config* dataset_train_split dataset_test_split dataset_split "
    "trust_remote_code tokenizer_name_or_path tokenizer_name",
    "belongs to LoRA": "lora_* target_modules peft_*",
}

# Keys that mean nothing at these values, and are lost at any other.
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "repetition_penalty": (1.0, None),
    "min_p": (0.0, None),
    "sync_ref_model": (False,),
    "disable_dropout": (False,),
    "importance_sampling_level": ("token",),
    "use_peft": (False,),
    "load_in_4bit": (False,),
    "load_in_8bit": (False,),
    "delta": (None,),
    "top_entropy_quantile": (1.0,),
    "adam_epsilon": (1e-8,),
    "fp16": (False,),
    "shuffle_dataset": (True,),
    "dataset_shuffle": (True,),
    "remove_unused_columns": (False,),
    "model_revision": ("main", "master", None),
    "train_type": ("full",),
    "tuner_type": ("full",),
    "rlhf_type": ("grpo",),
}

# What to do about those that matter most.
ADVICE: dict[str, str] = {
    "system": "a system prompt is a part of the prompt template: write it there",
    "template": "chat markup is a part of the prompt template: write it there",
    "use_peft": "LoRA: this project trains all weights; check the learning rate",
    "train_type": "LoRA: this project trains all weights; check the learning rate",
    "tuner_type": "LoRA: this project trains all weights; check the learning rate",
    "model_revision": "put the revision into the model's entry in config/sources.yaml",
    "fp16": "half precision has no counterpart; bfloat16 is taken",
}


def reason_to_drop(key: str) -> str | None:
    """Why a key is no part of a recipe, or None if it is not known to be."""
    for reason, patterns in _REASONS.items():
        for pattern in patterns.split():
            if key == pattern or (pattern.endswith("*") and key.startswith(pattern[:-1])):
                return reason
    return None


def is_neutral(key: str, value: Any) -> bool:
    """Whether a key has the value at which it means nothing, perhaps as a command line's text."""
    return _plain(value) in [_plain(neutral) for neutral in NEUTRAL[key]]


def _plain(value: Any) -> Any:
    try:
        return value if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return {"true": True, "false": False, "none": None}.get(str(value).lower(), str(value))
