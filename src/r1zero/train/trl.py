"""The `trl` backend: TRL's GRPOTrainer on a rendered `trl.yaml`.

Started by `accelerate launch -m r1zero.train.trl`. It trains what `trl grpo --config trl.yaml`
trains, and adds: resume from the last complete checkpoint, checkpoints with checksums, metrics as
JSON lines with the time of rollouts and updates, and no hub.
"""

import argparse
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
from datasets import Dataset
from transformers import (
    AutoTokenizer,
    PrinterCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.utils import logging
from trl import GRPOConfig, ModelConfig, TrlParser
from trl.scripts.grpo import GRPOScriptArguments

from r1zero.errors import UserError
from r1zero.tasks.lengths import fitting
from r1zero.train import checkpoints, metrics
from r1zero.train.trainer import PiecewiseTrainer, rollout


class Recorder(TrainerCallback):  # type: ignore[misc]
    """Writes metrics and seals checkpoints."""

    def __init__(self, folder: Path, config_hash: str, keep_states: int | None) -> None:
        self.folder, self.config_hash, self.keep_states = folder, config_hash, keep_states

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any],
        **kwargs: Any,
    ) -> None:
        """Write one step's metrics, and a line for people."""
        if not state.is_world_process_zero or "reward" not in logs:
            return
        row = {"step": state.global_step, **{key: float(value) for key, value in logs.items()}}
        metrics.append(self.folder / "metrics.jsonl", row)
        print(_progress(row, state.max_steps), flush=True)

    def on_save(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Seal the checkpoint that has just been written."""
        if state.is_world_process_zero:
            path = self.folder / f"checkpoint-{state.global_step}"
            checkpoints.seal(path, self.config_hash)
            if self.keep_states is not None:
                checkpoints.forget_states(self.folder, self.keep_states)


def _progress(row: dict[str, Any], steps: int) -> str:
    left = (steps - row["step"]) * row["step_time"]
    return (
        f"step={row['step']}/{steps} reward={row['reward']:.3f} "
        f"length={row['completions/mean_length']:.0f} step_time={row['step_time']:.1f}s "
        f"eta={int(left) // 60}m{int(left) % 60:02d}s"
    )


def main() -> None:
    """Train as `--config` says, from `--resume` if given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--train", type=Path, required=True, help="Parquet file of problems.")
    parser.add_argument("--config-hash", required=True)
    parser.add_argument("--max-prompt-length", type=int, required=True)
    parser.add_argument("--keep-states", type=int, help="Checkpoints to keep optimizer states of.")
    parser.add_argument("--resume", type=Path)
    options = parser.parse_args()
    logging.disable_progress_bar()

    trl_parser = TrlParser((GRPOScriptArguments, GRPOConfig, ModelConfig))
    script, config, model = trl_parser.parse_args_and_config(
        args=["--config", str(options.config)], fail_with_unknown_args=True
    )
    config.model_init_kwargs = {
        "dtype": model.dtype,
        "attn_implementation": model.attn_implementation,
    }
    tokenizer = AutoTokenizer.from_pretrained(model.model_name_or_path, padding_side="left")
    model_folder = Path(model.model_name_or_path)
    problems = fitting(pl.read_parquet(options.train), model_folder, options.max_prompt_length)
    trainer = PiecewiseTrainer(
        model=model.model_name_or_path,
        processing_class=tokenizer,
        reward_funcs=[_load(name) for name in script.reward_funcs],
        args=config,
        train_dataset=Dataset.from_polars(problems),
        rollout_func=None if config.use_vllm else rollout,
        callbacks=[Recorder(Path(config.output_dir), options.config_hash, options.keep_states)],
    )
    trainer.remove_callback(PrinterCallback)  # the recorder prints what people read
    trainer.train(resume_from_checkpoint=str(options.resume) if options.resume else None)


def _load(name: str) -> Callable[..., list[float]]:
    module, _, function = name.rpartition(".")
    reward: Callable[..., list[float]] = getattr(importlib.import_module(module), function)
    return reward


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
