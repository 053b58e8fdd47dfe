"""The workflow on a real SLURM, through the shipped profile."""

from collections.abc import Callable
from pathlib import Path

import pytest

from r1zero.train.checkpoints import sealed
from slurm_cluster import MINUTES, SlurmCluster
from slurm_driver import Driver
from tiny import RECIPE, edited
from workflow_copy import copy_workflow, snakemake

pytestmark = pytest.mark.cluster

RUN = f"mini/{RECIPE}/trl/seed0"
MODEL = f"results/{RUN}/model.json"


def weights_of(folder: Path, step: int) -> bytes:
    return (folder / "checkpoints" / RUN / f"checkpoint-{step}" / "model.safetensors").read_bytes()


def test_a_run_goes_to_its_report(
    cluster: SlurmCluster,
    site: Callable[[Path], Path],
    drive: Callable[..., Driver],
    tiny_config: Path,
) -> None:
    folder = site(tiny_config)
    driver = drive(folder, "train_countdown")
    assert driver.finish() == 0, driver.log
    assert (folder / "results/mini/report/report.pdf").is_file()
    submitted = {rule: cluster.jobs(rule, "l", "D", "b") for rule in ("base", "train", "evaluate")}
    assert {rule: len(jobs) for rule, jobs in submitted.items()} == {
        "base": 1,
        "train": 1,
        "evaluate": 3,
    }
    # A day is asked for, and the partitions allow less.
    assert submitted["train"] == [[submitted["train"][0][0], f"{MINUTES // 60}:00:00", "1", "N/A"]]
    assert f"runtime={24 * 60}" in driver.log
    # One command finds what SLURM and Snakemake said about a job.
    for rule, jobs in submitted.items():
        for job, *_ in jobs:
            assert list((folder / "logs/slurm").rglob(f"rule_{rule}/**/{job}.log"))


def test_whatever_happens_to_a_job_the_training_ends_as_an_unbroken_one(
    cluster: SlurmCluster,
    site: Callable[[Path], Path],
    drive: Callable[..., Driver],
    long_config: Path,
    tmp_path: Path,
) -> None:
    folder = site(long_config)
    checkpoints = folder / "checkpoints" / RUN
    driver = drive(folder, MODEL)

    def trained(more: int = 1) -> None:
        """Wait until the training has some checkpoints more."""
        last = max(sealed(checkpoints), default=0)
        driver.wait_for(lambda: max(sealed(checkpoints), default=0) >= last + 10 * more)

    def job() -> tuple[str, str]:
        """Running job of the training, and its node."""
        driver.wait_for(lambda: bool(cluster.jobs("train", "N", states="RUNNING")))
        [[number, node]] = cluster.jobs("train", "N", states="RUNNING")
        return number, node

    trained()
    first, node = job()
    cluster.command("scontrol", "update", f"NodeName={node}", "State=DRAIN", "Reason=test")
    cluster.command("scontrol", "requeue", first)
    again, other = job()
    assert (again, other != node) == (first, True)
    cluster.command("scontrol", "update", f"NodeName={node}", "State=RESUME")
    trained()

    cluster.stop_controller()
    trained()
    cluster.start_controller()
    assert job()[0] == first
    cluster.command("scontrol", "update", f"JobId={first}", "EndTime=now+1")
    driver.wait_for(lambda: len(cluster.jobs("train")) == 2)
    trained()

    second, _ = job()
    assert second != first
    cluster.command("scancel", second)
    assert driver.finish() == 0, driver.log

    states = [state for _, state in cluster.jobs("train", "T")]
    assert states == ["TIMEOUT", "CANCELLED", "COMPLETED"]
    # More time is asked for in each attempt, and the partition caps it.
    unbroken = copy_workflow(tmp_path / "unbroken", long_config)
    result = snakemake(unbroken, MODEL, "--cores", "1")
    assert result.returncode == 0, result.stdout
    assert weights_of(folder, 150) == weights_of(unbroken, 150)


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
    [[_, nodes, gpus]] = cluster.jobs("train", "D", "b")
    assert (nodes, gpus) == ("1", "gres/gpu:2")
