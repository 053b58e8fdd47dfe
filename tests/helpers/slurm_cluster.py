"""A SLURM cluster on this machine, in one folder: munged, slurmctld and a slurmd for each node.

Debian's slurmd may run several times on one machine. It needs no systemd, no cgroups and no
accounting. GPUs are device files without a GPU behind them.
"""

import contextlib
import os
import shutil
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil

DAEMONS = ("munged", "slurmctld", "slurmd")
CLIENTS = (
    "srun",
    "sbatch",
    "scancel",
    "scontrol",
    "squeue",
    "sinfo",
    "sacct",
    "sacctmgr",
    "sshare",
)
# Of each node, and the time limit of its partitions.
NODES, CPUS, MEMORY_MB, GPUS, MINUTES = 3, 8, 16000, 4, 60
_SBIN = "/usr/sbin:/sbin"
_CONFIG = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
AuthType=auth/munge
# A requeued job waits so long before it starts again.
AuthInfo=socket={root}/munge.sock,cred_expire=5
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool/%n
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd-%n.pid
SlurmctldLogFile={root}/slurmctld.log
SlurmdLogFile={root}/slurmd-%n.log
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
ProctrackType=proctrack/pgid
TaskPlugin=task/none
MpiDefault=none
# The nodes have more cores than this machine.
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=500
GresTypes=gpu
ReturnToService=2
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MinJobAge=86400
KillWait=3
SlurmdTimeout=30
SchedulerParameters=batch_sched_delay=0,sched_interval=5,bf_interval=5
EnforcePartLimits=ALL
PartitionName=cpu Nodes=ALL Default=YES DefaultTime=10 MaxTime={minutes} State=UP
PartitionName=gpu Nodes=ALL DefaultTime=10 MaxTime={minutes} State=UP
"""


class SlurmCluster:
    """A cluster that runs while the context is entered."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._config = root / "slurm.conf"
        self._clients = root / "bin"

    @property
    def search_path(self) -> str:
        """Folders with the programs of SLURM."""
        return f"{os.environ['PATH']}:{_SBIN}"

    @property
    def environment(self) -> dict[str, str]:
        """Variables with which its commands are found."""
        return {
            "SLURM_CONF": str(self._config),
            "PATH": f"{self._clients}:{self.search_path}",
        }

    def __enter__(self) -> "SlurmCluster":
        self._write()
        munge = self.root
        self._start(
            *("munged", f"--key-file={munge / 'munge.key'}", f"--socket={munge / 'munge.sock'}"),
            *(f"--pid-file={munge / 'munged.pid'}", f"--log-file={munge / 'munged.log'}"),
            # Folders of tests are closed to other users, which munged does not expect.
            *(f"--seed-file={munge / 'munge.seed'}", "--num-threads=2", "--force"),
        )
        self.start_controller()
        for node in range(1, NODES + 1):
            (self.root / "spool" / f"n{node}").mkdir(parents=True)
            self._start("slurmd", "-f", str(self._config), "-N", f"n{node}")
        self._wait(lambda: self.command("sinfo", "-h", "-N", "-o", "%t").split().count("idle") >= 2)
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(subprocess.SubprocessError):
            self.cancel_all()
        for path in (*self.root.glob("slurmd-*.pid"), self.root / "slurmctld.pid"):
            self._stop(path)
        # What a job has left, which outlives slurmd.
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                environment = process.environ()
                if environment.get("SLURM_CONF") == str(self._config):
                    process.kill()
        self._stop(self.root / "munged.pid")

    def command(self, *words: str) -> str:
        """Output of a command of SLURM."""
        result = subprocess.run(
            words,
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        return result.stdout

    def jobs(self, rule: str, *columns: str, states: str = "all") -> list[list[str]]:
        """Columns of `squeue` for the jobs of a rule, in the order of their submission.

        Args:
            rule: Name of the rule.
            columns: Format letters of `squeue -o`.
            states: States to list.

        """
        form = "|".join(["%i", "%k", *(f"%{column}" for column in columns)])
        lines = self.command("squeue", f"--states={states}", "-h", "-o", form).splitlines()
        rows = sorted((line.split("|") for line in lines), key=lambda row: int(row[0]))
        return [[row[0], *row[2:]] for row in rows if row[1].startswith(f"rule_{rule}")]

    def cancel_all(self) -> None:
        """Cancel all jobs."""
        self.command("scancel", "--user", str(os.getuid()))

    def start_controller(self) -> None:
        """Start the controller, from its saved state if there is one."""
        self._start("slurmctld", "-f", str(self._config))
        self._wait(lambda: "UP" in self.command("scontrol", "ping"))

    def stop_controller(self) -> None:
        """Stop the controller; jobs keep running."""
        self._stop(self.root / "slurmctld.pid")

    def _write(self) -> None:
        for name in ("state", "spool", "bin", "dev"):
            (self.root / name).mkdir()
        self.root.chmod(0o755)
        key = self.root / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o600)
        for gpu in range(GPUS):
            os.mknod(self.root / f"dev/nvidia{gpu}", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        ports = _free_ports(NODES + 1)
        host = socket.gethostname().split(".")[0]
        nodes = "".join(
            f"NodeName=n{node} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[node]} "
            f"CPUs={CPUS} RealMemory={MEMORY_MB} Gres=gpu:test:{GPUS} State=UNKNOWN\n"
            for node in range(1, NODES + 1)
        )
        user = psutil.Process().username()
        text = _CONFIG.format(host=host, port=ports[0], root=self.root, user=user, minutes=MINUTES)
        head, partitions = text.split("PartitionName", 1)
        self._config.write_text(f"{head}{nodes}PartitionName{partitions}")
        devices = f"{self.root}/dev/nvidia[0-{GPUS - 1}]"
        (self.root / "gres.conf").write_text(f"AutoDetect=off\nName=gpu Type=test File={devices}\n")
        (self.root / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
        # Inside of a job the plugin drops SLURM_CONF before it calls srun.
        for name in CLIENTS:
            client = self._clients / name
            client.write_text(
                f'#!/bin/sh\nSLURM_CONF={self._config} exec {shutil.which(name)} "$@"\n'
            )
            client.chmod(0o755)

    def _start(self, *words: str) -> None:
        environment = {**os.environ, **self.environment}
        with (self.root / f"{words[0]}.out").open("ab") as stream:
            subprocess.run(
                words, env=environment, stdout=stream, stderr=stream, check=True, timeout=60
            )

    def _stop(self, pid_file: Path) -> None:
        with contextlib.suppress(OSError, ValueError, psutil.NoSuchProcess):
            process = psutil.Process(int(pid_file.read_text()))
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(psutil.TimeoutExpired):
                process.wait(10)
                return
            process.kill()

    @staticmethod
    def _wait(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with contextlib.suppress(subprocess.SubprocessError):
                if condition():
                    return
            time.sleep(0.2)
        raise TimeoutError("the cluster does not come up")


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
