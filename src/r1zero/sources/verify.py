"""Sources on disk against their manifests and the lock."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, Field

from r1zero.core.errors import UserError
from r1zero.core.files import read_json, verify_file
from r1zero.core.validation import validate
from r1zero.sources.lock import Lock
from r1zero.sources.selection import taken


class _File(BaseModel):
    path: str
    bytes: int
    sha256: str


class _Split(BaseModel):
    files: list[str]


class _Source(BaseModel):
    kind: str
    files: list[str] = Field(default=[])
    allow: list[str] = Field(default=[])
    splits: dict[str, _Split] = Field(default={})

    @property
    def patterns(self) -> list[str]:
        """Patterns of the files that the source takes."""
        return [*self.files, *self.allow, *(p for s in self.splits.values() for p in s.files)]


class Manifest(BaseModel):
    """The parts of a manifest that are checked."""

    name: str
    source: _Source
    files: list[_File]


class Verified(NamedTuple):
    """One source on disk."""

    section: str
    name: str
    files: int
    bytes: int
    state: str
    """`locked`, `not from a hub` or `WRONG`."""
    error: UserError | None
    """The mismatch, if there is one."""


def manifests(root: Path) -> Iterator[tuple[str, Path]]:
    """Sections and manifests of all sources under a folder, sorted."""
    for section in ("datasets", "models"):
        for path in sorted((root / section).glob("*/manifest.json")):
            yield section, path


def verify(root: Path, lock: Lock) -> Iterator[Verified]:
    """Hash every file of every source, and compare it to its manifest and the lock."""
    for section, path in manifests(root):
        files: list[_File] = []
        try:
            manifest = _read(path)
            files = manifest.files
            _hold_against(lock, section, path, manifest)
            for entry in files:
                _verify_file(entry, path.parent)
            state, error = "locked" if manifest.source.kind == "hub" else "not from a hub", None
        except UserError as found:
            state, error = "WRONG", found
        total = sum(entry.bytes for entry in files)
        yield Verified(section, path.parent.name, len(files), total, state, error)


def check_lock(lock: Lock, section: str, path: Path) -> None:
    """Raise `UserError` if a manifest lists other files than the lock; hashes nothing."""
    _hold_against(lock, section, path, _read(path))


def _read(path: Path) -> Manifest:
    try:
        return validate(read_json(path), Manifest, str(path))
    except OSError as error:
        raise UserError(error.strerror or str(error), where=str(path)) from None


def _hold_against(lock: Lock, section: str, path: Path, manifest: Manifest) -> None:
    if manifest.source.kind != "hub":
        return
    entry = lock.find(section, manifest.name)
    if entry is None:
        raise UserError(
            f"has no entry in {lock.path}",
            where=str(path),
            hint="delete this manifest, to fetch the source and trust it anew",
        )
    here = {file.path: file.sha256 for file in manifest.files}
    # The source may take fewer files than are locked.
    names = taken(entry.files, manifest.source.patterns)
    wanted = {name: entry.files[name].sha256 for name in names}
    for name in sorted({*here, *wanted}):
        if here.get(name) != wanted.get(name):
            raise UserError(
                f"{name} is {here.get(name, 'missing')}, "
                f"{lock.path} says {wanted.get(name, 'not wanted')}",
                where=str(path),
                hint="delete this manifest, to fetch the locked files",
            )


def _verify_file(entry: _File, folder: Path) -> None:
    try:
        verify_file(entry.model_dump(), folder)
    except OSError as error:
        where = str(folder / entry.path)
        raise UserError(error.strerror or str(error), where=where) from None
