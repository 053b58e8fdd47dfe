"""Runs that are planned for GPUs and trained on a CPU, with the CPU build of vLLM."""

import json
import subprocess
from pathlib import Path
from typing import Any

from tabulate import tabulate

from tiny import DATASET, RECIPE, Run, edited, stage

# Optimizer steps of the tiny runs.
STEPS = 4

LAYOUTS = {
    "colocate": {"gpus": 1, "placement": "colocate"},
    "server": {"gpus": 2, "placement": "server"},
}


class Tables:
    """What the tests measured, printed when all have ended."""

    def __init__(self) -> None:
        self.runs: list[tuple[object, ...]] = []
        self.deaths: list[tuple[object, ...]] = []
        self.accuracies: list[tuple[object, ...]] = []

    def __str__(self) -> str:
        runs = ("run", "processes", "ZeRO", "result", "log-probability difference")
        deaths = ("death", "status", "processes left", "ports held", "log named", "seconds")
        accuracies = ("run of scale mini", "held-out accuracy of the base", "at the end")
        found = (self.runs, runs), (self.deaths, deaths), (self.accuracies, accuracies)
        return "".join(f"\n{tabulate(rows, headers)}\n" for rows, headers in found if rows)


class Lane:
    """Runs that are planned for GPUs and trained on the CPU."""

    def __init__(self, folder: Path, config: Path, task: Path, base: Path, env: dict[str, str]):
        self.folder, self.config, self.task, self.base, self.env = folder, config, task, base, env

    def plan(
        self, gpus: int, name: str = "run", zero: int = 0, seed: int = 0, **hardware: Any
    ) -> Run:
        """Lay a run out; then what keeps it from a CPU is changed in the files of its plan."""
        run = Run(self.folder / name)
        inputs = ("--config", self.config, "--problems", self.task, "--model", self.base)
        stage("resolve", RECIPE, *inputs, "--seed", seed, "--out", run.file)
        described = json.dumps(
            {"gpus": gpus, **({"gpu_memory_gb": 80} if gpus else {}), **hardware}
        )
        places = ("--checkpoints", run.checkpoints, "--out", run.plan)
        stage("layout", run.file, "--hardware", described, *places)
        with edited(run.plan / "config" / "trl.yaml") as trl:
            trl |= {"bf16": False, "use_cpu": True, "attn_implementation": "eager"}
        with edited(run.plan / "config" / "accelerate.yaml") as accelerate:
            accelerate |= {"use_cpu": True, "mixed_precision": "no"}
            if zero:
                passes = trl["gradient_accumulation_steps"]
                accelerate |= {
                    "distributed_type": "DEEPSPEED",
                    "deepspeed_config": {
                        "zero_stage": zero,
                        "gradient_accumulation_steps": passes,
                        "gradient_clipping": "auto",
                        "offload_optimizer_device": "none",
                        "offload_param_device": "none",
                        "zero3_init_flag": zero == 3,
                        "zero3_save_16bit_model": zero == 3,
                    },
                }
        return run

    def env_with(self, gpus: int) -> dict[str, str]:
        """Variables that name as many GPUs; none is used."""
        return self.env | {"CUDA_VISIBLE_DEVICES": ",".join(map(str, range(gpus)))}

    def start(self, run: Run, **variables: str) -> "subprocess.Popen[bytes]":
        """`r1zero train` in a session of its own, its output in a file."""
        gpus = json.loads((run.plan / "plan.json").read_text())["gpus"]
        options = [str(gpus) if option == 0 else str(option) for option in run.options]
        with (run.folder / "output.log").open("ab") as stream:
            return subprocess.Popen(
                [self.env["PYTHON"], "-m", "r1zero", "train", *options],
                stdout=stream,
                stderr=subprocess.STDOUT,
                env=self.env_with(gpus) | variables,
                start_new_session=True,
            )

    def evaluate(self, run: Run, step: int, gpus: int) -> dict[str, Any]:
        """Result of `r1zero evaluate` unless it is there, with the engine it chooses for GPUs."""
        out = run.folder / "evaluations" / f"step{step}.json"
        if not out.is_file():
            measured = ("--suite", DATASET, "--problems", self.task, "--step", step)
            command = ("evaluate", run.model, *measured, "--gpus", gpus, "--out", out)
            python = [self.env["PYTHON"], "-m", "r1zero"]
            subprocess.run([*python, *map(str, command)], env=self.env_with(gpus), check=True)
        result: dict[str, Any] = json.loads(out.read_text())
        assert result["engine"].startswith("vllm" if gpus else "transformers")
        return result

    def train(self, run: Run, **variables: str) -> str:
        """Train to the end; returns what was said."""
        status = self.start(run, **variables).wait(timeout=400)
        output = (run.folder / "output.log").read_text()
        assert status == 0, output[-4000:]
        return output
