"""The GPUs of this machine and their driver, as NVML reports them. Needs no torch."""

from typing import NamedTuple

from r1zero.plan.machine import visible_gpus


class Device(NamedTuple):
    """One GPU."""

    name: str
    """Its name by the maker."""
    total: int
    """Bytes of memory."""
    free: int
    """Bytes that no process holds."""
    capability: tuple[int, int] = (8, 0)
    """Its compute capability."""


class Driver(NamedTuple):
    """The driver and its GPUs."""

    version: str
    """Version of the driver."""
    cuda: tuple[int, int]
    """The newest version of CUDA that it knows."""
    devices: list[Device]
    """GPUs, all of them, whatever `CUDA_VISIBLE_DEVICES` says."""


def find_driver() -> Driver | None:
    """The driver of this machine, or None if there is none."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    try:
        known = pynvml.nvmlSystemGetCudaDriverVersion()
        devices = []
        for index in range(pynvml.nvmlDeviceGetCount()):
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
            name = str(pynvml.nvmlDeviceGetName(handle))
            major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(handle)
            devices.append(Device(name, memory.total, memory.free, (major, minor)))
        version = str(pynvml.nvmlSystemGetDriverVersion())
        return Driver(version, (known // 1000, known % 1000 // 10), devices)
    except pynvml.NVMLError:
        return None
    finally:
        pynvml.nvmlShutdown()


BFLOAT16 = (8, 0)
"""Compute capability that bfloat16 and flash attention need. transformers and vLLM refuse bfloat16
below it, and vLLM always computes in bfloat16 here; vLLM itself would run from 7.5 on."""


def without_bfloat16(driver: Driver) -> list[Device]:
    """The visible GPUs that cannot compute in bfloat16."""
    visible = visible_gpus()
    return [
        device
        for number, device in enumerate(driver.devices)
        if device.capability < BFLOAT16 and (not visible or str(number) in visible)
    ]


def cuda_of_torch() -> tuple[int, int] | None:
    """The version of CUDA that the installed torch was built for; None for a build without CUDA.

    Read from its file of versions, since importing torch takes seconds.

    Raises:
        ModuleNotFoundError: torch is not installed.

    """
    import importlib.util
    import re
    from pathlib import Path

    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")
    text = (Path(spec.origin).parent / "version.py").read_text(encoding="utf-8")
    found = re.search(r"^cuda\b[^=]*=\s*'(\d+)\.(\d+)", text, re.MULTILINE)
    return (int(found[1]), int(found[2])) if found else None


def torch_problem(driver: Driver, cuda: tuple[int, int] | None) -> str | None:
    """Why the installed torch cannot use the GPUs of a driver; None if it can.

    A build for CUDA 13.0 runs on any driver that knows CUDA 13, whatever its minor version: see
    "CUDA Compatibility, minor version compatibility" in NVIDIA's documentation.

    Args:
        driver: The driver.
        cuda: Of `cuda_of_torch`.

    """
    if cuda is None:
        return "the installed torch is a build without CUDA"
    if driver.cuda[0] < cuda[0]:
        return (
            f"the installed torch is built for CUDA {cuda[0]}.{cuda[1]}, and the driver "
            f"{driver.version} knows CUDA {driver.cuda[0]}.{driver.cuda[1]} at most"
        )
    return None
