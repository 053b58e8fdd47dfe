"""The training process of the backend `split`, on a rendered `split.yaml`.

Started by python or torchrun as `-m r1zero.train.backends.split.entrypoint RUN CONFIG`.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs
from transformers import AutoTokenizer, PreTrainedModel
from transformers.utils import logging

from r1zero.core.errors import UserError
from r1zero.core.files import read_json
from r1zero.core.validation import read_yaml, validate
from r1zero.data.lengths import fitting
from r1zero.reference.client import ReferenceClient
from r1zero.reference.processes import add_options, remote_reference
from r1zero.settings import RunSettings
from r1zero.train.backends.split import BACKEND
from r1zero.train.backends.split.config import SplitConfig
from r1zero.train.backends.split.rollouts import RolloutWorker
from r1zero.train.backends.split.scoring import load
from r1zero.train.backends.split.training import Trainer
from r1zero.train.recording import Recorder


def main(arguments: Sequence[str] | None = None) -> None:
    """Train the run of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, metavar="RUN", help="The run's run.json.")
    parser.add_argument("config", type=Path, metavar="CONFIG", help="Its split.yaml.")
    parser.add_argument("--keep-states", type=int, help="Checkpoints that keep optimizer states.")
    parser.add_argument("--resume", type=Path, help="Checkpoint to go on from.")
    add_options(parser)
    options = parser.parse_args(arguments)
    logging.disable_progress_bar()
    config = validate(read_yaml(options.config), SplitConfig, str(options.config))
    run = read_json(options.run)
    settings = validate(run["settings"], RunSettings, str(options.run))
    # Launchers and schedulers choose a number of threads from the cores that there are.
    torch.set_num_threads(config.threads)
    accelerator = Accelerator(
        cpu=True, kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False)]
    )
    recorder = None
    if accelerator.is_main_process:
        recorder = Recorder.of(
            run,
            settings,
            Path(config.output),
            optimizer_states=BACKEND.checkpoint.optimizer_states,
            resume=options.resume,
            keep_states=options.keep_states,
        )
    model = load(options.resume or Path(config.model))
    base = Path(config.model)
    reference: PreTrainedModel | ReferenceClient | None = None
    if config.algorithm.beta:
        reference = remote_reference(
            options,
            base,
            weights=run["base_model"]["sha256"],
            dtype="float32",
            compute_dtype="float32",
            temperature=config.algorithm.temperature,
            backend=BACKEND.name,
        ) or load(base)
    tokenizer = AutoTokenizer.from_pretrained(config.model)
    problems = fitting(
        pl.read_parquet(config.problems), Path(config.model), config.sizes.max_prompt_length
    )
    worker = RolloutWorker(settings, model, tokenizer, accelerator.process_index)
    trainer = Trainer(config, accelerator, model, reference, tokenizer, worker, problems, recorder)
    trainer.train(options.resume)
    accelerator.end_training()


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
