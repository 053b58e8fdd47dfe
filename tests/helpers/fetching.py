"""Run `r1zero sources` as a user does, against hubs on this machine."""

import io
import json
import os
import re
import socket
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

from hub import Hub, sha256
from r1zero.cli import main
from tiny import ENVIRONMENT

REPO = "owner/rows"
SMALL = b'{"nums": [44, 19, 35], "target": 98}\n'
# Beyond the blocks in which clients read, so that it can break off in the middle.
LARGE = bytes(range(256)) * 4096 * 3
FILES = {"rows.jsonl": SMALL, "data/train.parquet": LARGE}
DATASET = {
    "kind": "hub",
    "task": "countdown",
    "huggingface": {"repo": REPO},
    "modelscope": {"repo": REPO},
    "licence": "none",
    "gigabytes": 0.003,
    "splits": {"train": {"files": ["data/*.parquet"]}, "test": {"files": ["rows.jsonl"]}},
}
KINDS = ("huggingface", "modelscope")


def dead_address() -> str:
    """Address at which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def endpoint(kind: str, url: str, **options: Any) -> dict[str, Any]:
    """One endpoint that gives up soon."""
    return {kind: url, "timeout": 2, "retries": 1, **options}


class Place(NamedTuple):
    """Where a test fetches to."""

    folder: Path

    @property
    def lock(self) -> Path:
        return self.folder / "sources.lock.yaml"

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def command(
        self, *endpoints: dict[str, Any], section: str = "dataset", **source: Any
    ) -> list[str]:
        """Command line that fetches `mine`, as `DATASET` says but for what is given."""
        self.folder.mkdir(exist_ok=True)
        table = self.folder / "table.yaml"
        table.write_text("{}")
        entry = source if section == "model" else DATASET | source
        return [
            *(sys.executable, "-m", "r1zero", "sources", section, "mine"),
            *("--table", str(table), "--own", json.dumps({"mine": entry})),
            *("--endpoints", json.dumps(endpoints)),
            *("--lock", str(self.lock), "--out", str(self.out)),
        ]

    def fetch(
        self,
        *endpoints: dict[str, Any],
        section: str = "dataset",
        offline: bool = False,
        environment: dict[str, str] | None = None,
        **source: Any,
    ) -> "subprocess.CompletedProcess[str]":
        """Fetch, and return what it printed.

        In this process, which has the clients of the hubs loaded, unless the environment is one
        that Python itself reads.
        """
        command = self.command(*endpoints, section=section, **source)
        command += ["--offline"] if offline else []
        environment = clean_environment() | (environment or {})
        return run(command, environment, own_process="PYTHONPATH" in environment)

    def files(self) -> dict[str, str]:
        """Sha256 of every file that has its name, by path."""
        return {
            path.relative_to(self.out).as_posix(): sha256(path.read_bytes())
            for path in self.out.rglob("*")
            if path.is_file()
            and path.name != "manifest.json"
            and not path.relative_to(self.out).parts[0].startswith(".")
        }

    def is_complete(self) -> bool:
        """Whether everything is there, right, and in the manifest."""
        manifest = json.loads((self.out / "manifest.json").read_text())
        listed = {entry["path"]: entry["sha256"] for entry in manifest["files"]}
        return self.files() == listed == SUMS


SUMS = {path: sha256(content) for path, content in FILES.items()}


def run(
    command: list[str], environment: dict[str, str], *, own_process: bool = False
) -> "subprocess.CompletedProcess[str]":
    """Run `python -m r1zero` and return its status with all that it printed."""
    if own_process:
        return subprocess.run(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=120,
        )
    printed, status = io.StringIO(), 0
    with (
        patch.dict(os.environ, environment, clear=True),
        patch.object(sys, "argv", command[2:]),
        redirect_stdout(printed),
        redirect_stderr(printed),
    ):
        try:
            main()
        except SystemExit as end:
            status = int(end.code or 0)
    return subprocess.CompletedProcess(command, status, printed.getvalue())


def clean_environment() -> dict[str, str]:
    """This environment without what would turn the clients elsewhere, or off."""
    return {
        name: value
        for name, value in ENVIRONMENT.items()
        if not re.match(r"HF_|MODELSCOPE_|HUGGING|R1ZERO_|.*_proxy$", name, re.IGNORECASE)
    } | {"HOME": os.environ.get("HOME", "/tmp"), "HF_HUB_DISABLE_TELEMETRY": "1"}


def good_hub() -> Hub:
    """A hub with the files of `DATASET`."""
    hub = Hub()
    hub.put("datasets", REPO, FILES)
    return hub


def as_repository(root: Path, kind: str, repo: str, files: dict[str, bytes]) -> Path:
    """Write files as a local endpoint has them; returns the endpoint's folder."""
    for name, content in files.items():
        path = root / kind / repo / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


_REFUSE = """
import socket

def refused(function):
    def wrapper(*arguments, **more):
        first = arguments[0] if arguments else None
        if isinstance(first, socket.socket) and first.family == socket.AF_UNIX:
            return function(*arguments, **more)
        with open({log!r}, "a") as stream:
            stream.write(repr(arguments) + "\\n")
        raise OSError("no network here")
    return wrapper

for name in ("connect", "connect_ex"):
    setattr(socket.socket, name, refused(getattr(socket.socket, name)))
for name in ("getaddrinfo", "gethostbyname"):
    setattr(socket, name, refused(getattr(socket, name)))
"""


def without_sockets(folder: Path) -> tuple[dict[str, str], Path]:
    """Environment of a Python that refuses every connection and writes it into a file."""
    folder.mkdir()
    log = folder / "connections"
    (folder / "sitecustomize.py").write_text(_REFUSE.format(log=str(log)))
    return {"PYTHONPATH": str(folder)}, log
