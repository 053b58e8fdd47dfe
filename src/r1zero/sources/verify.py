"""Sources on disk against their manifests and the lock."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from r1zero.errors import UserError
from r1zero.files import read_json, verify_file
from r1zero.sources.lock import Lock


class Verified(NamedTuple):
    """One source on disk."""

    section: str
    name: str
    files: int
    bytes: int
    error: UserError | None
    """What is wrong with it."""
    locked: bool


def manifests(root: Path) -> Iterator[tuple[str, Path]]:
    """Sections and manifests of all sources under a folder, sorted."""
    for section in ("datasets", "models"):
        for path in sorted((root / section).glob("*/manifest.json")):
            yield section, path


def verify(root: Path, lock: Lock) -> Iterator[Verified]:
    """Hash every file of every source again."""
    for section, path in manifests(root):
        manifest = read_json(path)
        error = None
        try:
            check_lock(lock, section, path, manifest)
            for entry in manifest["files"]:
                verify_file(entry, path.parent)
        except UserError as found:
            error = found
        locked = lock.find(section, manifest["name"]) is not None
        total = sum(entry["bytes"] for entry in manifest["files"])
        yield Verified(section, manifest["name"], len(manifest["files"]), total, error, locked)


def check_lock(lock: Lock, section: str, path: Path, manifest: Mapping[str, Any]) -> None:
    """Raise `UserError` if a manifest is of other files than the lock has; hashes nothing."""
    entry = lock.find(section, manifest["name"])
    if entry is None or manifest["source"]["kind"] != "hub":
        return
    here = {file["path"]: file["sha256"] for file in manifest["files"]}
    for name, file in entry.files.items():
        if here.get(name) != file.sha256:
            raise UserError(
                f"{name} is {here.get(name, 'missing')}, {lock.path} says {file.sha256}",
                where=str(path),
                hint="delete this manifest to fetch what is locked",
            )
