"""The stages of scale mini on a GPU, as programs: from rows to the evaluation of the last step."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import yaml

from r1zero.core.files import cost_file, read_json
from r1zero.settings.load import CONFIG_FOLDER

RECIPE, BASE, DATASET, PROMPT = (
    "datawhale_r1",
    "mini_countdown",
    "countdown_3",
    "countdown_datawhale",
)
LARGE_BASE = "gpu_base"
Device = Literal["cpu", "cuda"]
Stage = Callable[..., None]
"""Runs `r1zero` with some arguments."""

# A Qwen3 of 51 million parameters, as large as a minute or two of a GPU allow.
_LARGE = {
    "hidden_size": 512,
    "num_hidden_layers": 12,
    "num_attention_heads": 8,
    "num_key_value_heads": 8,
    "intermediate_size": 2048,
    "steps": 300,
    "tokens_per_step": 32768,
    "muon_learning_rate": 0.02,
    "adam_learning_rate": 0.002,
}
_TINY = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "intermediate_size": 16,
    "steps": 5,
    "tokens_per_step": 1024,
}


def write_config(folder: Path, *, tiny: bool, source: Path = CONFIG_FOLDER) -> Path:
    """A copy of the configuration whose scale mini runs on any device, with the large base.

    Args:
        folder: Folder to write.
        tiny: Whether all sizes are the smallest, for a dress rehearsal.
        source: The configuration.

    """
    shutil.copytree(source, folder)
    with _edited(folder / "scales" / "mini.yaml") as scale:
        scale["device"] = "any"
        base = scale["bases"][BASE]
        scale["bases"][LARGE_BASE] = base | _LARGE
        if not tiny:
            return folder
        scale["computation"] = {}
        for each in (BASE, LARGE_BASE):
            scale["bases"][each] |= _TINY
        task = scale["tasks"]["countdown"]
        task["sizes"] |= {
            "max_steps": 2,
            "save_steps": 2,
            "prompts_per_step": 2,
            "max_completion_length": 24,
        }
        task["evaluation"] |= {"max_problems": 8}
    with _edited(folder / "sources.yaml") as sources:
        sources["datasets"][DATASET] |= {"train": 64, "test": 12}
    return folder


@contextmanager
def _edited(path: Path) -> Iterator[dict[str, Any]]:
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    try:
        yield content
    finally:
        path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


def make_problems(stage: Stage, work: Path, config: Path) -> Path:
    """Draw the rows and problems of Countdown unless they are there; folder of all of them."""
    if not (work / "problems" / "manifest.json").is_file():
        table = config / "sources.yaml"
        stage("sources", "dataset", DATASET, "--table", table, "--out", work / "dataset")
        stage("data", "rows", work / "dataset" / "manifest.json", "--out", work / "rows")
        rows = work / "rows" / "manifest.json"
        stage("data", "problems", rows, "--prompt", PROMPT, "--out", work / "problems")
    return work


def pretrain(
    stage: Stage, work: Path, config: Path, device: Device, base: str = BASE
) -> dict[str, Any]:
    """Pre-train a base on the device."""
    make_problems(stage, work, config)
    out = work / base
    stage(
        *("pretrain", base, "--scale", "mini", "--config", config, "--device", device),
        *("--rows", work / "rows" / "manifest.json", "--out", out),
    )
    made = read_json(out / "manifest.json")
    seconds = read_json(cost_file(out))["seconds"]
    settings = made["settings"]
    tokens = settings["steps"] * settings["tokens_per_step"]
    return {
        "parameters": made["parameters"],
        "loss": made["loss"],
        "seconds": seconds,
        "tokens_per_second": round(tokens / seconds, 1),
    }


def end_to_end(stage: Stage, work: Path, config: Path, device: Device) -> dict[str, Any]:
    """Pre-train, plan, train and evaluate the recipe; accuracy before and after."""
    base = pretrain(stage, work, config, device)
    run, plan = work / "run.json", work / "plan"
    problems = work / "problems" / "manifest.json"
    model = work / BASE / "manifest.json"
    stage(
        *("resolve", RECIPE, "--config", config, "--problems", problems, "--model", model),
        *("--out", run),
    )
    gpus = 1 if device == "cuda" else 0
    # `auto` looks for vLLM; one GPU is visible at most.
    hardware = json.dumps({"gpus": "auto" if gpus else 0})
    checkpoints = work / "checkpoints"
    stage("layout", run, "--hardware", hardware, "--checkpoints", checkpoints, "--out", plan)
    stage(
        *("train", run, "--plan", plan, "--checkpoints", checkpoints, "--gpus", gpus),
        *("--out", work / "model.json"),
    )
    trained = read_json(work / "model.json")
    steps = [0, trained["checkpoints"][-1]["step"]]
    measured = []
    for step in steps:
        out = work / f"step{step}.json"
        stage(
            *("evaluate", work / "model.json", "--step", step, "--suite", DATASET),
            *("--problems", problems, "--gpus", gpus, "--out", out),
        )
        measured.append(read_json(out))
    planned = read_json(plan / "plan.json")
    lines = (work / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return {
        "base": base,
        "layout": {
            key: planned[key]
            for key in ("placement", "gpus", "trainers", "compute_dtype", "weights_dtype")
        },
        "steps": steps[1],
        "train_seconds": trained["train_seconds"],
        "seconds_per_step": round(sum(row["step_time"] for row in rows) / len(rows), 3),
        "generated_tokens": trained["generated_tokens"],
        "accuracy": {
            str(step): each["metrics"]["accuracy"]
            for step, each in zip(steps, measured, strict=True)
        },
        "evaluation": {
            "engine": measured[-1]["engine"],
            "tokens_per_second": measured[-1]["tokens_per_second"],
        },
    }
