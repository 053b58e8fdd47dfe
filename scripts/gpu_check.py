"""`make gpu-check`: `r1zero gpu-check` with any Python that has torch, transformers, accelerate.

Needs no `make install`, no network and no Snakemake. Packages that this Python lacks are taken from
wheels in `.gpu-check/wheels-<version>`, which `make gpu-check-packages` gathers on a machine with a
network.
"""

import importlib.metadata
import importlib.util
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
_WHEELS = _ROOT / ".gpu-check" / f"wheels-{_VERSION}"
_UNPACKED = _ROOT / ".gpu-check" / f"python-{_VERSION}"
# The lowest torch, and the release of transformers whose models are measured.
_LEAST_TORCH, _TRANSFORMERS = (2, 11), (5, 17)
_MODULES = {
    "accelerate": "accelerate",
    "antlr4": "antlr4-python3-runtime",
    "datasets": "datasets",
    "latex2sympy2_extended": "latex2sympy2-extended",
    "math_verify": "math-verify",
    "numpy": "numpy",
    "polars": "polars",
    "psutil": "psutil",
    "pyarrow": "pyarrow",
    "dill": "dill",
    "multiprocess": "multiprocess",
    "pandas": "pandas",
    "pydantic": "pydantic",
    "pydantic_core": "pydantic-core",
    "pynvml": "nvidia-ml-py",
    "rich": "rich",
    "tokenizers": "tokenizers",
    "trl": "trl",
    "typer": "typer",
    "xxhash": "xxhash",
    "yaml": "pyyaml",
}


def main() -> int:
    """Check the Python, put the packages on its path, and run the check; its status."""
    problem = _problem()
    if problem:
        print(f"error: gpu-check: {problem}", file=sys.stderr)
        return 2
    unpack(_WHEELS, _UNPACKED)
    path = [str(_UNPACKED), str(_ROOT / "src"), os.environ.get("PYTHONPATH", "")]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))}
    sys.path[:0] = path[:2]
    missing = [name for module, name in _MODULES.items() if not importlib.util.find_spec(module)]
    if missing:
        print(
            f"error: gpu-check: {sys.executable} lacks {', '.join(missing)} (make "
            f"gpu-check-packages CHECK_VERSION={_VERSION}, with a network, gathers what is small)",
            file=sys.stderr,
        )
        return 2
    command = [sys.executable, "-m", "r1zero", "gpu-check", *sys.argv[1:]]
    return subprocess.run(command, env=env, cwd=_ROOT, check=False).returncode


def _problem() -> str | None:
    """Why this Python will not do."""
    for name, least in (("torch", _LEAST_TORCH), ("transformers", _TRANSFORMERS)):
        try:
            found = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            return f"{sys.executable} lacks {name}; another: make gpu-check CHECK_PYTHON=python3"
        numbers = tuple(int(part) for part in re.findall(r"\d+", found)[:2])
        if numbers < least or (name == "transformers" and numbers != least):
            wanted = ".".join(map(str, least)) + (" or later" if name == "torch" else "")
            return f"needs {name} {wanted}, {sys.executable} has {found}"
    return None


def unpack(wheels: Path, folder: Path) -> None:
    """Unpack the wheels that are not unpacked yet.

    Args:
        wheels: Folder of wheels, which need not exist.
        folder: Folder to put on the path.

    """
    for wheel in sorted(wheels.glob("*.whl")):
        stamp = folder / f".{wheel.name}"
        if stamp.is_file():
            continue
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
        stamp.touch()


if __name__ == "__main__":
    sys.exit(main())
