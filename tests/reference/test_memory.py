"""What a reference model on a server frees in the trainer. `pytest -s` prints the table."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig, AutoModelForCausalLM

from reference_server import serving
from tiny import ENVIRONMENT, REPOSITORY

SCRIPT = REPOSITORY / "tests" / "helpers" / "fixed_completions.py"


def trained(model: Path, out: Path, reference: str | None) -> dict[str, Any]:
    """Three steps of given completions in a process of its own; its record."""
    config = {
        "output_dir": str(out / "checkpoints"),
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "report_to": "none",
        "disable_tqdm": True,
        "save_strategy": "no",
        "logging_steps": 1,
        "per_device_train_batch_size": 8,
        "num_generations": 4,
        "max_completion_length": 24,
        "max_steps": 3,
        "learning_rate": 1e-4,
        "beta": 0.04,
        "temperature": 1.0,
        "top_k": 0,
        "model_init_kwargs": {"dtype": "float32", "attn_implementation": "eager"},
    }
    run = {
        "base": str(model),
        "out": str(out),
        "prompts": ["1 2 3", "make 24 of 4 4 8"] * 3,
        "config": config,
        "zero_variance_groups": "keep",
        "reference": reference,
    }
    subprocess.run(
        [sys.executable, str(SCRIPT), json.dumps([run])],
        env=ENVIRONMENT | {"PYTHONPATH": str(SCRIPT.parent)},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    found: dict[str, Any] = json.loads((out / "record.json").read_text())
    return found


@pytest.mark.slow
def test_a_trainer_is_smaller_by_the_reference_model(model: Path, tmp_path: Path) -> None:
    large = tmp_path / "large"
    config = AutoConfig.from_pretrained(model)
    config.update({"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 2})
    AutoModelForCausalLM.from_config(config).save_pretrained(large)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (large / name).write_bytes((model / name).read_bytes())
    local = trained(large, tmp_path / "local", None)
    with serving(large, backend="trl") as address:
        remote = trained(large, tmp_path / "remote", address)
    assert remote["history"] == local["history"]
    size = (large / "model.safetensors").stat().st_size
    freed = (local["peak"] - remote["peak"]) * 1024
    print(
        "\n| reference model | peak of the trainer | seconds of the last steps |\n|---|---:|---:|"
    )
    for name, found in (("in the trainer", local), ("on a server", remote)):
        steps = ", ".join(f"{each:.2f}" for each in found["seconds"][1:])
        print(f"| {name} | {found['peak'] / 1024:.0f} MiB | {steps} |")
    print(f"freed: {freed / 2**20:.0f} MiB; the reference model: {size / 2**20:.0f} MiB")
    assert 0.8 * size < freed < 1.2 * size
