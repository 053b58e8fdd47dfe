"""The workflow on a real SLURM, through the shipped profile."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from r1zero.train.checkpoints import sealed
from slurm_cluster import MINUTES, SlurmCluster
from slurm_driver import Driver
from tiny import RECIPE, edited

pytestmark = pytest.mark.cluster

RUN = f"mini/{RECIPE}/trl/seed0"
LONG_STEPS = 500
MODEL = f"results/{RUN}/model.json"


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


def test_a_run_goes_to_its_report(
    cluster: SlurmCluster,
    site: Callable[[Path], Path],
    drive: Callable[..., Driver],
    tiny_config: Path,
) -> None:
    folder = site(tiny_config)
    before = {rule: len(cluster.jobs(rule)) for rule in ("base", "train", "evaluate")}
    driver = drive(folder, "train_countdown")
    assert driver.finish() == 0, driver.log
    assert (folder / "results/mini/report/report.pdf").is_file()
    submitted = {rule: cluster.jobs(rule, "l", "D", "b")[seen:] for rule, seen in before.items()}
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

    states = [state for _, state in cluster.jobs("train", "T")][before:]
    assert states == ["TIMEOUT", "CANCELLED", "COMPLETED", "COMPLETED"]
    assert max(sealed(checkpoints)) == LONG_STEPS
    for name in ("model.json", "metrics.jsonl", "rollouts.parquet"):
        assert (folder / "results" / RUN / name).is_file()
    log = next((folder / "logs/train").glob("*.log")).read_text()
    # The last job has trained nothing: it waited for the one before.
    assert "goes on from step" not in log
    assert "another training uses this folder" in log


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
