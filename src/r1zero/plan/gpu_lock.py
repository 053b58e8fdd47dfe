"""GPUs of its own for each training and evaluation, if several run side by side."""

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from r1zero.core.errors import UserError
from r1zero.core.locks import LockedError, lock
from r1zero.plan.machine import count_gpus, visible_gpus

_WAIT_SECONDS = 1.0


@contextmanager
def locked_gpus(gpus: int | None, folder: Path | None = None) -> Iterator[list[str]]:
    """Make GPUs visible to this process that no other training or evaluation here uses.

    Snakemake counts GPUs but assigns no ids. If no more are visible than asked for, as in a SLURM
    job, they are used without a lock. Enter this context before CUDA is initialised.

    Args:
        gpus: GPUs that the process may use: 0 hides all; None leaves the environment unchanged.
        folder: Folder of the lock files; by default one per user in the folder for temporary files.

    Yields:
        The GPUs, as `CUDA_VISIBLE_DEVICES` names them.

    Raises:
        UserError: There are fewer.

    """
    if gpus == 0:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    found = visible_gpus() or [str(index) for index in range(count_gpus("auto"))]
    if len(found) < (gpus or 0):
        raise UserError(
            f"{gpus} GPUs are planned, {len(found)} are visible",
            where="--gpus",
            hint="see CUDA_VISIBLE_DEVICES, or plan for the GPUs of this machine",
        )
    if gpus is None or len(found) == gpus:
        yield found
        return
    locks = folder or Path(tempfile.gettempdir()) / f"r1zero-gpus-{os.getuid()}"
    locks.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        waits = False
        while len(taken := _lock(found, gpus, locks, held)) < gpus:
            if not waits:
                print(f"waiting for {gpus} free GPUs of {', '.join(found)}", flush=True)
            waits = True
            # Two processes that each kept some could wait for each other.
            held.close()
            time.sleep(_WAIT_SECONDS)
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(taken)
        yield taken


def _lock(gpus: Sequence[str], count: int, folder: Path, held: ExitStack) -> list[str]:
    """Lock up to `count` GPUs that no other process has locked.

    The operating system releases the locks of a process that is killed.
    """
    taken: list[str] = []
    for gpu in gpus:
        if len(taken) < count:
            try:
                held.enter_context(lock(folder / gpu.replace("/", "_")))
            except LockedError:
                continue
            taken.append(gpu)
    return taken
