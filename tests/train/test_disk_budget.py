"""A run whose disk has room for the optimizer states of a part of its checkpoints."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from r1zero.train.checkpoints import sealed
from tiny import ENVIRONMENT, edited, make_run, stage

pytestmark = pytest.mark.slow

STEPS = 4


def test_with_the_least_disk_a_run_finishes_and_all_checkpoints_are_evaluated(
    tiny_config: Path, tiny_task: Path, tiny_base: Path, tmp_path: Path
) -> None:
    config = tmp_path / "config"
    shutil.copytree(tiny_config, config)
    with edited(config / "scales" / "mini.yaml") as scale:
        scale["tasks"]["countdown"]["sizes"] |= {"max_steps": STEPS, "save_steps": 1}
    run = make_run(tmp_path / "run", config, tiny_task, tiny_base)
    disk = json.loads((run.plan / "plan.json").read_text())["disk"]
    # Two sets of states: one to resume from, and one that is being written.
    least = STEPS * disk["weights"] + 2 * disk["optimizer"]
    assert least < disk["everything"]
    hardware = json.dumps({"gpus": 0, "disk_gb": least / 1e9})
    places = ("--checkpoints", run.checkpoints, "--out", run.plan)
    stage("layout", run.file, "--hardware", hardware, *places)
    command = [sys.executable, "-m", "r1zero", "train", *map(str, run.options)]
    subprocess.run(command, check=True, env=ENVIRONMENT)

    saved = sealed(run.checkpoints)
    assert list(saved) == list(range(1, STEPS + 1))
    has_states = [(path / "optimizer.pt").exists() for path in saved.values()]
    assert has_states == [False] * (STEPS - 1) + [True]
    files = (path for path in run.checkpoints.rglob("*") if path.is_file())
    assert sum(path.stat().st_size for path in files) <= least
    for step in (0, *saved):
        scores = run.folder / f"step{step}.json"
        places = ("--problems", tiny_task, "--out", scores)
        stage("evaluate", run.model, "--step", step, "--suite", "countdown_3", *places)
        assert json.loads(scores.read_text())["step"] == step
