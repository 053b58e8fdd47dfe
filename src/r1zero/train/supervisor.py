"""Start a trainer as a process group of its own, and leave nothing of it behind."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from r1zero.core.errors import UserError
from r1zero.core.provenance import usable_cores

_GRACE_SECONDS = 20


def launch(
    command: Sequence[str],
    *,
    gpus: int,
    log: Path,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Run a trainer to its end; its output goes on to ours and to `log`, which is appended to.

    Args:
        command: Program and arguments.
        gpus: GPUs it was promised; with 0 it sees none.
        log: File that outlives retries (Snakemake deletes its own log before each).
        environment: More variables, such as the cards it gets.

    Raises:
        UserError: It failed; names the log.

    """
    with log.open("ab") as stream:
        process = subprocess.Popen(
            command,
            env=_environment(gpus) | dict(environment or {}),
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


@contextmanager
def serve(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    health: str,
    log: Path,
    patience: float = 1800,
) -> Iterator[None]:
    """Have a server while the block runs, from when it answers; it leaves no process behind.

    Args:
        command: Program and arguments.
        environment: More variables.
        health: Address that answers with status 200 once it is ready.
        log: File for its output.
        patience: Seconds it may take to get ready.

    Raises:
        UserError: It ended, or was not ready in time; names the log.

    """
    with log.open("ab") as stream:
        process = subprocess.Popen(
            command,
            env=_environment(1) | dict(environment),
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            end = time.monotonic() + patience
            while not _answers(health):
                if process.poll() is not None:
                    raise UserError(
                        f"the server ended with status {process.returncode}", where=str(log)
                    )
                if time.monotonic() > end:
                    raise UserError(f"no answer at {health} in {patience:g} s", where=str(log))
                time.sleep(min(1.0, patience / 20))
            yield
        finally:
            _stop(process)


def _answers(address: str) -> bool:
    try:
        # On this machine: a proxy has no part in it.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(address, timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False


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
