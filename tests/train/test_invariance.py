"""The number of processes and passes changes how a step is computed, not what: by running it.

Completions are given. Those that are sampled can't agree, since each process draws from a random
stream of its own, and a pass of other shapes rounds otherwise. `pytest -s` prints the table.
"""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from fixed_completions import FLAT, PROMPTS
from tiny import ENVIRONMENT, REPOSITORY

pytestmark = pytest.mark.slow

SCRIPT = REPOSITORY / "tests" / "helpers" / "fixed_completions.py"
COMPLETIONS, STEPS = 16, 4
# Processes, passes of each behind one step, ZeRO stage.
LAYOUTS = [(1, 1, 0), (1, 2, 0), (1, 4, 0), (2, 1, 0), (2, 2, 0)]
# A pass has fewer completions than a group.
CUT_GROUPS = [(1, 8, 0), (1, 16, 0), (2, 4, 0)]
SHARDED = [(2, 2, 2), (2, 2, 3)]
GROUP = 4
# Every third problem is one whose rewards are all equal.
SOME_FLAT = [
    f"{'and' if number % 3 else FLAT} {number} {prompt}"
    for number in range(9)
    for prompt in PROMPTS
]


def train(
    base: Path,
    out: Path,
    processes: int,
    passes: int,
    stage: int,
    *,
    zero_variance_groups: str = "keep",
    loss_type: str = "grpo",
) -> dict[str, Any]:
    """Four steps of 16 completions; returns the record and the weights."""
    config = {
        "output_dir": str(out / "checkpoints"),
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "report_to": "none",
        "disable_tqdm": True,
        "save_strategy": "no",
        "logging_steps": 1,
        "per_device_train_batch_size": COMPLETIONS // processes // passes,
        "gradient_accumulation_steps": passes,
        "steps_per_generation": passes,
        "num_generations": GROUP,
        "max_completion_length": 24,
        "max_steps": STEPS,
        "learning_rate": 1e-3,
        "lr_scheduler_type": "constant",
        "adam_epsilon": 1e-5,  # the usual 1e-8 turns rounding of gradients near 0 into whole steps
        "loss_type": loss_type,
        "scale_rewards": "group",
        "beta": 0.04,
        "temperature": 1.0,
        "top_k": 0,
        "seed": 5,
        "model_init_kwargs": {"dtype": "float32", "attn_implementation": "eager"},
    }
    options = {
        "base": str(base),
        "out": str(out),
        "prompts": PROMPTS * 3 if zero_variance_groups == "keep" else SOME_FLAT,
        "config": config,
        "zero_variance_groups": zero_variance_groups,
    }
    if stage:
        path = out.parent / f"zero{stage}.yaml"
        path.write_text(
            yaml.safe_dump(
                {
                    "compute_environment": "LOCAL_MACHINE",
                    "distributed_type": "DEEPSPEED",
                    "deepspeed_config": {
                        "zero_stage": stage,
                        "gradient_accumulation_steps": passes,
                        "offload_optimizer_device": "none",
                        "offload_param_device": "none",
                        "zero3_init_flag": False,
                        "zero3_save_16bit_model": stage == 3,
                    },
                    "num_machines": 1,
                    "num_processes": processes,
                    "mixed_precision": "no",
                    "use_cpu": True,
                }
            )
        )
        launcher = ["-m", "accelerate.commands.launch", "--config_file", str(path)]
    else:
        launcher = ["-m", "torch.distributed.run", "--standalone"]
        launcher += ["--nproc-per-node", str(processes)]
    result = subprocess.run(
        [sys.executable, *launcher, str(SCRIPT), json.dumps(options)],
        env=ENVIRONMENT | {"PYTHONPATH": str(SCRIPT.parent), "DS_ACCELERATOR": "cpu"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=600,
    )
    assert result.returncode == 0, result.stdout[-3000:]
    record: dict[str, Any] = json.loads((out / "record.json").read_text())
    return record | {"weights": flat(out)}


def flat(folder: Path) -> torch.Tensor:
    """All weights of a model in one row; DeepSpeed writes a tied head a second time."""
    weights = load_file(folder / "model.safetensors")
    names = sorted(name for name in weights if name != "lm_head.weight")
    return torch.cat([weights[name].float().flatten() for name in names])


def compare(
    base: Path, folder: Path, layouts: list[tuple[int, int, int]], **options: str
) -> list[int]:
    """Hold layouts against the first; returns how many problems each step of it drew."""
    begun = flat(base)
    first = train(base, folder / "first", *LAYOUTS[0], **options)
    moved = (first["weights"] - begun).norm().item()
    assert moved > 0.01
    print(f"\nfour steps of {COMPLETIONS} given completions; the weights moved by {moved:.4f}")
    print("processes  passes  ZeRO  problems  largest difference of gradient norm   of weights")
    for processes, passes, stage in layouts:
        out = folder / f"{processes}-{passes}-{stage}"
        found = train(base, out, processes, passes, stage, **options)
        # Several processes draw whole batches again, so only the first draws are alike.
        same = "resample" in options.values() or found["asked"] == first["asked"]
        norms = [
            abs(one[1] - other[1]) / other[1]
            for one, other in zip(found["history"], first["history"], strict=True)
        ]
        weights = (found["weights"] - first["weights"]).norm().item() / moved
        print(
            f"{processes:9}  {passes:6}  {stage:4}  {'same' if same else 'OTHER':8}  "
            f"{max(norms):35.1e}  {weights:11.1e}"
        )
        assert same, "another order of problems"
        assert len(found["history"]) == STEPS
        assert max(norms) < 1e-4
        assert weights < 1e-3
    return [len(prompts) // GROUP for prompts in first["asked"]]


def test_processes_and_passes_compute_the_same_steps(base: Path, tmp_path: Path) -> None:
    assert compare(base, tmp_path, LAYOUTS[1:]) == [4] * STEPS


def test_a_group_that_is_cut_into_passes_has_the_same_gradient(base: Path, tmp_path: Path) -> None:
    assert all(COMPLETIONS // processes // passes < GROUP for processes, passes, _ in CUT_GROUPS)
    compare(base, tmp_path, CUT_GROUPS)


# A mean over completions, and one over tokens.
@pytest.mark.parametrize(
    ("zero_variance_groups", "loss_type"), [("drop", "grpo"), ("resample", "dapo")]
)
def test_zero_variance_groups_are_treated_alike(
    base: Path, tmp_path: Path, zero_variance_groups: str, loss_type: str
) -> None:
    options = {"zero_variance_groups": zero_variance_groups, "loss_type": loss_type}
    drawn = compare(base, tmp_path, [(1, 8, 0), (2, 4, 0)], **options)
    assert (sum(drawn) > 4 * STEPS) == (zero_variance_groups == "resample")


@pytest.mark.skipif(not importlib.util.find_spec("deepspeed"), reason="DeepSpeed is not installed")
def test_sharding_computes_the_same_steps(base: Path, tmp_path: Path) -> None:
    compare(base, tmp_path, SHARDED)
