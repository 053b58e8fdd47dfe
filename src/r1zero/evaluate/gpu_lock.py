"""One GPU for one evaluation, where several run side by side."""

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
    """Let this process see one GPU that no other evaluation on this machine has, until the end.

    Snakemake counts GPUs and names none. Where only one is visible, as in a job of SLURM, it is
    that one. To be entered before CUDA is initialised.

    Args:
        gpus: GPUs that the process may use: 0 hides them all; None leaves the environment as it is.
        folder: Where the locks are; by default one for each user in the folder for temporary files.

    """
    if gpus == 0:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    cards = visible_gpus() or [str(card) for card in range(count_gpus("auto"))]
    if gpus is None or len(cards) < 2:
        yield
        return
    locks = folder or Path(tempfile.gettempdir()) / f"r1zero-cards-{os.getuid()}"
    locks.mkdir(parents=True, exist_ok=True)
    with _locked(cards, locks) as card:
        os.environ["CUDA_VISIBLE_DEVICES"] = card
        yield


@contextmanager
def _locked(cards: Sequence[str], folder: Path) -> Iterator[str]:
    """A card that no other process has; waits for one."""
    while True:
        for card in cards:
            try:
                with lock(folder / card.replace("/", "_")):
                    yield card
                    return
            except LockedError:
                continue
        time.sleep(_WAIT_SECONDS)
