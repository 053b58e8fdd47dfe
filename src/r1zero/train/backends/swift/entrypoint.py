"""The training process of the backend `swift`: `swift rlhf` on a rendered `swift.yaml`.

Started in `.envs/swift` as `-m r1zero.train.backends.swift.entrypoint RUN CONFIG`. It writes the
problems as rows of ms-swift in the order in which TRL draws them, installs the plugin, and calls
the function behind `swift rlhf`.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl
import torch

from r1zero.core.errors import UserError
from r1zero.core.files import read_json, write_json_lines
from r1zero.core.validation import read_yaml, validate
from r1zero.data.lengths import fitting
from r1zero.settings import RunSettings
from r1zero.train.backends.swift import BACKEND
from r1zero.train.recording import Recorder


def main() -> None:
    """Train the run of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, metavar="RUN", help="The run's run.json.")
    parser.add_argument("config", type=Path, metavar="CONFIG", help="Its swift.yaml.")
    parser.add_argument("--problems", type=Path, required=True, help="Its problems as Parquet.")
    parser.add_argument("--generator-host", help="Address of the `swift rollout` server.")
    parser.add_argument("--generator-port", help="Its port.")
    parser.add_argument("--weights-port", help="Port that weights are sent to it over.")
    parser.add_argument("--keep-states", type=int, help="Checkpoints that keep optimizer states.")
    parser.add_argument("--resume", type=Path, help="Checkpoint to go on from.")
    options = parser.parse_args()
    run, config = read_json(options.run), read_yaml(options.config)
    settings = validate(run["settings"], RunSettings, str(options.run))
    torch.set_num_threads(settings.computation.train.threads)
    model = Path(config["model"])
    problems = fitting(pl.read_parquet(options.problems), model, settings.sizes.max_prompt_length)
    (rows,) = config["dataset"]
    # Each of several processes writes the same file, and moves it there when it is complete.
    write_json_lines(Path(rows), list(rows_of(problems, settings)))
    output = Path(config["output_dir"])
    recorder = None
    if os.environ.get("RANK", "0") == "0":
        recorder = Recorder.of(
            run,
            settings,
            output,
            optimizer_states=BACKEND.checkpoint.optimizer_states,
            resume=options.resume,
            keep_states=options.keep_states,
        )
    # ms-swift does not find it out for a folder with a name of ours.
    config["model_type"] = type_of(model)
    if "reward_model" in config:
        config["reward_model_type"] = [type_of(Path(path)) for path in config["reward_model"]]
    if options.generator_port:
        config["vllm_server_host"] = [options.generator_host]
        config["vllm_server_port"] = [options.generator_port]
        config["vllm_server_group_port"] = [options.weights_port]
    if options.resume:
        config["resume_from_checkpoint"] = str(options.resume)

    from swift.pipelines import rlhf_main

    from r1zero.train.backends.swift import plugin

    plugin.install(settings, model, recorder, use_vllm=config["use_vllm"])
    rlhf_main(words(config))


def type_of(model: Path) -> str:
    """Type of a model, which is that of ms-swift too for those that its lock was tried with."""
    found: str = read_json(model / "config.json")["model_type"]
    return found


def rows_of(problems: pl.DataFrame, run: RunSettings) -> Iterator[dict[str, Any]]:
    """Rows of ms-swift for a whole training, in the order in which TRL draws the problems.

    TRL permutes the problems anew in each epoch, from one generator, and leaves out those that fill
    no batch of rollouts (`RepeatSampler`).
    """
    per_rollout = run.sizes.prompts_per_step * run.algorithm.updates_per_rollout
    shared = run.algorithm.updates_per_rollout * run.algorithm.num_iterations
    left = -(-run.sizes.max_steps // shared)
    if len(problems) < per_rollout:
        raise UserError(
            f"{len(problems)} problems are fewer than the {per_rollout} of a batch of rollouts",
            where=f"recipe {run.recipe}: sizes.prompts_per_step",
            hint=f"at most {len(problems)} works",
        )
    generator = torch.Generator().manual_seed(run.seed)
    while left > 0:
        order = torch.randperm(len(problems), generator=generator).tolist()
        batches = min(left, len(order) // per_rollout)
        left -= batches
        for place in order[: batches * per_rollout]:
            row = problems.row(place, named=True)
            # Without messages it would take `answer` for the response.
            prompt = row.pop("prompt")
            yield {"messages": [{"role": "user", "content": prompt}], "prompt_text": prompt, **row}


def words(config: Mapping[str, Any]) -> list[str]:
    """The words of the command line for a configuration, as `swift rlhf` makes them."""
    found: list[str] = []
    for key, value in config.items():
        found.append(f"--{key}")
        found += map(str, value) if isinstance(value, list) else [str(value)]
    return found


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
