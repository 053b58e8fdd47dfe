"""Speed of the stages of a trained run of scale mini, on one machine, by turns.

A step of the pipeline's training and one of TRL's own `trl grpo` read the same rendered `trl.yaml`:
same model, problems, seed and settings. Each round pre-trains the run's base for some steps, trains
a few steps with either, and evaluates the last checkpoints; the first training step of each, which
warms up, is left out.

    python scripts/bench_mini.py --run results/mini/datawhale_r1/trl/seed0
"""

import argparse
import ast
import json
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from r1zero.core.provenance import usable_cores
from r1zero.rewards.trl_plugin import VARIABLE

ENVIRONMENT = {
    **os.environ,
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    # Of `trl grpo` alone; the stages of the pipeline set their own number of threads.
    "OMP_NUM_THREADS": str(usable_cores()),
    "TRL_EXPERIMENTAL_SILENCE": "1",
}
BASE_STEPS = 60


def main() -> None:
    """Run the rounds and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--run", type=Path, required=True, help="Folder of a trained run.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=4)
    options = parser.parse_args()

    names = ("base", "rollouts", "updates", "step", "trl grpo", "faster", "evaluation")
    units = ("tokens/s", "tokens/s", "tokens/s", "s", "s", "times", "ratio")
    for row in (names, units):
        print("".join(f"{cell:>12}" for cell in row), flush=True)
    found: list[tuple[float, ...]] = []
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory() as folder:
            base = pretraining(options.run, Path(folder))
        with tempfile.TemporaryDirectory() as folder:
            ours = pipeline(options.run, Path(folder), options.steps)
        with tempfile.TemporaryDirectory() as folder:
            theirs = by_hand(options.run, Path(folder), options.steps)
        with tempfile.TemporaryDirectory() as folder:
            evaluation = evaluation_ratio(options.run, Path(folder))
        step, other = median_step(ours), median_step(theirs)
        found.append((base, *rates(options.run, ours), step, other, other / step, evaluation))
        print_row(found[-1])
    print("median")
    print_row(tuple(map(statistics.median, zip(*found, strict=True))))


def print_row(values: tuple[float, ...]) -> None:
    """One row of the table."""
    print("".join(f"{value:12.0f}" if value > 500 else f"{value:12.2f}" for value in values))
    sys.stdout.flush()


def pretraining(run: Path, folder: Path) -> float:
    """Tokens per second of the first steps of the run's base model."""
    settings = json.loads((run / "run.json").read_text())["settings"]
    shutil.copytree("config", folder / "config")
    path = folder / "config" / "scales" / f"{settings['scale']}.yaml"
    scale = yaml.safe_load(path.read_text())
    scale["bases"][settings["model"]]["steps"] = BASE_STEPS
    path.write_text(yaml.safe_dump(scale))
    rows = Path("resources/rows") / settings["dataset"] / "manifest.json"
    options = ("--scale", settings["scale"], "--rows", rows, "--config", folder / "config")
    output = r1zero("pretrain", settings["model"], *options, "--out", folder / "base")
    return float(re.findall(r"tokens/s=(\d+)", output)[-1])


def pipeline(run: Path, folder: Path, steps: int) -> list[dict[str, Any]]:
    """Metrics of each step of the pipeline's own trainer."""
    config = short_config(run, folder, steps)
    plan = json.loads((run / "plan" / "plan.json").read_text())
    rendered = str(run / "plan" / "config" / "trl.yaml")
    # The programs of the environment may be missing in PATH.
    program, *arguments = plan["processes"][-1]["argv"]
    command = [str(Path(sys.executable).with_name(program)), *arguments]
    command = [str(config) if word == rendered else word for word in command]
    subprocess.run(command, env=ENVIRONMENT, check=True, capture_output=True)
    lines = (folder / "output" / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def by_hand(run: Path, folder: Path, steps: int) -> list[dict[str, Any]]:
    """Metrics of each step as `trl grpo` prints them."""
    command = [sys.executable, "-m", "trl.cli.main", "grpo"]
    command += ["--config", str(short_config(run, folder, steps, processes=1))]
    environment = ENVIRONMENT | {VARIABLE: str(run / "run.json")}
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    rows = [ast.literal_eval(line) for line in done.stdout.splitlines() if "'step_time'" in line]
    return [{key: float(value) for key, value in row.items()} for row in rows]


def short_config(run: Path, folder: Path, steps: int, processes: int | None = None) -> Path:
    """The run's trl.yaml with a few steps and without checkpoints.

    With another number of processes the batch of a step stays what it is.
    """
    config = yaml.safe_load((run / "plan" / "config" / "trl.yaml").read_text())
    config |= {"max_steps": steps, "save_strategy": "no", "output_dir": str(folder / "output")}
    if processes:
        planned = json.loads((run / "plan" / "plan.json").read_text())["trainers"]
        for key in ("gradient_accumulation_steps", "steps_per_generation"):
            config[key] = config[key] * planned // processes
    (folder / "output").mkdir()
    path = folder / "trl.yaml"
    path.write_text(yaml.safe_dump(config, allow_unicode=True))
    return path


def median_step(rows: list[dict[str, Any]]) -> float:
    """Median seconds of a step, the first left out."""
    return statistics.median(row["step_time"] for row in rows[1:])


def rates(run: Path, rows: list[dict[str, Any]]) -> tuple[float, float]:
    """Tokens per second of rollouts (completions alone) and of updates (prompts too)."""
    completions = json.loads((run / "plan" / "plan.json").read_text())["completions_per_step"]
    steps = rows[1:]
    generated = sum(row["completions/mean_length"] * completions for row in steps)
    trained = rows[-1]["num_tokens"] - rows[0]["num_tokens"]
    rollout = sum(row["time/rollout"] for row in steps)
    return generated / rollout, trained / (sum(row["step_time"] for row in steps) - rollout)


def evaluation_ratio(run: Path, folder: Path) -> float:
    """CPU time of the evaluations of all checkpoints, by that of generating as many tokens.

    The second is that of one process that samples all problems of each checkpoint in one batch.
    """
    model = json.loads((run / "model.json").read_text())
    settings = model["settings"]
    problems = Path("resources/problems") / settings["dataset"] / settings["prompt"]
    steps = [0, *(checkpoint["step"] for checkpoint in model["checkpoints"])]
    started, tokens = children_seconds(), 0
    for step in steps:
        out = folder / f"step{step}.json"
        options = ("--step", step, "--suite", settings["dataset"], "--gpus", 0, "--out", out)
        r1zero("evaluate", run / "model.json", *options, "--problems", problems / "manifest.json")
        tokens += json.loads(out.read_text())["tokens"]
    evaluations = children_seconds() - started
    seconds, generated = sampling(model, problems)
    return (evaluations / tokens) / (seconds / generated)


def sampling(model: dict[str, Any], problems: Path) -> tuple[float, int]:
    """CPU seconds and tokens of sampling the problems of a suite with every checkpoint."""
    import torch

    from r1zero.data.problems import read_problems
    from r1zero.evaluate.text import Tokens
    from r1zero.sampling import sample
    from r1zero.sampling.qwen3 import Qwen3

    settings = model["settings"]
    evaluation = settings["evaluation"]
    torch.set_num_threads(settings["computation"]["evaluate"]["threads"])
    test = json.loads((problems / "manifest.json").read_text())["files"]["test"]["path"]
    rows = read_problems(problems / test, evaluation["max_problems"])
    seconds, generated = 0.0, 0
    for entry in (model["base_model"], *model["checkpoints"]):
        weights, tokens = Qwen3.read(Path(entry["path"])), Tokens(Path(entry["path"]))
        assert weights is not None
        prompts = tokens.encode(
            [row["prompt"] for row in rows for _ in range(evaluation["n_samples"])]
        )
        started = time.process_time()
        drawn = sample(
            weights,
            prompts,
            max_new_tokens=settings["sizes"]["max_completion_length"],
            eos=tokens.stop_token_ids,
            pad=tokens.pad,
            temperature=evaluation["temperature"],
            top_p=evaluation["top_p"],
        )
        seconds += time.process_time() - started
        generated += sum(map(len, drawn))
    return seconds, generated


def r1zero(*arguments: object) -> str:
    """Run one stage, and return what it printed."""
    command = [sys.executable, "-m", "r1zero", *map(str, arguments)]
    done = subprocess.run(command, env=ENVIRONMENT, check=True, capture_output=True, text=True)
    return done.stdout


def children_seconds() -> float:
    """CPU seconds of all processes that this one has started and awaited."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
