"""Scale mini learns with vLLM as without it, on a CPU: hours, in plans for GPUs.

With `R1ZERO_LEARNING=FOLDER` base, runs and evaluations are kept there. What is there is not made
again, and a training that was cut off goes on from its last checkpoint.
"""

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from tiny import (
    BASE,
    CONFIG,
    DATASET,
    ENVIRONMENT,
    REPOSITORY,
    Run,
    edited,
    make_base,
    make_problems,
    stage,
)
from vllm_lane import LAYOUTS, Lane, Tables

pytestmark = [pytest.mark.vllm, pytest.mark.slow]

SEEDS = (0, 1, 2)
# Of held-out accuracy: a gain over the base, and what the range without vLLM is widened by.
GAIN, MARGIN = 0.2, 0.05


class Learning:
    """Runs of scale mini and the held-out accuracies of their base and of their end."""

    def __init__(self, folder: Path, config: Path, task: Path, base: Path, vllm: dict[str, str]):
        here = ENVIRONMENT | {"PYTHON": sys.executable, "PYTHONPATH": str(REPOSITORY / "src")}
        self.with_vllm = Lane(folder, config, task, base, vllm)
        self.without = Lane(folder, config, task, base, here)

    def by_vllm(self, mode: str) -> tuple[float, float]:
        return self._accuracies(self.with_vllm, mode, 0, LAYOUTS[mode])

    def by_transformers(self, seed: int) -> tuple[float, float]:
        return self._accuracies(self.without, f"transformers_seed{seed}", seed, {"gpus": 0})

    def _accuracies(
        self, lane: Lane, name: str, seed: int, hardware: dict[str, Any]
    ) -> tuple[float, float]:
        run = Run(lane.folder / name)
        if not run.plan.exists():
            lane.plan(name=name, seed=seed, **hardware)
        if not run.model.is_file():
            assert lane.start(run).wait() == 0, (run.folder / "output.log").read_text()[-4000:]
        last = json.loads(run.model.read_text())["checkpoints"][-1]["step"]
        gpus = min(1, hardware["gpus"])
        results = (lane.evaluate(run, step, gpus) for step in (0, last))
        before, after = (float(result["metrics"]["accuracy"]) for result in results)
        return before, after


@pytest.fixture(scope="module")
def learning(
    tmp_path_factory: pytest.TempPathFactory, vllm_environment: dict[str, str]
) -> Learning:
    """The shipped scale mini, but for the size of a head, for which vLLM needs a kernel."""
    named = os.environ.get("R1ZERO_LEARNING")
    folder = Path(named).resolve() if named else tmp_path_factory.mktemp("learning")
    config, task = folder / "config", folder / "task" / "manifest.json"
    dataset, base = folder / "dataset" / "manifest.json", folder / "base" / "manifest.json"
    if not config.exists():
        shutil.copytree(CONFIG, config)
        with edited(config / "scales" / "mini.yaml") as scale:
            scale["bases"][BASE] |= {"num_attention_heads": 6, "num_key_value_heads": 6}
    if not task.is_file():
        table = config / "sources.yaml"
        stage("sources", "dataset", DATASET, "--table", table, "--out", dataset.parent)
        make_problems(dataset, folder)
    if not base.is_file():
        make_base(base.parent, config, task)
    return Learning(folder, config, task, base, vllm_environment)


@pytest.mark.parametrize("mode", LAYOUTS)
def test_scale_mini_learns_with_vllm(learning: Learning, mode: str, tables: Tables) -> None:
    before, after = learning.by_vllm(mode)
    tables.accuracies.append((mode, f"{before:.1%}", f"{after:.1%}"))
    assert after >= before + GAIN


@pytest.mark.parametrize("mode", LAYOUTS)
def test_it_learns_as_much_as_without_vllm(learning: Learning, mode: str, tables: Tables) -> None:
    _, end = learning.by_vllm(mode)
    ends = []
    for seed in SEEDS:
        before, after = learning.by_transformers(seed)
        row = (f"transformers, seed {seed}", f"{before:.1%}", f"{after:.1%}")
        if row not in tables.accuracies:
            tables.accuracies.append(row)
        ends.append(after)
    assert min(ends) - MARGIN <= end <= max(ends) + MARGIN
