"""The machine that watches: its GPUs, and the disk that the checkpoints are on."""

import shutil
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Gpu:
    """A GPU of this machine."""

    index: int
    name: str
    busy: float | None
    """Share of the last second in which a kernel ran; None where that is not counted."""
    used: float
    """Bytes of its memory."""
    total: float


def gpus() -> list[Gpu]:
    """The GPUs of this machine; none where there is no driver."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        return [_look(index) for index in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError:  # a card that fell off the bus, or one that a container hides
        return []
    finally:
        pynvml.nvmlShutdown()


def _look(index: int) -> Gpu:
    import pynvml

    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    try:
        busy = pynvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100
    except pynvml.NVMLError:  # a slice of a card (MIG) has no rate
        busy = None
    name = pynvml.nvmlDeviceGetName(handle)
    return Gpu(index, str(name), busy, memory.used, memory.total)


def disk_free(folders: list[Path]) -> dict[str, int]:
    """Free bytes of each disk with checkpoints, by the folder of checkpoints on it."""
    found: dict[str, int] = {}
    devices = set()
    for folder in folders:
        path = folder / "checkpoints"
        try:
            path = path if path.is_dir() else folder
            device = path.stat().st_dev
            if device not in devices:
                found[str(path)] = shutil.disk_usage(path).free
        except OSError:
            continue
        devices.add(device)
    return found
