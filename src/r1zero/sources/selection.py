"""Which files of a repository a source takes, and which it must not."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from r1zero.errors import UserError
from r1zero.settings.sources import HubDataset, HubModel
from r1zero.sources.hubs import RemoteFile

_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".npy", ".npz")
# Loading these runs what they say.
_UNSAFE = (*_PICKLES, ".py")
_BY_NAME = "`allow` of the source takes such files by name"

Source = HubDataset | HubModel


def select(offered: Mapping[str, RemoteFile], source: Source, where: str) -> dict[str, RemoteFile]:
    """The files that the source needs, of those a repository has, once they are known to be safe.

    Raises:
        UserError: A file is missing, can run code, or has a path that leads elsewhere.

    """
    patterns = _patterns(source)
    chosen = {
        path: file
        for path, file in offered.items()
        if any(matches(path, pattern) for pattern in patterns)
    }
    check_paths(chosen, source, where)
    absent = [p for p in patterns if not any(matches(path, p) for path in chosen) and "*" not in p]
    weights = isinstance(source, HubModel) and not any(
        path.endswith(".safetensors") or path in source.allow for path in chosen
    )
    if weights or absent or not chosen:
        missing = "no safetensors file" if weights else f"no {', '.join(absent or patterns)}"
        pickles = [path for path in offered if path.endswith(_PICKLES)] if weights else []
        raise UserError(
            f"has {missing}" + (f", but pickled weights: {', '.join(pickles)}" if pickles else ""),
            where=where,
            hint=_BY_NAME if pickles else f"it has {', '.join(sorted(offered)[:8]) or 'nothing'}",
        )
    return chosen


def check_paths(paths: Mapping[str, object], source: Source, where: str) -> None:
    """Raise `UserError` for a path that leads out of its folder, or a file that can run code."""
    for path in paths:
        parts = path.split("/")
        if "\\" in path or any(not part or part.startswith(".") for part in parts):
            raise UserError(f"lists the path {path!r}, which is not taken", where=where)
    allowed = source.allow if isinstance(source, HubModel) else []
    unsafe = [p for p in paths if PurePosixPath(p).suffix in _UNSAFE and p not in allowed]
    if unsafe:
        raise UserError(
            f"can run code when it is loaded: {', '.join(unsafe)}", where=where, hint=_BY_NAME
        )


def _patterns(source: Source) -> list[str]:
    if isinstance(source, HubModel):
        return [*source.files, *source.allow]
    return [pattern for split in source.splits.values() for pattern in split.files]


def matches(path: str, pattern: str) -> bool:
    """Whether a path fits a pattern, in which `*` stays within a name."""
    parts, wanted = path.split("/"), pattern.split("/")
    return len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted))
