"""One GPU for each evaluation, if several run side by side."""

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from r1zero.core.locks import LockedError, lock
from r1zero.plan.machine import count_gpus, visible_gpus

_WAIT_SECONDS = 1.0


@contextmanager
def locked_gpu(gpus: int | None, folder: Path | None = None) -> Iterator[None]:
    """Make one GPU visible to this process that no other evaluation on this machine uses.

    Snakemake counts GPUs but assigns no ids. If only one GPU is visible, as in a SLURM job, it is
    used without a lock. Enter this context before CUDA is initialised.

    Args:
        gpus: GPUs that the process may use: 0 hides all; None leaves the environment unchanged.
        folder: Folder of the lock files; by default one per user in the folder for temporary files.

    """
    if gpus == 0:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    found = visible_gpus() or [str(index) for index in range(count_gpus("auto"))]
    if gpus is None or len(found) < 2:
        yield
        return
    locks = folder or Path(tempfile.gettempdir()) / f"r1zero-gpus-{os.getuid()}"
    locks.mkdir(parents=True, exist_ok=True)
    with _locked(found, locks) as gpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
        yield


@contextmanager
def _locked(gpus: Sequence[str], folder: Path) -> Iterator[str]:
    """Wait for a GPU that no other process has locked, and lock it.

    The operating system releases the lock of a process that is killed.
    """
    while True:
        for gpu in gpus:
            try:
                with lock(folder / gpu.replace("/", "_")):
                    yield gpu
                    return
            except LockedError:
                continue
        time.sleep(_WAIT_SECONDS)
