"""The workflow on a real SLURM, through the shipped profile."""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from r1zero.train.checkpoints import sealed
from slurm_cluster import MINUTES, SlurmCluster
from slurm_driver import Driver, describe_site
from tiny import RECIPE, edited
from workflow_copy import copy_workflow

pytestmark = pytest.mark.cluster

RUN = f"mini/{RECIPE}/trl/seed0"
LONG_STEPS = 400
MODEL = f"results/{RUN}/model.json"


class Finished(NamedTuple):
    """A workflow that has run to its report, and the jobs of its rules."""

    folder: Path
    log: str
    jobs: dict[str, list[list[str]]]


@pytest.fixture(scope="module")
def finished(
    cluster: SlurmCluster, tiny_config: Path, tmp_path_factory: pytest.TempPathFactory
) -> Finished:
    """A run from nothing to its report; the other tests take its data and its base model."""
    config = tmp_path_factory.mktemp("short") / "config"
    shutil.copytree(tiny_config, config)
    with edited(config / "scales" / "mini.yaml") as scale:
        scale["tasks"]["countdown"]["sizes"] |= {"max_steps": 2, "save_steps": 2}
    folder = copy_workflow(tmp_path_factory.mktemp("finished") / "workflow", config)
    describe_site(folder)
    before = {rule: len(cluster.jobs(rule)) for rule in ("base", "train", "evaluate")}
    driver = Driver(folder, cluster, "train_countdown")
    assert driver.finish() == 0, driver.log
    jobs = {rule: cluster.jobs(rule, "l", "D", "b")[seen:] for rule, seen in before.items()}
    return Finished(folder, driver.log, jobs)


@pytest.fixture
def site(finished: Finished, tmp_path: Path) -> Callable[[Path], Path]:
    """Copy the workflow with a configuration and what was made before any training."""

    def make(config: Path) -> Path:
        folder = copy_workflow(tmp_path / "workflow", config)
        describe_site(folder)
        # With its times, by which Snakemake decides.
        shutil.copytree(finished.folder / "resources", folder / "resources")
        return folder

    return make


@pytest.fixture(scope="module")
def long_config(tiny_config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration whose training takes long enough to be broken several times."""
    folder = tmp_path_factory.mktemp("long") / "config"
    shutil.copytree(tiny_config, folder)
    with edited(folder / "scales" / "mini.yaml") as scale:
        scale["tasks"]["countdown"]["sizes"] |= {
            "max_steps": LONG_STEPS,
            "save_steps": 10,
            "max_completion_length": 200,
        }
    return folder


def test_a_run_goes_to_its_report(finished: Finished) -> None:
    folder, log, submitted = finished
    assert (folder / "results/mini/report/report.pdf").is_file()
    assert {rule: len(jobs) for rule, jobs in submitted.items()} == {
        "base": 1,
        "train": 1,
        "evaluate": 2,
    }
    # A day is asked for, and the partitions allow less.
    assert submitted["train"] == [[submitted["train"][0][0], f"{MINUTES // 60}:00:00", "1", "N/A"]]
    assert f"runtime={24 * 60}" in log
    # One command finds what SLURM and Snakemake said about a job.
    for rule, jobs in submitted.items():
        for job, *_ in jobs:
            assert list((folder / "logs/slurm").rglob(f"rule_{rule}/**/{job}.log"))


def test_whatever_happens_to_its_job_a_training_goes_on(
    cluster: SlurmCluster,
    site: Callable[[Path], Path],
    drive: Callable[..., Driver],
    long_config: Path,
) -> None:
    folder = site(long_config)
    checkpoints = folder / "checkpoints" / RUN
    driver = drive(folder, MODEL)

    def trained() -> None:
        """Wait until the training has a checkpoint more."""
        last = max(sealed(checkpoints), default=0)
        driver.wait_for(lambda: max(sealed(checkpoints), default=0) > last)

    def job() -> tuple[str, str]:
        """Running job of the training, and its node."""
        driver.wait_for(lambda: bool(cluster.jobs("train", "N", states="RUNNING")))
        [[number, node]] = cluster.jobs("train", "N", states="RUNNING")
        return number, node

    before = len(cluster.jobs("train"))
    # Over its time limit.
    trained()
    first, _ = job()
    cluster.command("scontrol", "update", f"JobId={first}", "EndTime=now+1")
    driver.wait_for(lambda: len(cluster.jobs("train")) == before + 2)
    # Drained and requeued.
    trained()
    second, node = job()
    cluster.command("scontrol", "update", f"NodeName={node}", "State=DRAIN", "Reason=test")
    cluster.command("scontrol", "requeue", second)
    again, other = job()
    assert again == second
    assert other != node
    cluster.command("scontrol", "update", f"NodeName={node}", "State=RESUME")
    # The controller restarted.
    trained()
    cluster.stop_controller()
    trained()
    cluster.start_controller()
    assert job()[0] == second
    # Cancelled.
    cluster.command("scancel", second)
    driver.wait_for(lambda: len(cluster.jobs("train")) == before + 3)
    trained()
    # The driver killed and started again, while its job runs.
    third, _ = job()
    assert third in driver.jobs()
    assert "orphaned" not in driver.jobs()
    driver.kill()
    assert "orphaned" in driver.jobs()
    assert drive(folder, "--unlock").finish() == 0
    driver = drive(folder, MODEL)
    assert driver.finish() == 0, driver.log

    jobs = cluster.jobs("train", "T", "m")[before:]
    _, states, memory = zip(*jobs, strict=True)
    assert states == ("TIMEOUT", "CANCELLED", "COMPLETED", "COMPLETED")
    # Each attempt asks for more; the last driver begins anew.
    assert len(set(memory[:3])) == 3
    assert memory[3] == memory[0]
    for name in ("model.json", "metrics.jsonl", "rollouts.parquet"):
        assert (folder / "results" / RUN / name).is_file()
    check_attempts(folder)
    log = next((folder / "logs/train").glob("*.log")).read_text()
    # The last job has trained nothing: it waited for the one before.
    assert "goes on from step" not in log
    assert "another training uses this folder" in log


def check_attempts(folder: Path) -> None:
    """Check what a training that was stopped three times says about it."""
    attempts = json.loads((folder / MODEL).read_text())["attempts"]
    assert len(attempts) == 4
    # SLURM leaves three seconds to save after SIGTERM, which may be too few.
    assert {each["cause"] for each in attempts[:-1]} <= {"SIGTERM", "killed"}
    assert (attempts[-1]["cause"], attempts[-1]["saved"]) == ("finished", LONG_STEPS)
    # A training knows the time limit of its job.
    limits = json.loads((folder / "checkpoints" / RUN / "limits.json").read_text())
    assert 0 < limits["ends_at"] - time.time() < MINUTES * 60


def test_orphaned_jobs_are_cancelled_on_request(
    cluster: SlurmCluster,
    site: Callable[[Path], Path],
    drive: Callable[..., Driver],
    long_config: Path,
) -> None:
    driver = drive(site(long_config), MODEL)
    driver.wait_for(lambda: bool(cluster.jobs("train", states="RUNNING")))
    # They are not orphaned as long as it lives.
    assert "cancelled" not in driver.jobs("--cancel-orphans")
    driver.kill()
    assert "cancelled: 1" in driver.jobs("--cancel-orphans")
    # While it runs, a cancelled job is completing.
    assert not cluster.jobs("train", states="RUNNING")


@pytest.mark.parametrize(
    ("hardware", "key"),
    [
        ({"gpus": "auto"}, "hardware.gpus"),
        ({"gpus": 2}, "hardware.gpu"),
        ({"gpus": 2, "nodes": 2, "gpu": "a100-80g"}, "hardware.nodes"),
    ],
)
def test_what_a_login_node_cannot_know_or_submit_is_refused_before_any_job(
    cluster: SlurmCluster,
    site: Callable[[Path], Path],
    drive: Callable[..., Driver],
    tiny_config: Path,
    hardware: dict[str, Any],
    key: str,
) -> None:
    folder = site(tiny_config)
    with edited(folder / "config/scales/mini.yaml") as scale:
        scale["device"] = "any"
    with edited(folder / "config/config.yaml") as config:
        config["hardware"] = hardware
    before = cluster.jobs("")
    driver = drive(folder, MODEL)
    assert driver.finish() != 0
    assert f"error: {key}: " in driver.log
    assert cluster.jobs("") == before


def test_gpus_of_a_training_are_on_one_node(
    cluster: SlurmCluster,
    site: Callable[[Path], Path],
    drive: Callable[..., Driver],
    tiny_config: Path,
) -> None:
    folder = site(tiny_config)
    with edited(folder / "config/scales/mini.yaml") as scale:
        scale["device"] = "any"
    with edited(folder / "config/config.yaml") as config:
        config["hardware"] = {"gpus": 2, "gpu": "a100-80g"}
    driver = drive(folder, MODEL, "--retries", "0")
    # The GPUs exist in name only, so the training says that they are missing.
    assert driver.finish() != 0
    number, nodes = cluster.jobs("train", "D")[-1]
    assert nodes == "1"
    assert "TresPerJob=gres:gpu:2" in cluster.command("scontrol", "show", "job", number)
