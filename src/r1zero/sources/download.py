"""Download of a hosted source: locked, complete, and without other files in its folder."""

import shutil
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from r1zero.core import locks
from r1zero.core.errors import UserError
from r1zero.core.files import sha256_file
from r1zero.core.formatting import duration, size
from r1zero.settings.endpoints import Endpoint
from r1zero.sources.chain import Chain, FetchedFile, checksum, nothing_left, pause
from r1zero.sources.content import wrong_content
from r1zero.sources.hubs import Hub, HubError, Listing, RemoteFile, connect
from r1zero.sources.lock import TRUST_ANEW, Lock, LockedFile, LockedPlace, LockedSource
from r1zero.sources.models import check_weights_complete
from r1zero.sources.selection import Source, select

_SPARE_BYTES = 64 << 20
_ON_DISK = "already on disk"
_GUARD = ".lock"


class Fetched(NamedTuple):
    """The result of a download."""

    files: dict[str, FetchedFile]
    """Files by their paths in the folder."""
    revision: str | None
    """Commit on the Hugging Face hub, if it is known."""


def fetch(
    section: str,
    name: str,
    source: Source,
    *,
    endpoints: Sequence[Endpoint],
    offline: bool,
    lock: Lock,
    out: Path,
) -> Fetched:
    """Fetch the files of a source into a folder, and add its entry to the lock.

    Args:
        section: `models` or `datasets`.
        name: Name in the table.
        source: Its entry there.
        endpoints: Endpoints in the order to try them.
        offline: Use no network.
        lock: The lock.
        out: Folder for the files. Models from a local endpoint are linked to, datasets copied.

    Raises:
        UserError: No endpoint has the right bytes, or the disk has no room for them. The folder
            keeps its earlier files.

    """
    where = f"{section}.{name}"
    _check_folder(out, where)
    started = time.monotonic()
    waits = partial(print, f"{where}: waiting for another process that fetches it", flush=True)
    with locks.lock(out / _GUARD, on_wait=waits):
        entry = lock.find(section, name)
        hubs = connect(endpoints, source, locked=entry.revisions if entry else {}, offline=offline)
        offline = offline and not hubs
        down: dict[str, str] = {}
        if entry:
            lock.check_origin(section, name, source)
            locked = {p: RemoteFile(f.bytes, f.sha256) for p, f in entry.files.items()}
            wanted = select(locked, source, f"{lock.path}: {where}", hint=TRUST_ANEW)
            revision = entry.revisions.get("huggingface")
        else:
            lock.check_writable()
            if offline:
                raise _offline(where)
            hub, wanted, revision = _first_listing(hubs, source, where, down)
        chain = Chain(hubs, out, where, link=section == "models", down=down)
        fetched = _fetch_missing(wanted, chain, out, where, offline=offline)
        if section == "models":
            check_weights_complete(out)
        if not entry:
            lock.add(section, name, _locked(source, hub, revision, wanted, fetched))
            at = f"{hub.place} at {revision}" if revision else hub.place
            print(
                f"TRUSTED ON FIRST USE: {where} from {hub.label}, {at}. Its checksums are locked in"
                f" {lock.path} now: keep that file under version control.",
                flush=True,
            )
    print(_summary(where, fetched, wanted, time.monotonic() - started), flush=True)
    return Fetched(fetched, revision)


def _check_folder(out: Path, where: str) -> None:
    """Refuse a folder that is not ours, because files outside the source are removed."""
    out.mkdir(parents=True, exist_ok=True)
    if any(out.iterdir()) and not ((out / _GUARD).exists() or (out / "manifest.json").exists()):
        raise UserError(
            "the folder is not empty, and was not made by this workflow", where=f"{where}: {out}"
        )


def _first_listing(
    hubs: Sequence[Hub], source: Source, where: str, down: dict[str, str]
) -> tuple[Hub, dict[str, RemoteFile], str | None]:
    """The first endpoint that has the whole source, the files there, and their commit."""
    failures = []
    for hub in hubs:
        if not hub.verified:
            # A guessed name may be any repository: it serves only files that are locked.
            failures.append(f"{hub.label}: {hub.place} is unverified, and not trusted on first use")
            continue
        try:
            listing = _patiently(hub)
            wanted = select(listing.files, source, f"{where}: {hub.place}")
            wanted = {path: _known(hub, path, file) for path, file in wanted.items()}
        except (HubError, UserError) as error:
            if isinstance(error, HubError) and error.retryable:
                down[hub.label] = str(error)
            failures.append(f"{hub.label}: {error}")
            print(f"{where}: {failures[-1]}", flush=True)
            continue
        if listing.revision:
            for other in hubs:
                if other.kind != "modelscope":
                    other.pin(listing.revision)
        return hub, wanted, listing.revision
    raise nothing_left(failures, where)


def _patiently(hub: Hub) -> Listing:
    for attempt in range(hub.retries):
        try:
            return hub.listing()
        except HubError as failure:
            if not failure.retryable:
                raise
            time.sleep(pause(attempt, failure))
    return hub.listing()


def _known(hub: Hub, path: str, file: RemoteFile) -> RemoteFile:
    """A listed file with its checksum; without one, it is bound to its endpoint."""
    if file.checksum:
        return file
    on_disk = hub.on_disk(path)
    if on_disk:
        if problem := wrong_content(on_disk, path):
            raise HubError(f"{path} is {problem}")
        return file._replace(sha256=sha256_file(on_disk))
    return file._replace(only=hub.label)


def _offline(where: str) -> UserError:
    return UserError(
        "not on disk as locked, and `offline: true` forbids a download",
        where=where,
        hint="run `snakemake download` on a machine with a network, or add a `local` endpoint",
    )


def _fetch_missing(
    wanted: Mapping[str, RemoteFile], chain: Chain, out: Path, where: str, *, offline: bool
) -> dict[str, FetchedFile]:
    """Fetch the missing files, and remove files that are not part of the source."""
    done = {}
    for path, file in wanted.items():
        # The right size alone is no proof.
        sha256 = checksum(out / path, file) if file.checksum and (out / path).is_file() else None
        if sha256 and not wrong_content(out / path, path):
            done[path] = FetchedFile(sha256, _ON_DISK)
    missing = {path: file for path, file in wanted.items() if path not in done}
    if missing:
        if offline:
            raise _offline(where)
        _check_room(chain.missing_bytes(missing), out, where)
        done |= chain.fetch(missing)
    _remove_others(out, wanted)
    return {path: done[path] for path in wanted}


def _check_room(wanted: int, out: Path, where: str) -> None:
    free = shutil.disk_usage(out).free
    if wanted + _SPARE_BYTES > free:
        raise UserError(
            f"needs {size(wanted)} and {size(_SPARE_BYTES)} to spare, but the disk of {out} has "
            f"{size(free)}",
            where=where,
        )


def _remove_others(out: Path, wanted: Mapping[str, RemoteFile]) -> None:
    """Remove partial files and files of another version of the source."""
    shutil.rmtree(out / ".partial", ignore_errors=True)
    kept = {*wanted, "manifest.json", _GUARD}
    for path in sorted(out.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                path.rmdir()
        elif path.relative_to(out).as_posix() not in kept:
            path.unlink()


def _locked(
    source: Source,
    hub: Hub,
    revision: str | None,
    wanted: Mapping[str, RemoteFile],
    fetched: Mapping[str, FetchedFile],
) -> LockedSource:
    """The entry of a source that is trusted on first use."""

    def place(kind: str) -> LockedPlace | None:
        named = getattr(source, kind)
        if named is None:
            return None
        # The snapshots of a folder are commits of Hugging Face.
        seen = revision if kind == "huggingface" and hub.kind != "modelscope" else None
        return LockedPlace(repo=named.repo, revision=seen, asked_for=named.revision)

    return LockedSource(
        first_seen=hub.label,
        huggingface=place("huggingface"),
        modelscope=place("modelscope"),
        files={
            path: LockedFile(bytes=file.bytes, sha256=fetched[path].sha256)
            for path, file in sorted(wanted.items())
        },
    )


def _summary(
    where: str,
    fetched: Mapping[str, FetchedFile],
    wanted: Mapping[str, RemoteFile],
    seconds: float,
) -> str:
    """One line: how much came from which endpoint."""
    shares = Counter(file.origin for file in fetched.values())
    total = size(sum(file.bytes for file in wanted.values()))
    parts = [
        f"{count} {origin}" if origin == _ON_DISK else f"{count} from {origin}"
        for origin, count in shares.items()
    ]
    return f"{where}: {len(fetched)} files, {total}, {duration(seconds)}: {', '.join(parts)}"
