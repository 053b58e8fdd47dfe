"""Trainings of the backend `split`: what they leave, cut off and resumed, in several processes."""

import json
import random
import shutil
import subprocess
import sys
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
import yaml
from safetensors.torch import load_file

from kills import check_it_ended_like, finish, kill_at_checkpoint, kill_five_times
from r1zero.core.errors import UserError
from r1zero.plan.backend import check_backend
from r1zero.settings.run import RunSettings
from r1zero.train import metrics
from r1zero.train.backends.split.rollouts import RolloutWorker, problem_order
from r1zero.train.checkpoints import sealed
from tiny import ENVIRONMENT, Run, edited, make_run

STEPS = 6


@pytest.fixture(scope="module")
def whole(
    slow_config: Path,
    tiny_task: Path,
    slow_base: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Run:
    """A training of six steps without a break."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    return finish(make_run(folder, slow_config, tiny_task, slow_base, backend="split"))


@pytest.mark.slow
def test_a_training_leaves_the_files_of_every_backend(whole: Run) -> None:
    rows = metrics.read(whole.folder / "metrics.jsonl")
    assert [row["step"] for row in rows] == list(range(1, STEPS + 1))
    for row in rows:
        assert {"loss", "learning_rate", "step_time", "kl", "rollouts/age"} <= row.keys()
        assert {"completions/mean_length", "completions/tokens_of_all_draws"} <= row.keys()
        assert row["rollouts/age"] == 0
        assert row["grad_norm"] > 0
    rollouts = pl.read_parquet(whole.folder / "rollouts.parquet")
    settings = json.loads(whole.file.read_text())["settings"]
    at_once = settings["sizes"]["prompts_per_step"] * settings["algorithm"]["num_generations"]
    assert len(rollouts) == STEPS * at_once
    step = rollouts.filter(pl.col("step") == 1)
    assert step["reward"].mean() == pytest.approx(rows[0]["reward"])
    assert step["length"].mean() == pytest.approx(rows[0]["completions/mean_length"])
    model = json.loads(whole.model.read_text())
    assert model["run"]["backend"] == "split"
    assert len({each["sha256"] for each in model["checkpoints"]}) == 3
    assert {"accelerate", "torch"} <= model["provenance"]["versions"].keys()


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_a_killed_training_ends_with_the_same_weights(
    processes: int,
    whole: Run,
    slow_config: Path,
    tiny_task: Path,
    slow_base: Path,
    tmp_path: Path,
) -> None:
    config, unbroken = slow_config, whole
    if processes > 1:
        config = tmp_path / "config"
        shutil.copytree(slow_config, config)
        with edited(config / "scales" / "mini.yaml") as scale:
            scale["computation"] = {"train": {"processes": processes}}
        run = make_run(tmp_path / "whole", config, tiny_task, slow_base, backend="split")
        unbroken = finish(run)
    run = make_run(tmp_path / "run", config, tiny_task, slow_base, backend="split")
    kill_at_checkpoint(run, 2)
    assert STEPS not in sealed(run.checkpoints)
    finish(run)
    assert list(sealed(unbroken.checkpoints)) == [2, 4, 6]
    check_it_ended_like(run, unbroken)


@pytest.mark.slow
@pytest.mark.kills
def test_a_run_that_is_killed_five_times_ends_like_one_that_is_not(
    whole: Run, slow_config: Path, tiny_task: Path, slow_base: Path, tmp_path: Path
) -> None:
    run = make_run(tmp_path / "run", slow_config, tiny_task, slow_base, backend="split")
    for point in kill_five_times(run, whole, seed=15):
        print(point)
    finish(run)
    assert list(sealed(whole.checkpoints)) == [2, 4, 6]
    check_it_ended_like(run, whole)


def given(worker: RolloutWorker, prompts: Sequence[Sequence[int]]) -> list[list[int]]:
    """Completions that depend on the prompt and the place in its group alone."""
    completions = []
    for place, prompt in enumerate(prompts):
        rng = random.Random(f"{prompt} {place % worker.algorithm.num_generations}")
        tokens = [rng.randrange(5, 60) for _ in range(rng.randint(1, 20))]
        completions.append([*tokens, worker.eos[0]])
    return completions


SCRIPT = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[1:3]
import test_split_training as test
from r1zero.train.backends.split import entrypoint
from r1zero.train.backends.split.rollouts import RolloutWorker
RolloutWorker.generate = test.given
RolloutWorker._score = test.scored
entrypoint.main(sys.argv[3:])
"""


def scored(
    worker: RolloutWorker,
    rows: Sequence[Mapping[str, Any]],
    completions: list[str],
    completion_ids: list[list[int]],
    step: int,
) -> torch.Tensor:
    """Rewards that differ; those of every third problem don't."""
    size = worker.algorithm.num_generations
    scores = []
    for first in range(0, len(completion_ids), size):
        group = [
            sum(token % 2 == 0 for token in ids) / len(ids)
            for ids in completion_ids[first : first + size]
        ]
        is_flat = zlib.crc32(rows[first]["prompt"].encode()) % 3 == 0
        scores += [0.5] * size if is_flat else group
    return torch.tensor(scores)[:, None].expand(-1, len(worker.functions))


@pytest.mark.slow
@pytest.mark.parametrize(
    "algorithm",
    [
        {"loss_type": "grpo", "beta": 0.04},
        {"loss_type": "dapo", "zero_variance_groups": "drop"},
        {"loss_type": "dr_grpo", "zero_variance_groups": "resample", "beta": 0.04},
        {"loss_type": "grpo", "updates_per_rollout": 2, "num_iterations": 2, "beta": 0.0},
    ],
    ids=["keep", "drop", "resample", "several updates"],
)
def test_processes_and_passes_compute_the_same_steps(
    algorithm: dict[str, Any],
    tiny_config: Path,
    tiny_task: Path,
    tiny_base: Path,
    tmp_path: Path,
) -> None:
    run = make_run(tmp_path / "run", tiny_config, tiny_task, tiny_base, backend="split")
    rendered = yaml.safe_load((run.plan / "config" / "split.yaml").read_text())
    updates = algorithm.get("updates_per_rollout", 1) * algorithm.get("num_iterations", 1)
    rendered["algorithm"] |= {"lr_scheduler_type": "constant", "warmup_ratio": 0.0} | algorithm
    rendered |= {"gen_update_steps": updates, "adam_epsilon": 1e-5}
    rendered["sizes"] |= {"max_steps": 4, "save_steps": 4, "learning_rate": 1e-3}
    found = {}
    for processes, micro_batch in ((1, 64), (1, 3), (2, 64)):
        out = tmp_path / f"{processes}-{micro_batch}"
        path = tmp_path / f"{out.name}.yaml"
        path.write_text(yaml.safe_dump(rendered | {"output": str(out), "micro_batch": micro_batch}))
        content = json.loads(run.file.read_text())
        content["settings"]["algorithm"] |= algorithm
        content["settings"]["sizes"] |= rendered["sizes"]
        (tmp_path / "run.json").write_text(json.dumps(content))
        (tmp_path / "script.py").write_text(SCRIPT)
        here = Path(__file__).resolve()
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
        subprocess.run(
            [
                *(sys.executable, *launcher, str(processes), str(tmp_path / "script.py")),
                *(str(here.parent), str(here.parents[3] / "helpers")),
                *(str(tmp_path / "run.json"), str(path)),
            ],
            check=True,
            env=ENVIRONMENT,
        )
        found[out.name] = out
    first, *others = found.values()
    weights = load_file(first / "checkpoint-4" / "model.safetensors")
    base = load_file(Path(rendered["model"]) / "model.safetensors")
    moved = _distance(weights, base)
    assert moved > 0.01
    ages = [row["rollouts/age"] for row in metrics.read(first / "metrics.jsonl")]
    assert ages == [step % updates for step in range(4)]
    wanted = metrics.read(first / "metrics.jsonl")
    if algorithm.get("zero_variance_groups") == "resample":
        assert sum(row["groups/redrawn"] for row in wanted) > 0
    for other in others:
        difference = _distance(load_file(other / "checkpoint-4" / "model.safetensors"), weights)
        print(f"{other.name}: weights differ by {difference / moved:.1e} of what they moved by")
        assert difference / moved < 1e-3
        for row, mine in zip(metrics.read(other / "metrics.jsonl"), wanted, strict=True):
            assert row["grad_norm"] == pytest.approx(mine["grad_norm"], rel=1e-4)
            assert row["loss"] == pytest.approx(mine["loss"], rel=1e-3, abs=1e-5)


def _distance(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> float:
    squares = [(first[name] - second[name]).square().sum() for name in first]
    return torch.stack(squares).sum().sqrt().item()


def test_every_epoch_has_every_problem_once() -> None:
    order = problem_order(7, 0, 0, 21)
    assert [sorted(order[first : first + 7]) for first in (0, 7, 14)] == [list(range(7))] * 3
    assert len({tuple(order[first : first + 7]) for first in (0, 7, 14)}) > 1
    # A run that resumes goes on in the same order.
    assert problem_order(7, 0, 5, 9) == order[5:14]
    assert problem_order(7, 1, 0, 7) != order[:7]


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"is_mini_base": False}, "model"),
        ({"rewards": [{"name": "judge", "model": "some-model"}]}, "rewards"),
        (
            {"algorithm": {"rollout_importance_sampling": "token"}},
            "algorithm.rollout_importance_sampling",
        ),
    ],
)
def test_what_it_cannot_honour_is_refused_with_a_backend_that_can(
    changes: dict[str, Any],
    key: str,
    tiny_config: Path,
    tiny_task: Path,
    tiny_base: Path,
    tmp_path: Path,
) -> None:
    run = make_run(tmp_path / "run", tiny_config, tiny_task, tiny_base)
    content = json.loads(run.file.read_text())["settings"] | {"backend": "split"}
    for name, value in changes.items():
        content[name] = content[name] | value if isinstance(value, dict) else value
    with pytest.raises(UserError) as raised:
        check_backend(RunSettings.model_validate(content))
    assert raised.value.where == f"recipe datawhale_r1: {key}"
    assert "trl" in raised.value.hint
