"""Provenance of a result: commit, package versions, hardware.

Only outputs of long or final work have it (a trained model, an evaluation, the report). Manifests
that other rules depend on do not, so that making them again gives the same bytes and triggers
nothing.
"""

import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

PACKAGES = (
    "r1zero",
    "torch",
    "transformers",
    "trl",
    "accelerate",
    "datasets",
    "tokenizers",
    "deepspeed",
    "vllm",
    "ms-swift",
    "math-verify",
    "latex2sympy2-extended",
    "snakemake",
)


def provenance() -> dict[str, Any]:
    """Commit, versions of the installed packages among `PACKAGES`, and hardware."""
    return {"commit": commit(), "versions": versions(), "hardware": hardware()}


def versions_in(programs: Path, packages: Iterable[str]) -> dict[str, str]:
    """Versions of Python and of some packages in another environment.

    Args:
        programs: Folder of its programs.
        packages: Names of distributions; those that are not installed are left out.

    """
    command = [str(programs / "python"), "-c", _REPORT_VERSIONS, *packages]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    versions: dict[str, str] = json.loads(found)
    return versions


_REPORT_VERSIONS = """
import importlib.metadata, json, platform, sys
found = {"python": platform.python_version()}
for name in sys.argv[1:]:
    try:
        found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        pass
print(json.dumps(found))
"""


def commit() -> str:
    """Git commit of the workflow, with `-dirty` for uncommitted changes; `unknown` outside git."""
    root = Path(__file__).resolve().parents[2]
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return described.stdout.strip()


def versions() -> dict[str, str]:
    """Versions of the installed packages among `PACKAGES`, and of Python."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def hardware() -> dict[str, Any]:
    """CPU model, usable cores, memory in GiB."""
    pages, page_size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {
        "cpu": _cpu_model(),
        "cores": usable_cores(),
        "memory_gib": round(pages * page_size / 2**30, 1),
    }


def usable_cores() -> int:
    """CPU cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
