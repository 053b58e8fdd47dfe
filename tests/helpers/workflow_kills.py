"""Kill a running workflow at a chosen point, start it again, and compare what it ends with."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import yaml

from r1zero.core.files import sha256_file
from r1zero.train import guards, metrics
from r1zero.train.checkpoints import SEAL, sealed
from tiny import BASE, ENVIRONMENT, RECIPE

RUN = f"mini/{RECIPE}/trl/seed0"
# Metrics that depend on the clock.
TIMED = {"step_time", "time/rollout", "total_flos", "train_runtime"}
STAGES = ("download", "base", "rollout", "optimizer step", "checkpoint", "evaluation", "report")
VICTIMS = ("machine", "driver", "job", "SIGTERM")
# Subcommand of the job of a stage; the others are parts of a training.
_COMMANDS = {
    "download": "sources",
    "base": "pretrain",
    "evaluation": "evaluate",
    "report": "report",
}
# A guard against a hang: how long something takes says more about the machine.
_PATIENCE = 900.0


class Kill(NamedTuple):
    """A kill to come."""

    stage: str
    victim: str
    """`machine`: all processes at once; `driver`: Snakemake alone; `job`: the process of the stage
    with SIGKILL; `SIGTERM`: the same process, which may end itself."""
    share: float
    """Share of the stage, or of a part of a training step, that has passed."""


class Struck(NamedTuple):
    """A kill that has happened."""

    kill: Kill
    reached: bool
    """False if the job ended by itself before."""
    steps_lost: int
    """Optimizer steps after the last complete checkpoint."""
    seconds_lost: float
    """Time of these steps, or of the job that was killed."""


def drawn(seed: int) -> list[Kill]:
    """A kill in each stage, in the order of the stages."""
    rng = random.Random(seed)
    return [Kill(stage, rng.choice(VICTIMS), rng.random()) for stage in STAGES]


class Workflow:
    """A copy of the workflow that is started, killed, and started again."""

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        self.folder, self.checkpoints = folder, folder / "checkpoints" / RUN
        self.environment = {
            **ENVIRONMENT,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HF_HUB_OFFLINE": "",
            "HF_ENDPOINT": "",
        }
        self._left: list[psutil.Process] = []
        (folder / "my.yaml").write_text(yaml.safe_dump(dict(config)))

    @property
    def log(self) -> str:
        """What all drivers have said."""
        return (self.folder / "driver.log").read_text()

    def start(self, **environment: str) -> "subprocess.Popen[bytes]":
        """Start Snakemake. The lock of one that was killed is removed first, as it asks for."""
        command = [sys.executable, "-m", "snakemake", "--configfile", "my.yaml", "--cores", "2"]
        with (self.folder / "driver.log").open("ab") as stream:
            options: dict[str, Any] = {
                "cwd": self.folder,
                "env": {**self.environment, **environment},
                "stdout": stream,
                "stderr": subprocess.STDOUT,
                "start_new_session": True,
            }
            locks = self.folder / ".snakemake" / "locks"
            if locks.is_dir() and any(locks.iterdir()):
                subprocess.run([*command, "--unlock"], check=True, **options)
            return subprocess.Popen([*command, "train_countdown"], **options)

    def finish(self, **environment: str) -> int:
        """Start it, and wait for the end."""
        return self.start(**environment).wait(timeout=_PATIENCE)

    def strike(self, kill: Kill, seconds: Mapping[str, float]) -> Struck:
        """Start the workflow and kill it.

        Args:
            kill: Where, and what.
            seconds: How long each stage, and each part of a step, takes.

        """
        began, known = time.time(), self._incomplete()
        driver = self.start()
        job = self._await(kill, seconds, driver, began, known)
        if job is None:
            assert driver.wait() == 0, self.log
            return Struck(kill, reached=False, steps_lost=0, seconds_lost=0.0)
        reached = _runs(job)
        rows = metrics.read(self.checkpoints / "metrics.jsonl")
        running = time.time() - job.create_time() if reached else 0.0
        if kill.victim == "driver":
            self._left += _tree(driver.pid)
            driver.kill()
        elif kill.victim == "machine" or not reached:
            self.kill(driver)
        else:
            job.send_signal(signal.SIGTERM if kill.victim == "SIGTERM" else signal.SIGKILL)
        driver.wait(timeout=_PATIENCE)
        saved = max(sealed(self.checkpoints), default=0)
        lost = [row["step_time"] for row in rows if row["step"] > saved]
        training = kill.stage not in _COMMANDS
        return Struck(kill, reached, len(lost), sum(lost) if training else running)

    def clean(self) -> None:
        """Kill what drivers that were killed have left, if anything is."""
        for process in self._left:
            for each in _tree(process.pid) if _runs(process) else []:
                with contextlib.suppress(psutil.Error):
                    each.kill()
        self._left = []

    def outcome(self) -> dict[str, Any]:
        """What must be the same however often it was killed."""
        found: dict[str, Any] = {
            f"{path.name}/{name}": sha256_file(path / name)
            for path in sealed(self.checkpoints).values()
            for name in ("model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth")
        }
        results = self.folder / "results" / RUN
        for path in (
            *results.glob("evaluations/*/*.parquet"),
            results / "rollouts.parquet",
            self.folder / f"resources/bases/mini/{BASE}/manifest.json",
            self.folder / "resources/datasets/countdown_3/manifest.json",
        ):
            found[path.relative_to(self.folder).as_posix()] = sha256_file(path)
        rows = metrics.read(results / "metrics.jsonl")
        found["metrics"] = [{k: v for k, v in row.items() if k not in TIMED} for row in rows]
        assert (self.folder / "results/mini/report/report.pdf").is_file()
        return found

    def _await(
        self,
        kill: Kill,
        seconds: Mapping[str, float],
        driver: "subprocess.Popen[bytes]",
        began: float,
        known: set[tuple[Path, int]],
    ) -> psutil.Process | None:
        """Wait for the point of a kill.

        Args:
            kill: The kill.
            seconds: How long each stage, and each part of a step, takes.
            driver: The driver, started at `began`.
            began: Seconds since 1970.
            known: Incomplete checkpoints of before.

        Returns:
            The process of the stage; None if it never came.

        """
        command = _COMMANDS.get(kill.stage, "train")
        job: psutil.Process | None = self.until(lambda: _job(driver.pid, command), driver)
        if job is None:
            return None
        if kill.stage == "checkpoint":
            self.until(lambda: self._incomplete() - known or not _runs(job), driver, pause=0.0005)
        elif kill.stage in ("rollout", "optimizer step"):
            # In the first or in the second step of this attempt.
            first = max(sealed(self.checkpoints), default=0) + (kill.share > 0.5)

            def has_begun() -> bool:
                beat = guards.heartbeat(self.checkpoints)
                return bool(beat) and beat["time"] > began and beat["step"] >= first

            self.until(lambda: has_begun() or not _runs(job), driver, pause=0.002)
            if kill.stage == "optimizer step":
                time.sleep(seconds["rollout"])
        time.sleep(kill.share * seconds[kill.stage])
        return job

    def _incomplete(self) -> set[tuple[Path, int]]:
        """Checkpoints without a seal, with the times of their last change."""
        found = set()
        for path in self.checkpoints.glob("checkpoint-*"):
            with contextlib.suppress(FileNotFoundError):
                if not (path / SEAL).exists():
                    found.add((path, path.stat().st_ctime_ns))
        return found

    def until(
        self, condition: Callable[[], Any], driver: "subprocess.Popen[bytes]", pause: float = 0.02
    ) -> Any:
        """The first true value of a condition, or None if the driver ends before."""
        end = time.monotonic() + _PATIENCE
        while not (found := condition()):
            if driver.poll() is not None:
                return None
            assert time.monotonic() < end, self.log
            time.sleep(pause)
        return found

    def kill(self, driver: "subprocess.Popen[bytes]") -> None:
        """Kill everything, as a machine that goes down does."""
        self._left += _tree(driver.pid)
        self.clean()
        driver.wait()


def _tree(driver: int) -> list[psutil.Process]:
    """A driver and all it has started, the trainers of a launcher too."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(driver)
        return [process, *process.children(recursive=True)]
    return []


def _job(driver: int, command: str) -> psutil.Process | None:
    """The process of a stage, by its subcommand."""
    for process in _tree(driver):
        with contextlib.suppress(psutil.Error):
            if process.cmdline()[1:4] == ["-m", "r1zero", command]:
                return process
    return None


def _runs(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False
