"""Snakemake that submits its jobs to the cluster of the tests, through the shipped profile."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from slurm_cluster import MEMORY_MB, MINUTES, SlurmCluster
from tiny import ENVIRONMENT, edited

# A guard against a hang alone: how long something takes says more about the machine.
_SECONDS = 900
# The interval of the profile has to fit the MinJobAge of the cluster.
_FASTER = ("--slurm-init-seconds-before-status-checks", "2", "--seconds-between-status-checks", "1")
_SNAKEMAKE = Path(__file__).with_name("fast_polling") / "snakemake"


def describe_site(folder: Path) -> None:
    """Write the limits of the partitions into the profile of a copied workflow."""
    with edited(folder / "profiles/slurm/partitions.yaml") as site:
        for partition in site["partitions"].values():
            partition |= {"max_runtime": MINUTES, "max_mem_mb": MEMORY_MB, "max_cpus_per_task": 8}


class Driver:
    """A running Snakemake; its output is in `driver.log` of its folder."""

    def __init__(self, folder: Path, cluster: SlurmCluster, *arguments: str) -> None:
        self.folder, self.cluster = folder, cluster
        command = [sys.executable, str(_SNAKEMAKE), "--workflow-profile", "profiles/slurm"]
        programs = Path(sys.executable).parent
        settings = cluster.environment
        self._environment = {
            **ENVIRONMENT,
            **settings,
            "PATH": f"{programs}{os.pathsep}{settings['PATH']}",
        }
        with (folder / "driver.log").open("ab") as stream:
            self._process = subprocess.Popen(
                [*command, *_FASTER, *arguments],
                cwd=folder,
                env=self._environment,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def log(self) -> str:
        """Everything that drivers in this folder have printed."""
        return (self.folder / "driver.log").read_text()

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait for something that happens while it runs."""
        end = time.monotonic() + _SECONDS
        while not condition():
            assert self._process.poll() is None, self.log
            assert time.monotonic() < end, self.log
            time.sleep(0.2)

    def jobs(self, *options: str) -> str:
        """What `r1zero jobs` says about this folder."""
        result = subprocess.run(
            [sys.executable, "-m", "r1zero", "jobs", *options],
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return result.stdout

    def finish(self) -> int:
        """Wait for its end and return its status. It is killed if that takes too long."""
        try:
            return self._process.wait(timeout=_SECONDS)
        finally:
            self.kill()

    def kill(self) -> None:
        """End it with SIGKILL, with all processes that it started on this machine."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
