"""Step time of the pipeline's training against TRL's own `trl grpo`, on one machine, by turns.

Both read the same rendered `trl.yaml`: same model, problems, seed and settings. Each round trains a
few steps with one, then with the other; the first step of each, which warms up, is left out.

    python scripts/bench_train.py --run results/mini/datawhale_r1/trl/seed0
"""

import argparse
import ast
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from r1zero.core.provenance import usable_cores
from r1zero.rewards.trl_plugin import VARIABLE

ENVIRONMENT = {
    **os.environ,
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "OMP_NUM_THREADS": str(usable_cores()),
    "TRL_EXPERIMENTAL_SILENCE": "1",
}


def main() -> None:
    """Run the rounds and print a table; exit with status 1 above the allowed ratio."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--run", type=Path, required=True, help="Folder with run.json and plan/.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--allowed-ratio", type=float, default=1.02)
    options = parser.parse_args()

    layout = json.loads((options.run / "plan" / "plan.json").read_text())
    completions = layout["completions_per_step"]
    print("round  pipeline s/step  trl grpo s/step  ratio  rollout tokens/s  update tokens/s")
    ratios = []
    for number in range(1, options.rounds + 1):
        with tempfile.TemporaryDirectory() as folder:
            ours = pipeline(options.run, Path(folder), options.steps)
        with tempfile.TemporaryDirectory() as folder:
            theirs = by_hand(options.run, Path(folder), options.steps)
        mine, other = median_step(ours), median_step(theirs)
        ratios.append(mine / other)
        rollout, update = rates(ours, completions)
        print(
            f"{number:5}  {mine:15.2f}  {other:15.2f}  {mine / other:5.3f}  "
            f"{rollout:16.0f}  {update:15.0f}",
            flush=True,
        )
    median = statistics.median(ratios)
    print(f"median ratio {median:.3f} (allowed: {options.allowed_ratio})")
    sys.exit(median > options.allowed_ratio)


def pipeline(run: Path, folder: Path, steps: int) -> list[dict[str, Any]]:
    """Metrics of each step of the pipeline's own trainer."""
    config = short_config(run, folder, steps)
    command = [
        *(sys.executable, "-m", "accelerate.commands.launch"),
        *("--config_file", str(run / "plan" / "config" / "accelerate.yaml")),
        *("-m", "r1zero.train.backends.trl.entrypoint", str(run / "run.json"), str(config)),
    ]
    subprocess.run(command, env=ENVIRONMENT, check=True, capture_output=True)
    lines = (folder / "output" / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def by_hand(run: Path, folder: Path, steps: int) -> list[dict[str, Any]]:
    """Metrics of each step as `trl grpo` prints them."""
    command = [sys.executable, "-m", "trl.cli.main", "grpo"]
    command += ["--config", str(short_config(run, folder, steps))]
    environment = ENVIRONMENT | {VARIABLE: str(run / "run.json")}
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    rows = [ast.literal_eval(line) for line in done.stdout.splitlines() if "'step_time'" in line]
    return [{key: float(value) for key, value in row.items()} for row in rows]


def short_config(run: Path, folder: Path, steps: int) -> Path:
    """The run's trl.yaml with a few steps and without checkpoints."""
    config = yaml.safe_load((run / "plan" / "config" / "trl.yaml").read_text())
    config |= {"max_steps": steps, "save_strategy": "no", "output_dir": str(folder / "output")}
    (folder / "output").mkdir()
    path = folder / "trl.yaml"
    path.write_text(yaml.safe_dump(config, allow_unicode=True))
    return path


def median_step(rows: list[dict[str, Any]]) -> float:
    """Median seconds of a step, the first left out."""
    return statistics.median(row["step_time"] for row in rows[1:])


def rates(rows: list[dict[str, Any]], completions: int) -> tuple[float, float]:
    """Tokens per second of rollouts (completions alone) and of updates (prompts too)."""
    steps = rows[1:]
    generated = sum(row["completions/mean_length"] * completions for row in steps)
    trained = rows[-1]["num_tokens"] - rows[0]["num_tokens"]
    rollout = sum(row["time/rollout"] for row in steps)
    return generated / rollout, trained / (sum(row["step_time"] for row in steps) - rollout)


if __name__ == "__main__":
    main()
