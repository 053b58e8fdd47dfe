"""The number of processes and passes changes how a step is computed, not what: by running it.

Completions are given. Those that are sampled can't agree, since each process draws from a random
stream of its own, and a pass of other shapes rounds otherwise. `pytest -s` prints the table.
"""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import yaml
from safetensors.torch import load_file

from fixed_completions import FLAT, PROMPTS
from r1zero.train.backends.trl.scoring import load_scorer
from reference_server import serving
from tiny import ENVIRONMENT, REPOSITORY

pytestmark = pytest.mark.slow

SCRIPT = REPOSITORY / "tests" / "helpers" / "fixed_completions.py"
COMPLETIONS, GROUP, STEPS = 16, 4, 4
# Every third problem is one whose rewards are all equal.
SOME_FLAT = [
    f"{'and' if number % 3 else FLAT} {number} {prompt}"
    for number in range(9)
    for prompt in PROMPTS
]


class Layout(NamedTuple):
    """A layout of the run, and what it does with zero-variance groups."""

    processes: int
    passes: int
    """Passes of each process behind one step."""
    zero_stage: int = 0
    zero_variance_groups: str = "keep"
    loss_type: str = "grpo"

    @property
    def name(self) -> str:
        return "-".join(map(str, self))


# The last ones cut a group over passes.
KEEP = [Layout(1, 1), Layout(1, 2), Layout(1, 4), Layout(2, 1), Layout(2, 2)]
CUT = [Layout(1, 8), Layout(1, 16), Layout(2, 4)]
# A mean over completions, and one over tokens.
DROP, RESAMPLE = (
    [Layout(*layout, 0, groups, loss) for layout in ((1, 1), (1, 8), (2, 4))]
    for groups, loss in (("drop", "grpo"), ("resample", "dapo"))
)
SHARDED = [Layout(2, 2, 2), Layout(2, 2, 3)]


def options(base: Path, out: Path, layout: Layout) -> dict[str, Any]:
    """Four steps of 16 completions, for the script."""
    config = {
        "output_dir": str(out / "checkpoints"),
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "report_to": "none",
        "disable_tqdm": True,
        "save_strategy": "no",
        "logging_steps": 1,
        "per_device_train_batch_size": COMPLETIONS // layout.processes // layout.passes,
        "gradient_accumulation_steps": layout.passes,
        "steps_per_generation": layout.passes,
        "num_generations": GROUP,
        "max_completion_length": 24,
        "max_steps": STEPS,
        "learning_rate": 1e-3,
        "lr_scheduler_type": "constant",
        "adam_epsilon": 1e-5,  # the usual 1e-8 turns rounding of gradients near 0 into whole steps
        "loss_type": layout.loss_type,
        "scale_rewards": "group",
        "beta": 0.04,
        "temperature": 1.0,
        "top_k": 0,
        "seed": 5,
        "model_init_kwargs": {"dtype": "float32", "attn_implementation": "eager"},
    }
    return {
        "base": str(base),
        "out": str(out),
        "prompts": PROMPTS * 3 if layout.zero_variance_groups == "keep" else SOME_FLAT,
        "config": config,
        "zero_variance_groups": layout.zero_variance_groups,
    }


def train(base: Path, folder: Path, layouts: list[Layout]) -> None:
    """Train several layouts of as many processes and one ZeRO stage, one after the other."""
    run(layouts[0], folder, [options(base, folder / each.name, each) for each in layouts])


def run(layout: Layout, folder: Path, runs: list[dict[str, Any]]) -> None:
    """Run the script in the processes of a layout, on the options of some trainings."""
    processes, _, stage, *_ = layout
    if stage:
        path = folder / f"zero{stage}.yaml"
        path.write_text(
            yaml.safe_dump(
                {
                    "compute_environment": "LOCAL_MACHINE",
                    "distributed_type": "DEEPSPEED",
                    "deepspeed_config": {
                        "zero_stage": stage,
                        "gradient_accumulation_steps": layout.passes,
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
        [sys.executable, *launcher, str(SCRIPT), json.dumps(runs)],
        env=ENVIRONMENT | {"PYTHONPATH": str(SCRIPT.parent), "DS_ACCELERATOR": "cpu"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=600,
    )
    assert result.returncode == 0, result.stdout[-3000:]


@pytest.fixture(scope="module")
def trained(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a record and weights of each layout without sharding, by its name."""
    folder = tmp_path_factory.mktemp("layouts")
    layouts = [*KEEP, *CUT, *DROP, *RESAMPLE]
    for processes in (1, 2):
        train(base, folder, [each for each in layouts if each.processes == processes])
    return folder


def flat(folder: Path) -> torch.Tensor:
    """All weights of a model in one row; DeepSpeed writes a tied head a second time."""
    weights = load_file(folder / "model.safetensors")
    names = sorted(name for name in weights if name != "lm_head.weight")
    return torch.cat([weights[name].float().flatten() for name in names])


def record(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "record.json").read_text())
    return found


def compare(base: Path, folder: Path, first: Layout, others: list[Layout]) -> list[int]:
    """Hold layouts against the first; returns how many problems each step of it drew."""
    wanted, weights = record(folder / first.name), flat(folder / first.name)
    moved = (weights - flat(base)).norm().item()
    assert moved > 0.01
    print(f"\nfour steps of {COMPLETIONS} given completions; the weights moved by {moved:.4f}")
    print("processes  passes  ZeRO  problems  largest difference of gradient norm   of weights")
    for layout in others:
        found = record(folder / layout.name)
        # Several processes draw whole batches again, so only the first draws are alike.
        same = layout.zero_variance_groups == "resample" or found["asked"] == wanted["asked"]
        norms = [
            abs(one[1] - other[1]) / other[1]
            for one, other in zip(found["history"], wanted["history"], strict=True)
        ]
        difference = (flat(folder / layout.name) - weights).norm().item() / moved
        print(
            f"{layout.processes:9}  {layout.passes:6}  {layout.zero_stage:4}  "
            f"{'same' if same else 'OTHER':8}  {max(norms):35.1e}  {difference:11.1e}"
        )
        assert same, "another order of problems"
        assert len(found["history"]) == STEPS
        assert max(norms) < 1e-4
        assert difference < 1e-3
    return [len(prompts) // GROUP for prompts in wanted["asked"]]


def test_processes_and_passes_compute_the_same_steps(base: Path, trained: Path) -> None:
    assert compare(base, trained, KEEP[0], KEEP[1:]) == [4] * STEPS


def test_a_group_that_is_cut_into_passes_has_the_same_gradient(base: Path, trained: Path) -> None:
    assert all(COMPLETIONS // each.processes // each.passes < GROUP for each in CUT)
    compare(base, trained, KEEP[0], CUT)


@pytest.mark.parametrize("layouts", [DROP, RESAMPLE], ids=["drop", "resample"])
def test_zero_variance_groups_are_treated_alike(
    base: Path, trained: Path, layouts: list[Layout]
) -> None:
    drawn = compare(base, trained, layouts[0], layouts[1:])
    assert (sum(drawn) > 4 * STEPS) == (layouts[0].zero_variance_groups == "resample")


@pytest.mark.skipif(not importlib.util.find_spec("deepspeed"), reason="DeepSpeed is not installed")
@pytest.mark.parametrize("layout", SHARDED, ids=["ZeRO-2", "ZeRO-3"])
def test_sharding_computes_the_same_steps(base: Path, trained: Path, layout: Layout) -> None:
    train(base, trained, [layout])
    compare(base, trained, KEEP[0], [layout])


@pytest.mark.parametrize(
    "layout", [Layout(1, 2), Layout(2, 2), *SHARDED], ids=lambda each: each.name
)
def test_a_reference_model_on_a_server_changes_no_bit(
    base: Path, tmp_path: Path, layout: Layout
) -> None:
    if layout.zero_stage and not importlib.util.find_spec("deepspeed"):
        pytest.skip("DeepSpeed is not installed")
    # With DeepSpeed a trainer computes without buckets.
    score = load_scorer(base, "float32", "float32", 1.0, bucketed=not layout.zero_stage)
    local, remote = tmp_path / "local", tmp_path / "remote"
    with serving(base, backend="trl", score=score) as address:
        asks = options(base, remote, layout) | {"reference": address}
        run(layout, tmp_path, [options(base, local, layout), asks])
    found, wanted = record(remote), record(local)
    assert found["history"] == wanted["history"]
    # The last steps are away from the reference model.
    assert found["history"][-1][3] > 0
    assert torch.equal(flat(remote), flat(local))
