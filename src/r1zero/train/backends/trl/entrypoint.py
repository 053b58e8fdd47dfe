"""The training process of the backend `trl`: TRL's GRPOTrainer on a rendered `trl.yaml`.

Started by accelerate or torchrun as `-m r1zero.train.backends.trl.entrypoint RUN CONFIG`. It trains
as `trl grpo --config trl.yaml` does, and adds: the reward functions of the run with their options,
stop tokens of the prompt, zero-variance groups as in the recipe, and the records of
`r1zero.train.recording`. It uses no hub.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import torch
from accelerate import PartialState
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
from r1zero.core.validation import read_yaml, validate
from r1zero.data.lengths import fitting
from r1zero.reference.client import ReferenceClient
from r1zero.reference.processes import add_options, remote_reference
from r1zero.rewards.build import RewardFunction, RewardFunctions
from r1zero.settings import RunSettings
from r1zero.tasks.prompts import load_prompt
from r1zero.train.backends.trl import BACKEND
from r1zero.train.backends.trl.dynamic_sampling import DynamicSamplingTrainer
from r1zero.train.backends.trl.length_bucketing import rollout
from r1zero.train.backends.trl.vllm_engine import planned_engine
from r1zero.train.guards import shared
from r1zero.train.recording import Recorder


class RecorderCallback(TrainerCallback):  # type: ignore[misc]
    """Passes the events of transformers' Trainer on to the recorder of the main process."""

    def __init__(self, recorder: Recorder | None) -> None:
        self.recorder = recorder

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Start the clock."""
        if self.recorder:
            self.recorder.start()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any],
        **kwargs: Any,
    ) -> None:
        """Record the metrics of a step, and do after it what the guards decide."""
        # The summary at the end has no loss of a step.
        if "loss" not in logs:
            return
        verdict = None
        if self.recorder:
            # A metric is None where everything that it counts is masked.
            known = {key: float(value) for key, value in logs.items() if value is not None}
            row = {"step": state.global_step, **known}
            verdict = self.recorder.step(row, saves=control.should_save)
        # The trainer saves after it has logged.
        control.should_save, stop = shared(verdict)
        control.should_training_stop |= stop

    def on_save(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Seal the checkpoint that has just been written."""
        # Each process saves its own random states.
        PartialState().wait_for_everyone()
        if self.recorder:
            self.recorder.checkpoint(state.global_step)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train the run of the command line."""
    # No option may be a prefix of one of torchrun or accelerate: they would take it for theirs.
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, metavar="RUN", help="The run's run.json.")
    parser.add_argument("config", type=Path, metavar="CONFIG", help="Its trl.yaml.")
    parser.add_argument("--keep-states", type=int, help="Checkpoints that keep optimizer states.")
    parser.add_argument("--generator-host", help="Address of the vLLM server.")
    parser.add_argument("--generator-port", type=int, help="Its port.")
    parser.add_argument("--weights-port", type=int, help="Port that weights are sent to it over.")
    parser.add_argument("--engine", type=Path, help="The vllm.yaml of an engine in this process.")
    parser.add_argument("--resume", type=Path, help="Checkpoint to go on from.")
    add_options(parser)
    options = parser.parse_args(arguments)
    logging.disable_progress_bar()

    trl_parser = TrlParser((GRPOScriptArguments, GRPOConfig, ModelConfig))
    script, config, model = trl_parser.parse_args_and_config(
        args=["--config", str(options.config)], fail_with_unknown_args=True
    )
    run = read_json(options.run)
    settings = validate(run["settings"], RunSettings, str(options.run))
    if config.use_cpu:
        # Launchers and schedulers choose a number of threads from the cores that there are.
        torch.set_num_threads(settings.computation.train.threads)
    if options.generator_port:
        config.vllm_server_host = options.generator_host
        config.vllm_server_port = options.generator_port
        config.vllm_group_port = options.weights_port
    problems = fitting(
        pl.read_parquet(Path(script.dataset_name) / "train.parquet"),
        Path(model.model_name_or_path),
        settings.sizes.max_prompt_length,
    )
    recorder = None
    if config.should_save:
        recorder = Recorder.of(
            run,
            settings,
            Path(config.output_dir),
            optimizer_states=BACKEND.checkpoint.optimizer_states,
            resume=options.resume,
            keep_states=options.keep_states,
        )
    reference = None
    if config.beta:
        reference = remote_reference(
            options,
            Path(model.model_name_or_path),
            weights=run["base_model"]["sha256"],
            dtype=model.dtype,
            compute_dtype="bfloat16" if config.bf16 else "float32",
            temperature=config.temperature,
            backend=BACKEND.name,
        )
    engine = read_yaml(options.engine) if options.engine else {}
    with planned_engine(engine):
        trainer = build_trainer(run, settings, config, model, problems, recorder, reference)
    if options.resume and config.use_cpu:
        _let_torch_restore_to_numbered_cpus()
    trainer.train(resume_from_checkpoint=str(options.resume) if options.resume else None)


def build_trainer(
    run: Mapping[str, Any],
    settings: RunSettings,
    config: GRPOConfig,
    model: ModelConfig,
    problems: pl.DataFrame,
    recorder: Recorder | None,
    reference: ReferenceClient | None = None,
) -> DynamicSamplingTrainer:
    """The trainer of a run.

    Args:
        run: Content of its run.json.
        settings: Its settings.
        config: TRL's settings.
        model: The model to start from.
        problems: Training problems, with a column `prompt`.
        recorder: Writes what the training leaves; None in all processes but the main one.
        reference: Asks a server for the reference model; None for one in the trainer.

    """
    config.model_init_kwargs = {
        "dtype": model.dtype,
        "attn_implementation": model.attn_implementation,
    }
    tokenizer = AutoTokenizer.from_pretrained(model.model_name_or_path, padding_side="left")
    stop_token_ids = _known_ids(tokenizer, load_prompt(settings.prompt).stop_tokens)
    if config.use_vllm and stop_token_ids:
        config.generation_kwargs = {
            **(config.generation_kwargs or {}),
            "stop_token_ids": stop_token_ids,
        }
    trainer = DynamicSamplingTrainer(
        model=model.model_name_or_path,
        processing_class=tokenizer,
        reward_funcs=reward_functions(settings, run["reward_models"]),
        args=config,
        train_dataset=Dataset.from_polars(problems),
        rollout_func=None if config.use_vllm else rollout,
        callbacks=[RecorderCallback(recorder)],
        zero_variance_groups=settings.algorithm.zero_variance_groups,
        max_resamples=settings.algorithm.max_resamples,
        recorder=recorder,
        reference=reference,
    )
    trainer.eos_token_ids = list(dict.fromkeys([*trainer.eos_token_ids, *stop_token_ids]))
    # TRL names a reward model by its folder.
    trainer.reward_func_names = [reward.name for reward in settings.rewards]
    trainer.remove_callback(PrinterCallback)  # the recorder prints the line of a step
    return trainer


def reward_functions(
    settings: RunSettings, models: Mapping[str, Mapping[str, Any]]
) -> list[RewardFunction | str]:
    """The reward functions of a run as TRL takes them: functions, and folders of reward models.

    Args:
        settings: The run.
        models: The `reward_models` of its run.json.

    """
    functions = RewardFunctions.of(settings)
    return [
        str(models[reward.model]["path"]) if reward.model else functions.build(reward)
        for reward in settings.rewards
    ]


def _known_ids(tokenizer: Any, tokens: list[str]) -> list[int]:
    """Ids of those tokens that the tokenizer has."""
    vocabulary = tokenizer.get_vocab()
    return [vocabulary[token] for token in tokens if token in vocabulary]


def _let_torch_restore_to_numbered_cpus() -> None:
    """Have `torch.load` accept the device `cpu:0`.

    accelerate calls the device of each of several CPU processes so, and transformers loads the
    optimizer states to that device. torch itself only restores to `cpu`.
    """
    torch.serialization.register_package(
        0,
        lambda storage: None,
        lambda storage, location: storage if location.startswith("cpu:") else None,
    )


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
