"""Atomic writes and checksums: a finished file is a true file.

Every output appears under its own name only when it is complete: it is written beside its place
and moved there with `os.replace`, which is atomic within a file system.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from r1zero.core.errors import UserError


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary file name in the folder of `path`; move it there if the block succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays last, since writers (polars, altair) choose the format by it.
    handle, name = tempfile.mkstemp(
        dir=path.parent, prefix=f".{path.stem}.", suffix=".part" + path.suffix
    )
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp creates 0600 files; results are shared like any other file.
        temporary.chmod(0o666 & ~_umask())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """Give a temporary folder beside `path`; put it in place of `path` if the block succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        yield temporary
        temporary.chmod(0o777 & ~_umask())
        if path.exists():
            shutil.rmtree(path)
        os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_text(path: Path, text: str) -> None:
    """Write `text` (UTF-8) atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically. Key order is kept."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_json_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write one JSON object per line, atomically."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
        for row in rows:
            stream.write(json.dumps(row, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file; a missing or broken one is an error for the user that names it."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError("no such file", where=str(path)) from None
    except ValueError as error:
        raise UserError(f"not valid JSON: {error}", where=str(path)) from None


def sha256_file(path: Path) -> str:
    """Hexadecimal SHA-256 of the bytes of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_json(value: Any) -> str:
    """Hexadecimal SHA-256 of a JSON value, independent of key order and white space."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def cost_file(folder: Path) -> Path:
    """File beside a folder made on this machine: `seconds` that it took, and `cores` kept busy."""
    return folder.with_name(f"{folder.name}.cost.json")


def describe_file(path: Path, relative_to: Path) -> dict[str, Any]:
    """Manifest entry of one file: `{path, bytes, sha256}`, the path relative to a folder."""
    return {
        "path": path.relative_to(relative_to).as_posix(),
        "bytes": path.stat().st_size,
        "sha256": sha256_file(path),
    }


def weights_hash(entries: Iterable[Mapping[str, Any]]) -> str:
    """Identity of a model's weights: a hash over the checksums of its safetensors files.

    Args:
        entries: The model's files as `describe_file` lists them.

    """
    weights = {e["path"]: e["sha256"] for e in entries if e["path"].endswith(".safetensors")}
    return sha256_json(weights)


def verify_file(entry: Mapping[str, Any], folder: Path) -> Path:
    """Check a manifest entry against the file on disk and return its path.

    Raises `UserError` naming the file, the expected and the found checksum.
    """
    path = folder / str(entry["path"])
    if not path.is_file():
        raise UserError("listed in the manifest but missing", where=str(path))
    found = sha256_file(path)
    if found != entry["sha256"]:
        raise UserError(
            f"sha256 is {found}, the manifest says {entry['sha256']}",
            where=str(path),
            hint="delete the manifest beside it to make the file again",
        )
    return path
