"""Start a trainer as a process group of its own, and leave nothing of it behind."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from r1zero.errors import UserError
from r1zero.provenance import usable_cores

_GRACE_SECONDS = 20


def launch(command: Sequence[str], *, gpus: int, log: Path) -> None:
    """Run a trainer to its end; its output goes on to ours and to `log`, which is appended to.

    Args:
        command: Program and arguments.
        gpus: GPUs it was promised; with 0 it sees none.
        log: File that outlives retries (Snakemake deletes its own log before each).

    Raises:
        UserError: It failed; names the log.

    """
    with log.open("ab") as stream:
        process = subprocess.Popen(
            command,
            env=_environment(gpus),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            close_fds=False,  # the trainer inherits, and so keeps, the lock on its folder
        )
        # A stopped workflow must stop its trainer, whatever processes that has started.
        previous = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        try:
            assert process.stdout is not None
            for line in process.stdout:
                sys.stdout.buffer.write(line)
                sys.stdout.flush()
                stream.write(line)
                stream.flush()
            status = process.wait()
        finally:
            _stop(process)
            signal.signal(signal.SIGTERM, previous)
    if status:
        raise UserError(f"the trainer failed with status {status}", where=str(log))


def _environment(gpus: int) -> dict[str, str]:
    environment = dict(os.environ)
    # All it needs is on disk by now; a hub client that looks for more would wait for time-outs.
    environment["HF_HUB_OFFLINE"] = "1"
    environment["TOKENIZERS_PARALLELISM"] = "false"
    environment["PYTHONUNBUFFERED"] = "1"
    environment["TRL_EXPERIMENTAL_SILENCE"] = "1"  # rollout_func; the version is locked
    if gpus == 0:
        environment["CUDA_VISIBLE_DEVICES"] = ""
        environment.setdefault("OMP_NUM_THREADS", str(usable_cores()))
    return environment


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the whole process group: politely, then for certain."""
    for how, patience in ((signal.SIGTERM, _GRACE_SECONDS), (signal.SIGKILL, _GRACE_SECONDS)):
        try:
            os.killpg(process.pid, how)
        except ProcessLookupError:
            break
        try:
            process.wait(timeout=patience)
        except subprocess.TimeoutExpired:
            continue
    process.poll()
