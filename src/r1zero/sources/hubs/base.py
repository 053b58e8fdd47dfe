"""What an endpoint is: it lists a repository's files and reads a file from an offset."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit

from r1zero.core.errors import redact

# Bytes read at once, which is what a broken connection loses at most.
CHUNK = 1 << 16
# What clients raise when an answer is not a listing, such as the page of a portal.
NO_LISTING = (ValueError, KeyError, TypeError, AttributeError, StopIteration)


class RemoteFile(NamedTuple):
    """A file as a hub lists it."""

    bytes: int
    sha256: str | None = None
    git_sha1: str | None = None
    """Name of the blob in git, which small files have on Hugging Face in place of a sha256."""
    only: str | None = None
    """The one endpoint that may give a file without a checksum: the one that listed it."""

    @property
    def checksum(self) -> str | None:
        """The checksum that identifies the content, if there is one."""
        return self.sha256 or self.git_sha1


class Listing(NamedTuple):
    """The files of a repository at one commit."""

    revision: str | None
    """The commit; None if the endpoint reports none."""
    files: Mapping[str, RemoteFile]


class HubError(Exception):
    """An endpoint did not serve a request.

    Args:
        reason: Why it failed.
        retryable: Whether another attempt may succeed.
        wait: Seconds that the server asked to wait before that.

    """

    def __init__(
        self, reason: object, *, retryable: bool = False, wait: float | None = None
    ) -> None:
        self.retryable, self.wait = retryable, wait
        super().__init__(redact(str(reason)))


class Hub(Protocol):
    """One endpoint, for one source."""

    kind: str
    """`huggingface`, `modelscope` or `local`."""
    label: str
    """Name in logs: kind and address."""
    place: str
    """Repository there."""
    retries: int
    """Attempts after the first without progress."""
    verified: bool
    """Whether the repository is known to be the source; if not, it is not trusted on first use."""

    def pin(self, revision: str) -> None:
        """Use this commit of Hugging Face from now on, if the endpoint has such commits."""

    def listing(self) -> Listing:
        """All files at the revision; raises `HubError`."""

    def read(self, path: str, start: int) -> AbstractContextManager["Chunks"]:
        """Open a file at an offset; raises `HubError`, also while it is read."""

    def on_disk(self, path: str) -> Path | None:
        """The file itself, if the endpoint is a folder that has it."""


class Chunks(NamedTuple):
    """The content of an opened file."""

    start: int
    """Offset of the first byte: the requested one, or 0 from a server without range requests."""
    total: int | None
    """Bytes of the whole file, if the response has it."""
    chunks: Iterator[bytes]


def is_at(address: str, *domains: str) -> bool:
    """Whether an address belongs to one of these domains and is encrypted."""
    parts = urlsplit(address)
    host = parts.hostname or ""
    return parts.scheme == "https" and any(host == d or host.endswith(f".{d}") for d in domains)


def extent(status: int, headers: Mapping[str, str], start: int) -> tuple[int, int | None]:
    """Offset of a response's first byte, and the size of the whole file if the response has it."""
    if status != 206:
        length = headers.get("Content-Length", "")
        plain = "Content-Encoding" not in headers
        return 0, int(length) if plain and length.isdigit() else None
    content_range = headers.get("Content-Range", "")
    if not content_range.startswith(f"bytes {start}-"):
        raise HubError(
            f"asked for bytes {start}-, got {content_range or 'no range'}", retryable=True
        )
    total = content_range.rpartition("/")[2]
    return start, int(total) if total.isdigit() else None


def refused(status: int, retry_after: str, place: str) -> HubError:
    """The error of a response with an error status."""
    if status in (401, 403):
        reason = f"no access to {place} (HTTP status {status}); `token_from` names a token"
    elif status == 416:
        reason = "wrong file: it ends before the requested range"
    else:
        reason = f"HTTP status {status}"
    return HubError(
        reason,
        retryable=status in (0, 408, 425, 429) or status >= 500,
        wait=float(retry_after) if retry_after.isdigit() else None,
    )


def described(error: BaseException) -> str:
    """Type and text of an error; the text alone may be empty, as that of a timeout is."""
    return f"{type(error).__name__}: {error}".rstrip(": ")
