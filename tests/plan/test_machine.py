"""The GPUs of this machine: counted through NVML, or as CUDA_VISIBLE_DEVICES lists them."""

from types import SimpleNamespace

import pynvml
import pytest

from r1zero.plan.machine import count_gpus, find_machine
from r1zero.settings import Hardware


def test_gpus_are_counted_through_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlShutdown", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetCount", lambda: 2)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByIndex", lambda index: index)
    sizes = [SimpleNamespace(total=gib << 30) for gib in (80, 24)]
    monkeypatch.setattr(pynvml, "nvmlDeviceGetMemoryInfo", sizes.__getitem__)
    assert count_gpus("auto") == 2
    assert (count_gpus(1), count_gpus(0)) == (1, 0)
    # The smallest GPU counts, since all have the same work.
    assert find_machine(Hardware()).gpu_memory_gb == 24


def test_without_a_driver_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def no_driver() -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(pynvml, "nvmlInit", no_driver)
    assert count_gpus("auto") == 0


@pytest.mark.parametrize(("visible", "count"), [("", 0), ("-1", 0), ("1", 1), ("0,2,3", 3)])
def test_gpus_that_are_hidden_do_not_count(
    monkeypatch: pytest.MonkeyPatch, visible: str, count: int
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert count_gpus("auto") == count
