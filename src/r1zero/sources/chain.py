"""The fallback chain: each file from the first endpoint that gives the right bytes.

Files appear under their names only when the checksums of all files of the source are right. Until
then a file grows in `.partial/`, named after its path and expected content, so that another
attempt, process or endpoint resumes it. A file whose checksum is unknown is taken as a whole from
the one endpoint that listed it.
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
from r1zero.sources.content import wrong_content
from r1zero.sources.hubs import Hub, HubError, RemoteFile
from r1zero.sources.progress import Progress

_FILES_AT_ONCE = 4
_LONGEST_PAUSE = 30.0
_CHUNK = 1 << 20


class FetchedFile(NamedTuple):
    """A complete file with the right checksum."""

    sha256: str
    origin: str
    """Endpoint that it came from."""


class Chain:
    """Fetches the files of one source in parallel, and moves them into place together.

    Args:
        hubs: Endpoints, in the order to try them.
        out: Folder for the files.
        where: The source's name in messages.
        link: Link to files that an endpoint has on this machine, instead of copying them.
        down: Endpoints that do not answer, by label, with the reason; added to.

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
        """Bytes to download, without those on disk and those that are only linked to."""
        return sum(
            file.bytes
            - max(_length(self._partial(path, file)), _length(self._finished(path, file)))
            for path, file in files.items()
            if not (self._link and self._linkable(path))
        )

    def fetch(self, files: Mapping[str, RemoteFile]) -> dict[str, FetchedFile]:
        """Fetch all files, or stop at the first that no endpoint has.

        Files are moved into place when all are right, so a folder never has two versions.

        Raises:
            UserError: No endpoint has a file, or the disk is full. Partial files are kept, to be
                resumed.

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
            hint="partial files are kept, and the next attempt resumes them",
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
                    if failure.retryable:  # its retries are used up; other files do not wait for it
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
            sha256 = self._right(on_disk, path, file)
            finished.unlink(missing_ok=True)
            finished.symlink_to(on_disk)
            self._progress.has(path, file.bytes)
            return sha256
        if finished.exists() and not finished.is_symlink():
            os.replace(
                finished, partial
            )  # left by a run in which another file failed; it is checked again
        # Without a checksum, the parts of two endpoints could be mixed unnoticed.
        if partial.is_symlink() or (file.checksum is None and partial.exists()):
            partial.unlink()
        began_elsewhere = _length(partial) > 0
        self._complete(hub, path, file, partial)
        try:
            sha256 = self._right(partial, path, file)
        except HubError:
            partial.unlink()
            self._progress.has(path, 0)
            if not began_elsewhere:
                raise
            # The first part may come from another endpoint: start over once.
            return self._from(hub, path, file)
        os.replace(partial, finished)
        return sha256

    def _complete(self, hub: Hub, path: str, file: RemoteFile, partial: Path) -> None:
        """Download the rest of a partial file, in several attempts if necessary."""
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
                self._progress.note(f"{path}: {hub.label}: {failure}; retrying")
                self._stopped.wait(pause(fruitless, failure))

    def _read_on(self, hub: Hub, path: str, file: RemoteFile, partial: Path) -> None:
        start = _length(partial)
        with hub.read(path, start) as answer, partial.open("r+b") as stream:
            if answer.total not in (None, file.bytes):
                # Another file, such as the page of a portal, of which no byte is kept.
                raise HubError(f"announces {answer.total} bytes, not {file.bytes}", retryable=True)
            self._progress.has(path, answer.start)  # 0 from a server without range requests
            stream.truncate(answer.start)
            stream.seek(answer.start)
            for chunk in answer.chunks:
                stream.write(chunk)
                self._progress.received(path, len(chunk))
                if self._stopped.is_set():
                    raise HubError("stopped because another file failed")
                if stream.tell() > file.bytes:
                    return  # another file, which the checksum will show
        if _length(partial) < file.bytes:
            raise HubError(f"ended after {_length(partial)} of {file.bytes} bytes", retryable=True)

    @staticmethod
    def _right(place: Path, path: str, file: RemoteFile) -> str:
        """Sha256 of a file with the right content; otherwise `HubError` with what was found."""
        sha256 = checksum(place, file)
        if sha256:
            if problem := wrong_content(place, path):
                raise HubError(problem)
            return sha256
        name = "sha256" if file.sha256 else "git blob"
        found = sha256_file(place) if file.sha256 else _git_blob(place)
        raise HubError(
            f"wrong bytes: expected {file.bytes} bytes with {name} {file.checksum}, got "
            f"{_length(place)} bytes with {name} {found}",
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
    """Sha256 of a file that matches a listing; None if it does not."""
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
    """Seconds before another attempt, at most half a minute.

    The time that the server asked for, or exponential backoff with jitter.
    """
    wanted = failure.wait if failure.wait is not None else 2.0**attempt * random.uniform(0.3, 0.6)
    return min(wanted, _LONGEST_PAUSE)


def nothing_left(failures: Sequence[str], where: str) -> UserError:
    """The error after every endpoint has failed."""
    return UserError(
        "; ".join(failures) or "no endpoint of the configuration has this source",
        where=where,
        hint="`endpoints` in the configuration lists what is tried; partial files are kept",
    )


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
