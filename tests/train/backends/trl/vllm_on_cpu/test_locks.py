"""vLLM and DeepSpeed fit the lock for GPUs. uv resolves anew, from the packages' metadata alone."""

import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tiny import REPOSITORY

pytestmark = [pytest.mark.vllm, pytest.mark.slow]

LOCK, GPU_LOCK = (REPOSITORY / f"requirements{kind}.lock" for kind in ("", "-gpu"))
PYTHONS = ("3.11", "3.12", "3.13")


@pytest.fixture(scope="module")
def uv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("uv")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    subprocess.run([folder / "bin" / "pip", "install", "--quiet", "uv>=0.13"], check=True)
    return folder / "bin" / "uv"


def resolve(
    uv: Path, python: str, lock: Path, *wanted: str, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """Resolve what is wanted within a lock, for a Python on Linux x86-64."""
    return subprocess.run(
        [
            *(uv, "pip", "compile", "--quiet", "--no-header", "--no-annotate"),
            *("--python-version", python, "--python-platform", "x86_64-manylinux_2_31"),
            *("--constraint", lock, *wanted),
        ],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )


def pins(text: str, python: str) -> dict[str, str]:
    """Versions by package, of the lines that hold for a Python."""
    found = [Requirement(line.split(" #")[0]) for line in text.splitlines() if line[:1].isalnum()]
    place = {"python_version": python, "python_full_version": f"{python}.0", "extra": ""}
    return {
        canonicalize_name(each.name): str(each.specifier)
        for each in found
        if each.marker is None or each.marker.evaluate(place)
    }


@pytest.mark.parametrize("python", PYTHONS)
def test_the_lock_for_gpus_holds_all_that_is_needed(uv: Path, python: str) -> None:
    extras = ("train", "track", "dev", "vllm", "deepspeed")
    options = [word for extra in extras for word in ("--extra", extra)]
    result = resolve(uv, python, GPU_LOCK, *options, str(REPOSITORY / "pyproject.toml"))
    assert result.returncode == 0, result.stderr
    locked, needed = pins(GPU_LOCK.read_text(), python), pins(result.stdout, python)
    assert {"vllm", "deepspeed", "numpy", "setuptools", "torch"} <= needed.keys()
    # torch brings its CUDA packages where it is installed with them; pip comes with Python.
    brought = ("nvidia-", "cuda-", "triton", "pip")
    own = {name: pin for name, pin in needed.items() if not name.startswith(brought)}
    assert own == {name: locked.get(name) for name in own}


@pytest.mark.parametrize("python", PYTHONS)
def test_the_other_lock_admits_no_vllm(uv: Path, python: str) -> None:
    """Hence the second one; what the resolver refuses is seen."""
    version = pins(GPU_LOCK.read_text(), python)["vllm"]
    result = resolve(uv, python, LOCK, "-", stdin=f"vllm{version}\n")
    assert result.returncode != 0
    assert any(name in result.stderr for name in ("numpy", "setuptools"))
