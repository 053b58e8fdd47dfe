"""A run whose disk has room for a part of its checkpoints."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from r1zero.train.checkpoints import sealed
from tiny import ENVIRONMENT, edited, make_run, stage

pytestmark = pytest.mark.slow

STEPS = 8


def test_with_half_the_disk_of_its_checkpoints_a_run_finishes_and_all_are_evaluated(
    tiny_config: Path, tiny_task: Path, tiny_base: Path, tmp_path: Path
) -> None:
    config = tmp_path / "config"
    shutil.copytree(tiny_config, config)
    with edited(config / "scales" / "mini.yaml") as scale:
        scale["tasks"]["countdown"]["sizes"] |= {"max_steps": STEPS, "save_steps": 1}
    run = make_run(tmp_path / "run", config, tiny_task, tiny_base)
    half = json.loads((run.plan / "plan.json").read_text())["disk"]["everything"] / 2
    hardware = json.dumps({"gpus": 0, "disk_gb": half / 1e9})
    places = ("--checkpoints", run.checkpoints, "--out", run.plan)
    stage("layout", run.file, "--hardware", hardware, *places)
    command = [sys.executable, "-m", "r1zero", "train", *map(str, run.options)]
    subprocess.run(command, check=True, env=ENVIRONMENT)

    saved = sealed(run.checkpoints)
    assert list(saved) == list(range(1, STEPS + 1))
    kept = json.loads((run.plan / "plan.json").read_text())["kept_optimizer_states"]
    states = [path / "optimizer.pt" for path in saved.values()]
    assert [path.exists() for path in states] == [False] * (STEPS - kept) + [True] * kept
    weights = [path / "model.safetensors" for path in saved.values()]
    assert sum(path.stat().st_size for path in (*weights, *states[-kept:])) <= half
    for step in (0, *saved):
        scores = run.folder / f"step{step}.json"
        places = ("--problems", tiny_task, "--out", scores)
        stage("evaluate", run.model, "--step", step, "--suite", "countdown_3", *places)
        assert json.loads(scores.read_text())["step"] == step
