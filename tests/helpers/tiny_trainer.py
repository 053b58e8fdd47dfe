"""A trainer of the tiny model of `tests/train/conftest.py`, and rollouts to give it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor
from transformers import PreTrainedTokenizerFast
from trl import GRPOConfig, GRPOTrainer

from fixed_completions import PROMPTS, share_of_even_tokens
from r1zero.train.backends.trl.length_bucketing import rollout
from r1zero.train.recording import Recorder

# Tenfold differences, a row without any token (a masked truncated completion), ties.
PROMPT_LENGTHS = [3, 9, 1, 9, 5, 7, 2, 4]
COMPLETION_LENGTHS = [40, 3, 1, 17, 0, 4, 4, 31]


def build_trainer(
    kind: type[GRPOTrainer],
    base: Path,
    out: Path,
    *,
    rewards: Sequence[Callable[..., Any]] = (share_of_even_tokens,),
    prompts: Sequence[str] = PROMPTS,
    extra: dict[str, Any] | None = None,
    **changes: Any,
) -> GRPOTrainer:
    """A trainer of two steps of 16 completions; `extra` goes to it, `changes` to its config."""
    options = {
        "output_dir": str(out),
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "report_to": "none",
        "disable_tqdm": True,
        "save_strategy": "no",
        "logging_steps": 1,
        "per_device_train_batch_size": 8,
        "gradient_accumulation_steps": 2,
        "steps_per_generation": 2,
        "num_generations": 4,
        "max_completion_length": 24,
        "max_steps": 2,
        "learning_rate": 1e-3,
        "lr_scheduler_type": "constant",
        # The usual 1e-8 turns rounding of gradients near 0 into whole steps.
        "adam_epsilon": 1e-5,
        "loss_type": "grpo",
        "scale_rewards": "group",
        "beta": 0.0,
        "temperature": 1.0,
        "top_k": 0,
        "seed": 5,
        "model_init_kwargs": {"dtype": "float32", "attn_implementation": "eager"},
    }
    trainer = kind(
        model=str(base),
        processing_class=PreTrainedTokenizerFast.from_pretrained(base, padding_side="left"),
        reward_funcs=list(rewards),
        args=GRPOConfig(**options | changes),
        train_dataset=Dataset.from_dict(
            {"prompt": list(prompts), "problem_id": [f"p{i}" for i in range(len(prompts))]}
        ),
        **{"rollout_func": rollout} | (extra or {}),
    )
    # What `train` sets.
    trainer.current_gradient_accumulation_steps = trainer.args.gradient_accumulation_steps
    return trainer


def recorder(folder: Path, resumed: int = 0) -> Recorder:
    """A recorder of a run of two steps; it seals checkpoints under any hash."""
    return Recorder(folder, config_hash="any", optimizer_states=(), max_steps=2, resumed=resumed)


def padded(lengths: list[int], *, left: bool) -> Tensor:
    """Mask of rows of these lengths, padded on one side."""
    columns = torch.arange(max(lengths))
    rows = torch.tensor(lengths)[:, None]
    return ((max(lengths) - columns <= rows) if left else (columns < rows)).long()


def batch() -> dict[str, Tensor]:
    """Rollouts of very different lengths, as TRL hands them to the loss."""
    generator = torch.Generator().manual_seed(1)

    def ids(mask: Tensor) -> Tensor:
        drawn = torch.randint(0, 250, mask.shape, generator=generator)
        return drawn.where(mask == 1, torch.tensor(256))

    prompt = padded(PROMPT_LENGTHS, left=True)
    completion = padded(COMPLETION_LENGTHS, left=False)
    return {
        "prompt_ids": ids(prompt),
        "prompt_mask": prompt,
        "completion_ids": ids(completion),
        "completion_mask": completion,
        "advantages": torch.randn(len(prompt), generator=generator),
        "num_items_in_batch": completion.sum(),
        # Stands for a reference model that is some steps away.
        "ref_per_token_logps": -5 + torch.randn(completion.shape, generator=generator),
    }
