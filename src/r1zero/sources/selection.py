"""The files of a repository that a source takes, and those that are refused."""

import re
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from r1zero.core.errors import UserError
from r1zero.core.formatting import shortlist
from r1zero.settings.sources import HubDataset, HubModel
from r1zero.sources.hubs import RemoteFile

_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".npy", ".npz")
# Loading these files may run code in them.
_UNSAFE = (*_PICKLES, ".py")
_BY_NAME = "list such files by name in `allow` of the source"
# The name of our own manifest.
_MANIFEST = "manifest.json"
_SHARD = re.compile(r"(?P<stem>.+)-\d{5}-of-(?P<total>\d{5})\.safetensors")
_LONGEST_NAME = 255

Source = HubDataset | HubModel


def select(
    offered: Mapping[str, RemoteFile], source: Source, where: str, hint: str = ""
) -> dict[str, RemoteFile]:
    """Select the files that a source needs, after checking that they are safe.

    Args:
        offered: All files of a repository, or of the source's entry in the lock.
        source: The entry of the table.
        where: Where an error is.
        hint: A further hint of errors.

    Raises:
        UserError: A file is missing, can run code, or has an unsafe path.

    """
    chosen = {path: offered[path] for path in taken(offered, patterns_of(source))}
    check_paths(chosen, source, where, hint)
    absent = _absent(chosen, source)
    if absent:
        # If all weights are missing, they may be pickled.
        weights = isinstance(source, HubModel) and not _has_weights(chosen)
        pickles = [path for path in offered if path.endswith(_PICKLES)] if weights else []
        known = f"it has {shortlist(sorted(offered)) or 'no files'}"
        raise UserError(
            f"has no {shortlist(absent)}"
            + (f", but pickled weights: {shortlist(pickles)}" if pickles else ""),
            where=where,
            hint="; ".join(filter(None, (_BY_NAME if pickles else known, hint))),
        )
    return chosen


def check_paths(paths: Iterable[str], source: Source, where: str, hint: str = "") -> None:
    """Raise `UserError` for a path that leads out of its folder, or a file that can run code."""
    paths = list(paths)
    for path in paths:
        parts = path.split("/")
        if (
            "\\" in path
            or not path.isprintable()
            or any(not part or part.startswith(".") for part in parts)
            or any(len(part.encode()) > _LONGEST_NAME for part in parts)
        ):
            raise UserError(
                f"lists the unsafe path {path[:_LONGEST_NAME]!r}",
                where=where,
                hint=hint,
            )
    allowed = source.allow if isinstance(source, HubModel) else []
    unsafe = [p for p in paths if PurePosixPath(p).suffix in _UNSAFE and p not in allowed]
    if unsafe:
        raise UserError(
            f"files that can run code when they are loaded: {', '.join(unsafe)}",
            where=where,
            hint="; ".join(filter(None, (_BY_NAME, hint))),
        )


def patterns_of(source: Source) -> list[str]:
    """Patterns of all files that the source takes."""
    if isinstance(source, HubModel):
        return [*source.files, *source.allow]
    return [pattern for split in source.splits.values() for pattern in split.files]


def taken(paths: Iterable[str], patterns: Iterable[str]) -> list[str]:
    """The paths that match a pattern, except a manifest that would replace ours."""
    patterns = list(patterns)
    return [p for p in paths if p != _MANIFEST and any(matches(p, each) for each in patterns)]


def matches(path: str, pattern: str) -> bool:
    """Whether a path matches a pattern; `*` is any text in a name that is not hidden."""
    parts, wanted = path.split("/"), pattern.split("/")
    return len(parts) == len(wanted) and all(map(_fits, parts, wanted))


def _fits(name: str, wanted: str) -> bool:
    if "*" not in wanted:
        return name == wanted
    pattern = ".*".join(map(re.escape, wanted.split("*")))
    return not name.startswith(".") and bool(re.fullmatch(pattern, name, re.DOTALL))


def _absent(chosen: Mapping[str, RemoteFile], source: Source) -> list[str]:
    """The patterns and weights that no chosen file provides."""
    absent = [p for p in patterns_of(source) if "*" not in p and p not in chosen]
    if isinstance(source, HubModel):
        weights = [] if _has_weights(chosen) else ["safetensors file"]
        return [*weights, *absent, *_missing_shards(chosen)]
    # The patterns of a split may be alternatives, of which a repository has one.
    empty = [split.files for split in source.splits.values() if not taken(chosen, split.files)]
    alternatives = [" or ".join(files) for files in empty if not set(files) & set(absent)]
    return [*dict.fromkeys(absent), *alternatives]


def _has_weights(paths: Iterable[str]) -> bool:
    """Whether weights are among the files; pickled ones are there only if they are allowed."""
    return any(path.endswith((".safetensors", *_PICKLES)) for path in paths)


def _missing_shards(paths: Iterable[str]) -> list[str]:
    """Shards that other shards imply: `x-00002-of-00003` implies the first and the third."""
    present = set(paths)
    series = {(m["stem"], m["total"]) for m in map(_SHARD.fullmatch, present) if m}
    wanted = (
        f"{stem}-{number:05}-of-{total}.safetensors"
        for stem, total in sorted(series)
        for number in range(1, int(total) + 1)
    )
    return [path for path in wanted if path not in present]
