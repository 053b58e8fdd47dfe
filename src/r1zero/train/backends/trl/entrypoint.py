"""The `trl` backend: TRL's GRPOTrainer on a rendered `trl.yaml`.

Started by `accelerate launch -m r1zero.train.backends.trl.entrypoint`. It trains what
`trl grpo --config trl.yaml`
trains, and adds: the reward terms of the run with their options, what becomes of equal groups,
resume from the last complete checkpoint, checkpoints with checksums, metrics as JSON lines with the
time of rollouts and updates, a record of all rollouts, and no hub.
"""

import argparse
import sys
import time
from collections.abc import Mapping
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

from r1zero.core.errors import UserError
from r1zero.core.files import read_json
from r1zero.core.validation import validate
from r1zero.data.lengths import fitting
from r1zero.rewards.build import RewardFunction, RewardFunctions
from r1zero.settings import RunSettings
from r1zero.tasks.prompts import load_prompt
from r1zero.train import checkpoints, metrics
from r1zero.train.backends.trl.dynamic_sampling import RunTrainer
from r1zero.train.backends.trl.length_bucketing import rollout
from r1zero.train.rollout_files import Failures, Recording


class Recorder(TrainerCallback):  # type: ignore[misc]
    """Writes metrics and seals checkpoints."""

    def __init__(self, folder: Path, config_hash: str, keep_states: int | None) -> None:
        self.folder, self.config_hash, self.keep_states = folder, config_hash, keep_states
        self.started = (0, 0.0)  # step and time

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Look at the clock."""
        self.started = (state.global_step, time.monotonic())

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any],
        **kwargs: Any,
    ) -> None:
        """Write one step's metrics, and a line for people."""
        # The summary at the end has no loss of a step.
        if not state.is_world_process_zero or "loss" not in logs:
            return
        # A metric has no value where all that it counts is masked.
        known = {key: float(value) for key, value in logs.items() if value is not None}
        row = {"step": state.global_step, **known}
        metrics.append(self.folder / "metrics.jsonl", row)
        step, since = self.started
        pace = (time.monotonic() - since) / (state.global_step - step)
        print(_progress(row, state.max_steps, pace), flush=True)

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
                checkpoints.prune_optimizer_states(self.folder, self.keep_states)


def _progress(row: dict[str, Any], steps: int, pace: float) -> str:
    """A line for people; steps that use the rollouts of an earlier one have no reward."""
    left = (steps - row["step"]) * pace
    shown = {"reward": "reward={:.3f} ", "completions/mean_length": "length={:.0f} "}
    return (
        f"step={row['step']}/{steps} "
        + "".join(text.format(row[key]) for key, text in shown.items() if key in row)
        + f"step_time={row['step_time']:.1f}s eta={int(left) // 60}m{int(left) % 60:02d}s"
    )


def main() -> None:
    """Train as `--run` and `--config` say, from `--resume` if given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True, help="The run's run.json.")
    parser.add_argument("--config", type=Path, required=True, help="Its trl.yaml.")
    parser.add_argument("--train", type=Path, required=True, help="Parquet file of problems.")
    parser.add_argument("--config-hash", required=True)
    parser.add_argument("--max-prompt-length", type=int, required=True)
    parser.add_argument("--keep-states", type=int, help="Checkpoints to keep optimizer states of.")
    parser.add_argument("--resume", type=Path, help="Checkpoint to go on from.")
    options = parser.parse_args()
    logging.disable_progress_bar()

    trl_parser = TrlParser((GRPOScriptArguments, GRPOConfig, ModelConfig))
    _, config, model = trl_parser.parse_args_and_config(
        args=["--config", str(options.config)], fail_with_unknown_args=True
    )
    config.model_init_kwargs = {
        "dtype": model.dtype,
        "attn_implementation": model.attn_implementation,
    }
    folder = Path(config.output_dir)
    run = read_json(options.run)
    settings = validate(run["settings"], RunSettings, str(options.run))
    tokenizer = AutoTokenizer.from_pretrained(model.model_name_or_path, padding_side="left")
    stop_token_ids = _known_ids(tokenizer, load_prompt(settings.prompt).stop_tokens)
    if config.use_vllm and stop_token_ids:
        config.generation_kwargs = {
            **(config.generation_kwargs or {}),
            "stop_token_ids": stop_token_ids,
        }
    model_folder = Path(model.model_name_or_path)
    problems = fitting(pl.read_parquet(options.train), model_folder, options.max_prompt_length)
    resumed = int(options.resume.name.rpartition("-")[2]) if options.resume else 0
    main_process = config.should_save
    trainer = RunTrainer(
        model=model.model_name_or_path,
        processing_class=tokenizer,
        reward_funcs=reward_functions(settings, run["reward_models"]),
        args=config,
        train_dataset=Dataset.from_polars(problems),
        rollout_func=None if config.use_vllm else rollout,
        callbacks=[Recorder(folder, options.config_hash, options.keep_states)],
        zero_variance_groups=settings.algorithm.zero_variance_groups,
        max_resamples=settings.algorithm.max_resamples,
        recording=Recording(folder / "rollouts", resumed=resumed) if main_process else None,
        failures=Failures(folder / "failures.jsonl", resumed=resumed) if main_process else None,
    )
    trainer.eos_token_ids = list(dict.fromkeys([*trainer.eos_token_ids, *stop_token_ids]))
    # TRL names a reward model by its folder.
    trainer.reward_func_names = [reward.name for reward in settings.rewards]
    trainer.remove_callback(PrinterCallback)  # the recorder prints what people read
    trainer.train(resume_from_checkpoint=str(options.resume) if options.resume else None)


def reward_functions(
    settings: RunSettings, models: Mapping[str, Mapping[str, Any]]
) -> list[RewardFunction | str]:
    """What TRL scores completions with: terms, and folders of reward models.

    Args:
        settings: The run.
        models: The `reward_models` of its run.json.
    """
    terms = RewardFunctions.of(settings)
    return [
        str(models[reward.model]["path"]) if reward.model else terms.build(reward)
        for reward in settings.rewards
    ]


def _known_ids(tokenizer: Any, tokens: list[str]) -> list[int]:
    """Ids of those tokens that the tokenizer has."""
    vocabulary = tokenizer.get_vocab()
    return [vocabulary[token] for token in tokens if token in vocabulary]


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
