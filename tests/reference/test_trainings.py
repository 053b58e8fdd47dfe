"""Trainings with the reference model on a server are those with it in the trainer, bit for bit."""

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from r1zero.core.errors import UserError
from r1zero.train import metrics
from r1zero.train.checkpoints import sealed
from tiny import ENVIRONMENT, RECIPE, Run, edited, make_run

pytestmark = pytest.mark.slow

STEPS, SAVED = 12, [4, 8, 12]
# Metrics that depend on the clock.
TIMED = {"step_time", "time/rollout", "total_flos", "train_runtime"}
# Makes a run with so many processes, and with the reference model at a place.
MakeRun = Callable[..., Run]


@pytest.fixture(scope="module")
def new_run(
    tiny_config: Path, tiny_task: Path, tiny_base: Path, tmp_path_factory: pytest.TempPathFactory
) -> MakeRun:
    def make(
        name: str, *, backend: str = "split", processes: int = 1, reference: Any = "auto"
    ) -> Run:
        folder = tmp_path_factory.mktemp(name)
        config = Path(shutil.copytree(tiny_config, folder / "config"))
        with edited(config / "recipes" / f"{RECIPE}.yaml") as recipe:
            # The base is right too seldom to learn from the rewards of the recipe.
            recipe["rewards"] = [{"name": "random"}]
            recipe["algorithm"]["beta"] = 0.04
        with edited(config / "scales" / "mini.yaml") as scale:
            scale["computation"] = {"train": {"processes": processes}}
            sizes = {"learning_rate": 1e-3, "max_steps": STEPS, "save_steps": SAVED[0]}
            scale["tasks"]["countdown"]["sizes"] |= sizes
        return make_run(
            *(folder / "run", config, tiny_task, tiny_base), backend=backend, reference=reference
        )

    return make


def start(run: Run) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "r1zero", "train", *map(str, run.options)],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: "subprocess.Popen[str]") -> None:
    output, _ = process.communicate()
    assert process.returncode == 0, output


def server_of(process: "subprocess.Popen[str]") -> psutil.Process | None:
    """The reference server among the descendants of a training."""
    for each in psutil.Process(process.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):  # it has ended
            if each.cmdline()[3:4] == ["reference"]:
                return each
    return None


def check_it_ended_like(run: Run, other: Run) -> None:
    assert list(sealed(run.checkpoints)) == list(sealed(other.checkpoints)) == SAVED
    for path in sealed(other.checkpoints).values():
        for name in ("model.safetensors", "optimizer.pt"):
            mine = run.checkpoints / path.name / name
            assert mine.read_bytes() == (path / name).read_bytes(), mine
    rows, others = (
        [{key: row[key] for key in row if key not in TIMED} for row in metrics.read(log)]
        for log in (run.folder / "metrics.jsonl", other.folder / "metrics.jsonl")
    )
    assert rows == others
    assert rows[-1]["kl"] > 0


@pytest.fixture(scope="module")
def local(new_run: MakeRun) -> Run:
    """A training with the reference model in the trainer."""
    run = new_run("local")
    finish(start(run))
    return run


@pytest.fixture
def server(tiny_base: Path) -> Iterator[str]:
    """Address of a server that was started by hand."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "r1zero", "reference", "--model", str(tiny_base.parent)]
    process = subprocess.Popen(
        [*command, "--temperature", "0.9", "--port", str(port)],
        env=ENVIRONMENT,
    )
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    process.wait()


def test_two_trainers_ask_one_server_at_once(new_run: MakeRun, local: Run, server: str) -> None:
    pair, remote = new_run("pair", processes=2), {"remote": server}
    finish(start(pair))
    alone = new_run("remote", reference=remote)
    both = new_run("remote_pair", processes=2, reference=remote)
    # They wait for a server that is not there yet.
    trainings = [start(alone), start(both)]
    for training in trainings:
        finish(training)
    check_it_ended_like(alone, local)
    check_it_ended_like(both, pair)
    samples = httpx.get(f"{server}/metrics").text.splitlines()
    # A request of each process at each step.
    assert f'reference_answers_total{{status="200"}} {STEPS + 2 * STEPS}' in samples
    planned = json.loads((alone.plan / "plan.json").read_text())
    assert planned["reference"] == "remote"
    assert [each["role"] for each in planned["processes"]] == ["trainer"]
    assert server in (alone.plan / "plan.md").read_text()


def test_a_killed_server_of_a_run_stops_it_and_it_resumes(new_run: MakeRun, local: Run) -> None:
    run = new_run("server", reference="server")
    planned = json.loads((run.plan / "plan.json").read_text())
    assert [each["role"] for each in planned["processes"]] == ["reference", "trainer"]
    process = start(run)
    server = None
    while not sealed(run.checkpoints):
        assert process.poll() is None
        server = server or server_of(process)
        time.sleep(0.005)
    assert server
    server.kill()
    output, _ = process.communicate()
    assert process.returncode == 2
    assert "reference.log" in output
    assert list(sealed(run.checkpoints)) < SAVED
    finish(start(run))
    check_it_ended_like(run, local)


def test_a_run_of_trl_has_a_server(new_run: MakeRun) -> None:
    runs = [new_run(place, backend="trl", reference=place) for place in ("trainer", "server")]
    for training in [start(run) for run in runs]:
        finish(training)
    local, remote = runs
    check_it_ended_like(remote, local)
    made = [json.loads(run.model.read_text())["reference"] for run in runs]
    assert made == ["trainer", "server"]


def test_a_backend_without_a_client_refuses_a_server(
    tiny_config: Path, tiny_task: Path, tiny_base: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError) as raised:
        make_run(
            *(tmp_path / "run", tiny_config, tiny_task, tiny_base),
            backend="swift",
            reference="server",
        )
    assert raised.value.where == "hardware"
    assert "swift" in raised.value.message
    assert "'reference': 'auto'" in raised.value.hint
