"""Trackers get every row of metrics.jsonl, whatever happens, and change nothing of the training."""

import importlib.util
import json
import math
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from r1zero.core.errors import UserError
from r1zero.settings.workflow import Tracking
from r1zero.train import metrics, trackers
from r1zero.train.checkpoints import sealed
from r1zero.train.tracker_kinds import TrackedRun
from tiny import ENVIRONMENT, Run, make_run

Curves = dict[str, dict[int, float]]

RUN = {
    "run": {"recipe": "a", "backend": "trl", "seed": 0, "scale": "mini", "task": "countdown"},
    "config_hash": "c" * 64,
    "data_hash": "d" * 64,
    "base_model": {"sha256": "e" * 64},
    "settings": {"algorithm": {"beta": 0.04}},
}
SWANLAB = Tracking(to=["swanlab"])


@pytest.fixture
def run_file(tmp_path: Path) -> Path:
    path = tmp_path / "run.json"
    path.write_text(json.dumps(RUN))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of checkpoints."""
    path = tmp_path / "checkpoints"
    path.mkdir()
    return path


def row(step: int) -> dict[str, Any]:
    reward = math.nan if step == 2 else step / 7
    return {"step": step, "reward": reward, "rewards/correct/mean": 1e-9 * step, "step_time": 2}


def write(folder: Path, *steps: int) -> None:
    for step in steps:
        metrics.append(folder / "metrics.jsonl", row(step))


def curves_of(rows: list[dict[str, Any]]) -> Curves:
    keys = rows[0].keys() - {"step"}
    return {key: {each["step"]: float(each[key]) for each in rows} for key in keys}


def swanlab_records(folder: Path) -> Iterator[tuple[str, Any]]:
    """Kind and content of each record of an offline run."""
    from swanlab.proto.swanlab.record.v1.record_pb2 import Record
    from swanlab.sdk.internal.core_python.store import DataStoreReader

    (path,) = folder.glob("*.swanlab")
    reader = DataStoreReader()
    reader.open(path)
    while (content := reader.scan()) is not None:
        record = Record()
        record.ParseFromString(content)
        kind = record.WhichOneof(record.DESCRIPTOR.oneofs[0].name)
        yield kind, getattr(record, kind)
    reader.close()


def swanlab_curves(folder: Path) -> Curves:
    scalars = (record for kind, record in swanlab_records(folder) if kind == "scalar")
    return each_once((r.key, r.step, r.value.number) for r in scalars)


def tensorboard_curves(folder: Path) -> Curves:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    return each_once(
        (key, event.step, event.value)
        for key in events.Tags()["scalars"]
        for event in events.Scalars(key)
    )


def each_once(points: Iterator[tuple[str, int, float]]) -> Curves:
    found: Curves = {}
    for key, step, value in points:
        assert step not in found.setdefault(key, {}), "logged twice"
        found[key][step] = value
    return found


def check_curves(found: Curves, wanted: Curves, *, rel: float = 0.0) -> None:
    assert found.keys() == wanted.keys()
    for key, values in wanted.items():
        assert found[key] == pytest.approx(values, rel=rel, abs=0.0, nan_ok=True), key


def folder_of(folder: Path, name: str) -> Path:
    (entry,) = (entry for entry in trackers.described(folder) if entry["name"] == name)
    assert "failed" not in entry, (folder / "trackers" / f"{name}.log").read_text()
    return Path(entry["folder"])


@pytest.mark.parametrize("name", ["swanlab", "wandb", "trackio"])
def test_each_tracker_works_without_account_or_network(
    run_file: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    pytest.importorskip(name)
    for variable in ("SWANLAB_API_KEY", "WANDB_API_KEY", "TRACKIO_DIR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    with trackers.following(Tracking(to=[name]), run_file, folder):
        write(folder, 1, 2)
    (entry,) = trackers.described(folder)
    assert (entry["name"], entry["mode"]) == (name, "offline")
    assert any(folder_of(folder, name).rglob("*"))


@pytest.mark.slow
def test_every_row_arrives_once_though_the_training_was_killed(
    run_file: Path, folder: Path
) -> None:
    pytest.importorskip("swanlab")
    pytest.importorskip("tensorboard")
    wanted = Tracking(to=["swanlab", "tensorboard"])
    script = (
        "import os, signal, sys, time; from pathlib import Path\n"
        "from r1zero.settings.workflow import Tracking; from r1zero.train import trackers\n"
        "wanted = Tracking(to=['swanlab', 'tensorboard'])\n"
        "with trackers.following(wanted, *map(Path, sys.argv[1:])):\n"
        "    while len(trackers.described(Path(sys.argv[2]))) < 2: time.sleep(0.05)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    write(folder, 1, 2, 3, 4, 5)
    command = [sys.executable, "-c", script, run_file, folder]
    killed = subprocess.run(command, env=ENVIRONMENT, check=False)
    assert killed.returncode == -signal.SIGKILL
    first = folder_of(folder, "swanlab")
    # As `train` does before it resumes from the checkpoint of step 3.
    metrics.keep_until(folder / "metrics.jsonl", 3)
    with trackers.following(wanted, run_file, folder):
        write(folder, 4, 5, 6)
    rows = curves_of([row(step) for step in range(1, 7)])
    check_curves(swanlab_curves(folder_of(folder, "swanlab")), rows)
    check_curves(tensorboard_curves(folder_of(folder, "tensorboard")), rows, rel=1e-6)  # float32
    # The service joins both attempts into one run by this.
    assert folder_of(folder, "swanlab") != first
    assert folder_of(folder, "swanlab").name.split("-")[2] == first.name.split("-")[2]


def test_a_tracker_that_fails_is_reported_and_stops_nothing(
    run_file: Path, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("swanlab")
    (folder / "trackers").mkdir()
    (folder / "trackers" / "swanlab").write_text("no folder")
    done = []
    with trackers.following(SWANLAB, run_file, folder):
        write(folder, 1)
        done.append(1)
    assert done
    (line,) = capfd.readouterr().out.splitlines()
    assert line.startswith("warning: swanlab: FileExistsError: ")
    (entry,) = trackers.described(folder)
    assert entry["failed"].startswith("FileExistsError")


def test_a_tracker_without_room_for_its_log_is_reported_and_stops_nothing(
    run_file: Path, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (folder / "trackers").write_text("no folder")
    with trackers.following(SWANLAB, run_file, folder):
        pass
    assert "warning: swanlab: " in capfd.readouterr().out


def test_a_tracker_that_hangs_is_stopped(
    run_file: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(trackers, "_PATIENCE", 0.0)
    started = time.monotonic()
    with trackers.following(SWANLAB, run_file, folder):
        pass  # it has not even begun
    assert time.monotonic() - started < 5
    (entry,) = trackers.described(folder)
    assert f"warning: swanlab: {entry['failed']}" in capfd.readouterr().out


def test_a_failed_training_is_a_crashed_run(run_file: Path, folder: Path) -> None:
    pytest.importorskip("swanlab")

    def train() -> None:
        with trackers.following(SWANLAB, run_file, folder):
            write(folder, 1)
            raise UserError("failed", where="console.log")

    with pytest.raises(UserError):
        train()
    records = dict(swanlab_records(folder_of(folder, "swanlab")))
    assert records["finish"].error
    assert records["scalar"].step == 1


def test_another_configuration_is_another_run(tmp_path: Path) -> None:
    def id_of(**changes: Any) -> str:
        return TrackedRun.of({**RUN, **changes}, tmp_path, Tracking()).id

    assert id_of() == id_of()
    others = [id_of(config_hash="1"), id_of(data_hash="1"), id_of(run={**RUN["run"], "seed": 1})]
    assert len({id_of(), *others}) == 4


@pytest.mark.parametrize(
    ("name", "mode", "environment", "where", "named"),
    [
        ("swanlab", "online", {}, "tracking.mode", "SWANLAB_API_KEY"),
        ("swanlab", "offline", {"SWANLAB_PROJECT": "mine"}, "SWANLAB_PROJECT", "tracking.project"),
        ("trackio", "online", {}, "tracking.mode", "offline"),
    ],
)
def test_trackers_that_can_not_start_are_errors_of_the_configuration(
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    mode: str,
    environment: dict[str, str],
    where: str,
    named: str,
) -> None:
    if name == "swanlab":
        pytest.importorskip(name)
    monkeypatch.delenv("SWANLAB_API_KEY", raising=False)
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    with pytest.raises(UserError) as raised:
        trackers.require_trackers(Tracking(to=[name], mode=mode))
    assert where in raised.value.where
    assert named in raised.value.hint


def test_a_tracker_that_is_not_installed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [module for module in sys.modules if module.split(".")[0] == "wandb"]:
        monkeypatch.delitem(sys.modules, name)
    # The folder that wandb writes to looks like a package.
    (tmp_path / "wandb").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert importlib.util.find_spec("wandb") is not None
    with pytest.raises(UserError) as raised:
        trackers.require_trackers(Tracking(to=["wandb"]))
    assert raised.value.where == "tracking.to"
    assert "pip install wandb" in raised.value.hint


def test_a_key_is_in_no_file_and_no_line(
    run_file: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("swanlab")
    key = "k3yk3yk3yk3yk3yk3yk3y"
    monkeypatch.setenv("SWANLAB_API_KEY", key)
    monkeypatch.setenv("SWANLAB_API_HOST", "http://127.0.0.1:9")  # where nothing listens
    wanted = Tracking(to=["swanlab"], mode="online")
    trackers.require_trackers(wanted)
    monkeypatch.setattr(trackers, "_PATIENCE", 3.0)
    with trackers.following(wanted, run_file, folder):
        write(folder, 1)
    printed = "".join(capfd.readouterr())
    assert "warning: swanlab: " in printed
    written = b"".join(p.read_bytes() for p in folder.rglob("*") if p.is_file())
    assert key.encode() not in written + printed.encode()


@pytest.mark.slow
def test_a_tracked_run_ends_with_the_same_weights(
    slow_config: Path, tiny_task: Path, slow_base: Path, tmp_path: Path, unbroken_run: Run
) -> None:
    pytest.importorskip("swanlab")
    run = make_run(tmp_path / "run", slow_config, tiny_task, slow_base)
    command = [sys.executable, "-m", "r1zero", "train", *map(str, run.options)]
    tracking = SWANLAB.model_dump_json()
    subprocess.run(command, check=True, env=ENVIRONMENT | {"R1ZERO_TRACKING": tracking})
    for step, path in sealed(unbroken_run.checkpoints).items():
        weights = run.checkpoints / path.name / "model.safetensors"
        assert weights.read_bytes() == (path / "model.safetensors").read_bytes(), step
    (entry,) = json.loads(run.model.read_text())["trackers"]
    assert entry.keys() == {"name", "mode", "folder"}
    rows = metrics.read(run.folder / "metrics.jsonl")
    assert len(rows) == 6
    check_curves(swanlab_curves(Path(entry["folder"])), curves_of(rows))
