"""What this machine has beside GPUs: tools that compile extensions, and shared memory."""

import shutil
import sys
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108
LEAST_SHARED_MEMORY = 2**30
"""Free bytes of shared memory to want where several processes exchange tensors: an allowance. A
container has 64 MiB by default, at which NCCL fails."""


def missing_build_tools() -> list[str]:
    """The tools that DeepSpeed compiles its optimizers with and that this machine lacks."""
    programs = f"{Path(sys.executable).parent}"
    compiler = any(shutil.which(name) for name in ("c++", "g++", "clang++"))
    ninja = shutil.which("ninja") or shutil.which("ninja", path=programs)
    return [name for name, found in (("a C++ compiler", compiler), ("ninja", ninja)) if not found]


def free_shared_memory(folder: Path = SHARED_MEMORY) -> int | None:
    """Free bytes of the shared memory of processes; None if there is no such folder."""
    return shutil.disk_usage(folder).free if folder.is_dir() else None
