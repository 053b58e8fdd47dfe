"""What this machine has beside GPUs: means to compile extensions, and shared memory."""

import contextlib
import os
import shutil
import sys
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108
LEAST_SHARED_MEMORY = 2**30
"""Free bytes of shared memory to want where several processes exchange tensors: an allowance. A
container has 64 MiB by default, at which NCCL fails."""

_PROCESSES = Path("/proc")


def missing_build_tools() -> list[str]:
    """The tools that DeepSpeed compiles its optimizers with and that this machine lacks."""
    programs = f"{Path(sys.executable).parent}"
    compiler = any(shutil.which(name) for name in ("c++", "g++", "clang++"))
    ninja = shutil.which("ninja") or shutil.which("ninja", path=programs)
    return [name for name, found in (("a C++ compiler", compiler), ("ninja", ninja)) if not found]


def abandoned_builds() -> list[Path]:
    """Lock files of torch's extensions that no process of this user has open.

    A build holds `<extension>/lock` open and deletes it at its end. One that is killed leaves it,
    and every later build of the extension waits for it without end (`torch.utils.file_baton`).
    """
    named = os.environ.get("TORCH_EXTENSIONS_DIR")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    places = [(Path(named), "*/lock")] if named else [(cache / "torch_extensions", "*/*/lock")]
    locks = [lock for folder, pattern in places for lock in folder.glob(pattern)]
    if not locks or not _PROCESSES.is_dir():
        return []
    opened = set()
    for link in _PROCESSES.glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):  # it was closed, or is another user's
            opened.add(os.readlink(link))
    return sorted(lock for lock in locks if os.path.realpath(lock) not in opened)


def free_shared_memory(folder: Path = SHARED_MEMORY) -> int | None:
    """Free bytes of the shared memory of processes; None if there is no such folder."""
    return shutil.disk_usage(folder).free if folder.is_dir() else None
