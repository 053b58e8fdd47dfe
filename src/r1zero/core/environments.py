"""Environments of stacks that cannot share the main one: a pip lock and a virtual environment.

The lock is `envs/<name>.lock`, the environment `.envs/<name>`. The workflow makes it when a run
first needs it.
"""

import subprocess
import sys
import venv
from pathlib import Path

from r1zero.core.errors import UserError
from r1zero.core.files import sha256_file, write_json

ENVIRONMENTS = Path(".envs")
# Written last: an environment without it is incomplete.
STAMP = "installed.json"


def make_environment(lock: Path, out: Path) -> None:
    """Make a virtual environment with exactly the packages of a lock.

    Args:
        lock: A requirements file that names every package with its version, since pip resolves
            nothing here. It may hold options of pip, such as an index.
        out: Folder of the environment; an old one is replaced.

    Raises:
        UserError: There is no lock, or pip failed.

    """
    if not lock.is_file():
        raise UserError("no such file", where=str(lock))
    # The first line of each program names the interpreter, which a link would not outlive.
    out = out.resolve()
    (out / STAMP).unlink(missing_ok=True)
    venv.create(out, clear=True, symlinks=True)
    pip = [sys.executable, "-m", "pip", "--python", str(programs_of(out) / "python")]
    options = ["--disable-pip-version-check", "--no-input", "--quiet", "--no-deps", "--no-compile"]
    install = ["install", *options, "--requirement", str(lock)]
    status = subprocess.run([*pip, *install], check=False).returncode
    if status:
        raise UserError(f"pip ended with status {status}", where=str(lock))
    write_json(out / STAMP, {"lock": sha256_file(lock), "python": sys.version.split()[0]})


def programs_of(folder: Path) -> Path:
    """Folder of the programs of an environment, its `python` among them."""
    return folder.absolute() / "bin"


def programs_for(name: str | None) -> Path | None:
    """Folder of the programs of a named environment; None for the main one.

    Raises:
        UserError: The environment was not made.

    """
    if name is None:
        return None
    folder = ENVIRONMENTS / name
    if not (folder / STAMP).is_file():
        raise UserError(
            "the environment was not made", where=str(folder), hint=f"snakemake {folder / STAMP}"
        )
    return programs_of(folder)
