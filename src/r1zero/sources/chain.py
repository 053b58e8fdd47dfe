"""The fallback chain: each file from the first endpoint that gives the right bytes.

A file appears under its name only when its checksum is right, and all others of its source are too.
Until then it grows in `.partial/`, named after its path and the content it should have, so that
another attempt, another process or another endpoint goes on where it stopped. A file whose checksum
is not known comes as a whole from the one endpoint that listed it.
"""

import contextlib
import errno
import hashlib
import os
import random
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path
from typing import NamedTuple

from r1zero.core.errors import UserError, redact
from r1zero.core.files import sha256_file
from r1zero.core.formatting import size
from r1zero.sources.hubs import Hub, HubError, RemoteFile
from r1zero.sources.progress import Progress

_FILES_AT_ONCE = 4
_LONGEST_PAUSE = 30.0
_CHUNK = 1 << 20


class FetchedFile(NamedTuple):
    """A file that is in its place and right."""

    sha256: str
    origin: str
    """Endpoint that gave it."""


class Chain:
    """Fetches the files of one source in parallel, and puts them in their places together.

    Args:
        hubs: Endpoints, in the order to try them.
        out: Folder for the files.
        where: The source's name in messages.
        link: Link to files that an endpoint has on this machine, instead of copying them.
        down: Endpoints that are known not to answer, by label, with the reason.

    """

    def __init__(
        self, hubs: Sequence[Hub], out: Path, where: str, *, link: bool, down: dict[str, str]
    ) -> None:
        self._hubs, self._out, self._where, self._link = hubs, out, where, link
        self._partials = out / ".partial"
        self._down = down
        self._stopped = threading.Event()
        self._progress = Progress(where, 0)

    def missing_bytes(self, files: Mapping[str, RemoteFile]) -> int:
        """Bytes still to come, less what earlier attempts left and what is only linked to."""
        return sum(
            file.bytes
            - max(_length(self._partial(path, file)), _length(self._finished(path, file)))
            for path, file in files.items()
            if not (self._link and self._linkable(path))
        )

    def fetch(self, files: Mapping[str, RemoteFile]) -> dict[str, FetchedFile]:
        """Fetch all files, or stop at the first that no endpoint gives.

        None is in its place before all are right, so that a folder never holds two versions.

        Raises:
            UserError: No endpoint gave a file, or the disk is full. What came stays for the next
                try.

        """
        self._partials.mkdir(exist_ok=True)
        self._progress = Progress(self._where, sum(file.bytes for file in files.values()))
        with self._progress, ThreadPoolExecutor(_FILES_AT_ONCE) as pool:
            futures = {p: pool.submit(self._fetch_one, p, file) for p, file in files.items()}
            try:
                wait(futures.values(), return_when=FIRST_EXCEPTION)
                failed = [f for f in futures.values() if f.done() and f.exception()]
                fetched = {} if failed else {p: f.result() for p, f in futures.items()}
            finally:
                self._stopped.set()
                pool.shutdown(cancel_futures=True)
        if failed:
            raise self._explained(failed[0].exception())
        for path, file in files.items():
            target = self._out / path
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(self._finished(path, file), target)
        return fetched

    def _explained(self, error: BaseException | None) -> BaseException:
        if not isinstance(error, OSError):
            return error or RuntimeError("no error")
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        return UserError(
            "the disk is full" if full else redact(str(error)),
            where=f"{self._where}: {self._out}",
            hint="what came so far is kept, and the next try goes on from there",
        )

    def _fetch_one(self, path: str, file: RemoteFile) -> FetchedFile:
        failures = []
        for hub in self._hubs:
            if self._stopped.is_set():
                break
            if file.only not in (None, hub.label):
                continue
            reason = self._down.get(hub.label)
            if reason is None:
                try:
                    sha256 = self._from(hub, path, file)
                except HubError as failure:
                    reason = str(failure)
                    self._progress.note(f"{self._where}: {path}: {hub.label}: {reason}")
                    if failure.retryable:  # it had its retries: spare the other files the wait
                        self._down[hub.label] = reason
                else:
                    self._progress.note(f"{path}  {size(file.bytes)}  {hub.label}")
                    return FetchedFile(sha256, hub.label)
            failures.append(f"{hub.label}: {reason}")
        raise nothing_left(failures, f"{self._where}: {path}")

    def _from(self, hub: Hub, path: str, file: RemoteFile) -> str:
        """Fetch a file from one endpoint; returns its sha256."""
        partial, finished = self._partial(path, file), self._finished(path, file)
        on_disk = hub.on_disk(path) if self._link else None
        if on_disk:
            sha256 = self._right(on_disk, file)
            finished.unlink(missing_ok=True)
            finished.symlink_to(on_disk)
            self._progress.has(path, file.bytes)
            return sha256
        if finished.exists() and not finished.is_symlink():
            os.replace(finished, partial)  # of a run that other files held up: it is checked again
        # Without a checksum nothing would tell that two endpoints' halves are no whole.
        if partial.is_symlink() or (file.checksum is None and partial.exists()):
            partial.unlink()
        began_elsewhere = _length(partial) > 0
        self._complete(hub, path, file, partial)
        try:
            sha256 = self._right(partial, file)
        except HubError:
            partial.unlink()
            self._progress.has(path, 0)
            if not began_elsewhere:
                raise
            # The first part may be another endpoint's fault: once more, from the start.
            return self._from(hub, path, file)
        os.replace(partial, finished)
        return sha256

    def _complete(self, hub: Hub, path: str, file: RemoteFile, partial: Path) -> None:
        """Let the partial file grow to its size, through as many attempts as it takes."""
        partial.touch()
        if _length(partial) > file.bytes:
            os.truncate(partial, 0)
        furthest, fruitless = _length(partial), 0
        self._progress.has(path, furthest)
        while _length(partial) < file.bytes:
            try:
                self._read_on(hub, path, file, partial)
            except HubError as failure:
                fruitless = 0 if _length(partial) > furthest else fruitless + 1
                furthest = max(furthest, _length(partial))
                if not failure.retryable or fruitless > hub.retries or self._stopped.is_set():
                    raise
                self._progress.note(f"{path}: {hub.label}: {failure}; tries again")
                self._stopped.wait(pause(fruitless, failure))

    def _read_on(self, hub: Hub, path: str, file: RemoteFile, partial: Path) -> None:
        start = _length(partial)
        with hub.read(path, start) as answer, partial.open("r+b") as stream:
            if answer.total not in (None, file.bytes):
                # Another file, such as the page of a portal: not a byte of it is taken.
                raise HubError(f"announces {answer.total} bytes, not {file.bytes}", retryable=True)
            self._progress.has(path, answer.start)  # 0 from a server that knows no ranges
            stream.truncate(answer.start)
            stream.seek(answer.start)
            for chunk in answer.chunks:
                stream.write(chunk)
                self._progress.received(path, len(chunk))
                if self._stopped.is_set():
                    raise HubError("stopped, since another file failed", retryable=False)
                if stream.tell() > file.bytes:
                    return  # it is another file, as its checksum will tell
        if _length(partial) < file.bytes:
            raise HubError(f"ended after {_length(partial)} of {file.bytes} bytes", retryable=True)

    @staticmethod
    def _right(path: Path, file: RemoteFile) -> str:
        """Sha256 of a file that is what it should be; else a failure that says what it is."""
        sha256 = checksum(path, file)
        if sha256:
            return sha256
        name = "sha256" if file.sha256 else "git blob"
        found = sha256_file(path) if file.sha256 else _git_blob(path)
        raise HubError(
            f"wrong bytes: expected {file.bytes} bytes with {name} {file.checksum}, got "
            f"{_length(path)} bytes with {name} {found}",
            retryable=False,
        )

    def _linkable(self, path: str) -> bool:
        with contextlib.suppress(HubError):
            return any(hub.kind == "local" and hub.on_disk(path) for hub in self._hubs)
        return False

    def _partial(self, path: str, file: RemoteFile) -> Path:
        content = file.checksum or str(file.bytes)
        return self._partials / hashlib.sha256(f"{path}\0{content}".encode()).hexdigest()[:32]

    def _finished(self, path: str, file: RemoteFile) -> Path:
        return self._partial(path, file).with_suffix(".done")


def checksum(path: Path, wanted: RemoteFile) -> str | None:
    """Sha256 of a file that is what a hub listed; None if it is not."""
    if path.stat().st_size != wanted.bytes:
        return None
    if wanted.git_sha1 and _git_blob(path) != wanted.git_sha1:
        return None
    found = sha256_file(path)
    return found if wanted.sha256 in (None, found) else None


def _git_blob(path: Path) -> str:
    """Name that git gives to a file's content."""
    blob = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            blob.update(chunk)
    return blob.hexdigest()


def pause(attempt: int, failure: HubError) -> float:
    """Seconds before another attempt.

    What the server asked for, or twice as long each time, with a random part, so that many clients
    don't come back at once; half a minute at most.
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
