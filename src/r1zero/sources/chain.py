"""The fallback chain: each file from the first endpoint that gives the right bytes.

A file appears under its name only when its checksum is right. Until then it grows in `.partial/`,
named after its path and the content it should have, so that another attempt, another process or
another endpoint goes on where it stopped.
"""

import errno
import hashlib
import os
import random
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from r1zero.errors import UserError, redact
from r1zero.files import sha256_file
from r1zero.sources.hubs import Failure, Hub, RemoteFile
from r1zero.sources.progress import Progress, size

_FILES_AT_ONCE = 4
_LONGEST_PAUSE = 30.0
_CHUNK = 1 << 20


class FetchedFile(NamedTuple):
    """A file that is in its place and right."""

    sha256: str
    origin: str
    """Endpoint that gave it."""


class Chain:
    """Fetches the files of one source in parallel.

    Args:
        hubs: Endpoints, in the order to try them.
        out: Folder for the files.
        where: The source's name in messages.
        link: Link to files that an endpoint has on this machine, instead of copying them.

    """

    def __init__(self, hubs: Sequence[Hub], out: Path, where: str, *, link: bool) -> None:
        self._hubs, self._out, self._where, self._link = hubs, out, where, link
        self._partials = out / ".partial"
        self._down: dict[str, str] = {}
        self._stopped = threading.Event()
        self._progress = Progress(where, 0)

    def missing_bytes(self, files: Mapping[str, RemoteFile]) -> int:
        """Bytes still to come, less what earlier attempts left."""
        partials = (_length(self._partial(path, file)) for path, file in files.items())
        return sum(file.bytes for file in files.values()) - sum(partials)

    def fetch(self, files: Mapping[str, RemoteFile]) -> dict[str, FetchedFile]:
        """Fetch all files, or stop at the first that no endpoint gives.

        Raises:
            UserError: No endpoint gave a file, or the disk is full. What came stays for the next
                try.

        """
        self._partials.mkdir(exist_ok=True)
        self._progress = Progress(self._where, sum(file.bytes for file in files.values()))
        with self._progress, ThreadPoolExecutor(_FILES_AT_ONCE) as pool:
            futures = {p: pool.submit(self._fetch_one, p, file) for p, file in files.items()}
            try:
                return {path: future.result() for path, future in futures.items()}
            except OSError as error:
                full = error.errno in (errno.ENOSPC, errno.EDQUOT)
                raise UserError(
                    "the disk is full" if full else redact(str(error)),
                    where=f"{self._where}: {self._out}",
                    hint="what came so far is kept, and the next try goes on from there",
                ) from None
            finally:
                self._stopped.set()
                pool.shutdown(cancel_futures=True)

    def _fetch_one(self, path: str, file: RemoteFile) -> FetchedFile:
        failures = []
        for hub in self._hubs:
            reason = self._down.get(hub.label)
            if reason is None:
                try:
                    sha256 = self._from(hub, path, file)
                except Failure as failure:
                    reason = str(failure)
                    self._progress.note(f"{self._where}: {path}: {hub.label}: {reason}")
                    if failure.again:  # it had its retries: spare the other files the wait
                        self._down[hub.label] = reason
                else:
                    self._progress.note(f"{path}  {size(file.bytes)}  {hub.label}")
                    return FetchedFile(sha256, hub.label)
            failures.append(f"{hub.label}: {reason}")
        raise nothing_left(failures, f"{self._where}: {path}")

    def _from(self, hub: Hub, path: str, file: RemoteFile) -> str:
        """Fetch a file from one endpoint; returns its sha256."""
        partial = self._partial(path, file)
        on_disk = hub.on_disk(path)
        if on_disk and self._link:
            sha256 = self._right(on_disk, file)
            partial.unlink(missing_ok=True)
            partial.symlink_to(on_disk)
            self._progress.found(file.bytes)
        else:
            began_elsewhere = _length(partial) > 0
            self._complete(hub, path, file, partial)
            try:
                sha256 = self._right(partial, file)
            except Failure:
                self._progress.found(-_length(partial))
                partial.unlink()
                if not began_elsewhere:
                    raise
                # The first part may be another endpoint's fault: once more, from the start.
                return self._from(hub, path, file)
        target = self._out / path
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(partial, target)
        return sha256

    def _complete(self, hub: Hub, path: str, file: RemoteFile, partial: Path) -> None:
        """Let the partial file grow to its size, through as many attempts as it takes."""
        fruitless = 0
        partial.touch()
        if _length(partial) > file.bytes:
            os.truncate(partial, 0)
        self._progress.found(_length(partial))
        while True:
            before = _length(partial)
            try:
                if before < file.bytes:
                    self._read_on(hub, path, file, partial)
                return
            except Failure as failure:
                fruitless = 0 if _length(partial) > before else fruitless + 1
                if not failure.again or fruitless > hub.retries or self._stopped.is_set():
                    raise
                self._stopped.wait(pause(fruitless, failure))

    def _read_on(self, hub: Hub, path: str, file: RemoteFile, partial: Path) -> None:
        start = _length(partial)
        with hub.read(path, start) as (offset, chunks), partial.open("r+b") as stream:
            self._progress.found(offset - start)  # 0 from a server that knows no ranges
            stream.truncate(offset)
            stream.seek(offset)
            for chunk in chunks:
                stream.write(chunk)
                self._progress.received(len(chunk))
                if self._stopped.is_set():
                    raise Failure("stopped, since another file failed", again=False)
                if stream.tell() > file.bytes:
                    return  # it is another file, as its checksum will tell
        if _length(partial) < file.bytes:
            raise Failure(f"ended after {_length(partial)} of {file.bytes} bytes", again=True)

    @staticmethod
    def _right(path: Path, file: RemoteFile) -> str:
        """Sha256 of a file that is what it should be; else a failure that says what it is."""
        sha256 = checksum(path, file)
        if sha256:
            return sha256
        wanted = f"sha256 {file.sha256}" if file.sha256 else f"git blob {file.git_sha1}"
        raise Failure(
            f"wrong bytes: expected {file.bytes} bytes with {wanted}, got {_length(path)} bytes "
            f"with sha256 {sha256_file(path)}",
            again=False,
        )

    def _partial(self, path: str, file: RemoteFile) -> Path:
        content = file.sha256 or file.git_sha1 or str(file.bytes)
        return self._partials / hashlib.sha256(f"{path}\0{content}".encode()).hexdigest()[:32]


def checksum(path: Path, wanted: RemoteFile) -> str | None:
    """Sha256 of a file that is what a hub listed; None if it is not."""
    if path.stat().st_size != wanted.bytes:
        return None
    if wanted.git_sha1:
        blob = hashlib.sha1(b"blob %d\0" % wanted.bytes, usedforsecurity=False)
        with path.open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                blob.update(chunk)
        if blob.hexdigest() != wanted.git_sha1:
            return None
    found = sha256_file(path)
    return found if wanted.sha256 in (None, found) else None


def pause(attempt: int, failure: Failure) -> float:
    """Seconds before another attempt.

    What the server asked for; else twice as long each time, with a random part, so that many
    clients don't come back at once.
    """
    wanted = failure.wait if failure.wait is not None else 2.0**attempt * random.uniform(0.3, 0.6)
    return min(wanted, _LONGEST_PAUSE)


def nothing_left(failures: Sequence[str], where: str) -> UserError:
    """The error when every endpoint has failed."""
    return UserError(
        "; ".join(failures) or "no endpoint of the configuration has it",
        where=where,
        hint="`endpoints` in the configuration lists what is tried; what came so far is kept",
    )


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
