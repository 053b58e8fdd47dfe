"""Endpoints as one kind of thing: each lists a repository's files and reads a file from an offset.

Hugging Face and its mirrors are spoken to through `huggingface_hub`, ModelScope through
`modelscope_hub`, which is the hub client of `modelscope`. The clients know addresses, credentials
and errors. What they lack is here and in `chain`: `huggingface_hub` checks no sha256 and starts a
broken file over in the next process, and neither goes on with a file that another hub began.
"""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol
from urllib.parse import urlsplit

from r1zero.core.errors import UserError, read_secret, redact
from r1zero.settings.endpoints import (
    Endpoint,
    HuggingFaceEndpoint,
    LocalEndpoint,
    ModelScopeEndpoint,
)
from r1zero.settings.sources import HubDataset, HubModel, Place

# What a broken connection loses at most.
_CHUNK = 1 << 16
_HF = "https://huggingface.co"
_CONNECT_SECONDS = 10.0
# What clients raise when an answer is no listing: a portal's page, say.
_NO_LISTING = (ValueError, KeyError, TypeError, AttributeError, StopIteration)


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
        """What tells the file from any other."""
        return self.sha256 or self.git_sha1


class Listing(NamedTuple):
    """The files of a repository at one commit."""

    revision: str | None
    """The commit; None where the endpoint tells none."""
    files: Mapping[str, RemoteFile]


class HubError(Exception):
    """An endpoint did not give what it was asked for.

    Args:
        reason: Why.
        retryable: Whether another attempt may succeed.
        wait: Seconds the server asked to wait before that.

    """

    def __init__(self, reason: object, *, retryable: bool, wait: float | None = None) -> None:
        self.retryable, self.wait = retryable, wait
        super().__init__(redact(str(reason)))


class Hub(Protocol):
    """One endpoint, for one source."""

    kind: str
    """`huggingface`, `modelscope` or `local`."""
    label: str
    """How it is named in logs: kind and address."""
    place: str
    """Repository there."""
    retries: int
    """Fruitless attempts after the first."""
    verified: bool
    """Whether it is sure to have the source, and may be trusted on first use."""

    def pin(self, revision: str) -> None:
        """Ask for this commit from now on, if it is a hub that has commits of this kind."""

    def listing(self) -> Listing:
        """All files at the revision; raises `HubError`."""

    def read(self, path: str, start: int) -> AbstractContextManager["Chunks"]:
        """Open a file at an offset; raises `HubError`, also while it is read."""

    def on_disk(self, path: str) -> Path | None:
        """The file itself, where the endpoint is a folder that has it."""


class Chunks(NamedTuple):
    """What comes of an opened file."""

    start: int
    """Offset of the first byte: what was asked for, or 0 from a server that knows no ranges."""
    total: int | None
    """Bytes of the whole file, where the answer says it."""
    chunks: Iterator[bytes]


def connect(
    endpoints: Sequence[Endpoint],
    source: HubDataset | HubModel,
    *,
    locked: Mapping[str, str],
    offline: bool,
) -> list[Hub]:
    """The endpoints that can have the source, in order.

    Args:
        endpoints: Those of the configuration.
        source: What is wanted.
        locked: Locked commits, by kind of hub: they take the place of a branch.
        offline: Leave out what needs a network.

    """
    kind = "dataset" if isinstance(source, HubDataset) else "model"
    hubs: dict[str, Hub] = {}
    for endpoint in endpoints:
        hub: Hub | None = None
        if isinstance(endpoint, LocalEndpoint):
            hub = LocalFolder(endpoint, kind, source, locked)
        elif not offline and isinstance(endpoint, HuggingFaceEndpoint) and source.huggingface:
            hub = HuggingFace(endpoint, kind, source.huggingface, locked)
        elif not offline and isinstance(endpoint, ModelScopeEndpoint) and source.modelscope:
            longest = max(e.timeout for e in endpoints if isinstance(e, ModelScopeEndpoint))
            hub = ModelScope(endpoint, kind, source.modelscope, locked, longest)
        if hub:  # `auto` may be an address that is listed too
            hubs.setdefault(hub.label, hub)
    return list(hubs.values())


def _is_at(address: str, *domains: str) -> bool:
    """Whether an address is of one of these domains, and hides what is sent there."""
    parts = urlsplit(address)
    host = parts.hostname or ""
    return parts.scheme == "https" and any(host == d or host.endswith(f".{d}") for d in domains)


class HuggingFace:
    """The Hugging Face hub or a mirror, through `huggingface_hub`."""

    kind = "huggingface"

    def __init__(
        self, endpoint: HuggingFaceEndpoint, kind: str, place: Place, locked: Mapping[str, str]
    ) -> None:
        address = _address(endpoint)
        self.label = redact(f"huggingface {address}")
        self.place, self.retries, self.verified = place.repo, endpoint.retries, place.verified
        self._address, self._repo_type, self._timeout = address, kind, endpoint.timeout
        self._revision = locked.get("huggingface") or place.revision or "main"
        own = "HF_TOKEN" if _is_at(address, "huggingface.co") else None
        variable = endpoint.token_from or own
        # False keeps the client from a token that `hf auth login` may have left on disk.
        self._token = (read_secret(variable) if variable else None) or False

    def pin(self, revision: str) -> None:
        """Ask for this commit from now on."""
        self._revision = revision

    def listing(self) -> Listing:
        """Commit and files, with the sha256 of large files and the git blob of small ones."""
        from huggingface_hub import HfApi

        api = HfApi(endpoint=self._address, token=self._token, library_name="r1zero")
        info_of = api.dataset_info if self._repo_type == "dataset" else api.model_info
        with self._failures():
            # Not `list_repo_tree`: it waits without a time-out.
            info = info_of(
                self.place, revision=self._revision, files_metadata=True, timeout=self._timeout
            )
            files = {file.rfilename: _as_listed(file) for file in info.siblings or []}
        if info.sha:
            self.pin(info.sha)
        return Listing(info.sha, files)

    @contextmanager
    def read(self, path: str, start: int) -> Iterator[Chunks]:
        """Open a file; redirects to a content network are followed, without the token."""
        from huggingface_hub import get_session, hf_hub_url
        from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

        url = hf_hub_url(
            self.place,
            path,
            repo_type=self._repo_type,
            revision=self._revision,
            endpoint=self._address,
        )
        headers = build_hf_headers(token=self._token, library_name="r1zero")
        headers["Accept-Encoding"] = "identity"  # the bytes of the file, at known offsets
        if start:
            headers["Range"] = f"bytes={start}-"
        with (
            self._failures(),
            get_session().stream(
                "GET",
                url,
                headers=headers,
                timeout=_timeout(self._timeout),
                follow_redirects=True,
            ) as response,
        ):
            hf_raise_for_status(response)
            offset, total = _extent(response.status_code, response.headers, start)
            yield Chunks(offset, total, response.iter_bytes())

    def on_disk(self, path: str) -> None:
        """Never."""

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """Turn the client's errors into failures that say whether to try again."""
        from httpx import HTTPError, InvalidURL
        from huggingface_hub.errors import (
            EntryNotFoundError,
            GatedRepoError,
            HfHubHTTPError,
            OfflineModeIsEnabled,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )

        try:
            yield
        except OfflineModeIsEnabled:
            raise HubError("HF_HUB_OFFLINE is set in the environment", retryable=False) from None
        except GatedRepoError:
            raise HubError(f"{self.place} is gated: set HF_TOKEN", retryable=False) from None
        except RevisionNotFoundError:
            raise HubError(
                f"{self.place} has no revision {self._revision}", retryable=False
            ) from None
        except RepositoryNotFoundError:
            reason = f"no repository {self.place}, or not for us"
            raise HubError(reason, retryable=False) from None
        except EntryNotFoundError:
            raise HubError(f"not in {self.place} at {self._revision}", retryable=False) from None
        except HfHubHTTPError as error:
            wait = error.response.headers.get("Retry-After", "")
            raise _refused(error.response.status_code, wait, self.place) from None
        except InvalidURL as error:
            raise HubError(error, retryable=False) from None
        except HTTPError as error:
            raise HubError(_described(error), retryable=True) from None
        except ImportError as error:  # for a proxy of a kind that httpx has no support for
            raise HubError(error, retryable=False) from None
        except _NO_LISTING as error:
            raise HubError(f"no answer of a hub: {_described(error)}", retryable=False) from None


def _as_listed(file: Any) -> RemoteFile:
    if file.size is None:
        raise ValueError(f"no size of {file.rfilename}")
    if file.lfs:
        return RemoteFile(file.size, file.lfs.sha256)
    return RemoteFile(file.size, git_sha1=file.blob_id)


def _address(endpoint: HuggingFaceEndpoint) -> str:
    """Address of an endpoint; HF_ENDPOINT's for `auto`."""
    if endpoint.huggingface != "auto":
        return endpoint.huggingface
    address = os.environ.get("HF_ENDPOINT", "").rstrip("/") or _HF
    if not address.startswith(("http://", "https://")):
        raise UserError(
            "is not an address such as https://hf-mirror.com",
            where="environment: HF_ENDPOINT",
            hint=f"got {redact(address)!r}",
        )
    return address


def _timeout(seconds: float) -> Any:
    import httpx

    return httpx.Timeout(seconds, connect=min(seconds, _CONNECT_SECONDS))


class ModelScope:
    """ModelScope, through `modelscope_hub`."""

    kind = "modelscope"

    def __init__(
        self,
        endpoint: ModelScopeEndpoint,
        kind: str,
        place: Place,
        locked: Mapping[str, str],
        timeout: float,
    ) -> None:
        # The client reads these once, when it is imported. Attempts are counted in `download`.
        seconds = str(max(1, round(timeout)))
        os.environ["MODELSCOPE_DOWNLOAD_TIMEOUT"] = seconds
        os.environ["MODELSCOPE_API_TIMEOUT"] = seconds
        os.environ["MODELSCOPE_API_CONNECT_TIMEOUT"] = str(min(int(seconds), 10))
        os.environ["MODELSCOPE_API_MAX_RETRIES"] = "1"
        os.environ["MODELSCOPE_REPO_TREE_PAGE_MAX_ATTEMPTS"] = "1"
        os.environ["MODELSCOPE_REPO_TREE_PAGE_TIMEOUT_SECONDS"] = seconds
        from modelscope_hub import HubApi, HubConfig

        logging.getLogger("modelscope_hub").setLevel(logging.ERROR)

        self.label = redact(f"modelscope {endpoint.modelscope}")
        self.place, self.retries, self.verified = place.repo, endpoint.retries, place.verified
        self._repo_type = kind
        self._revision = locked.get("modelscope") or place.revision or "master"
        own = _is_at(endpoint.modelscope, "modelscope.cn", "modelscope.ai")
        variable = endpoint.token_from or ("MODELSCOPE_API_TOKEN" if own else None)
        # There can be no login in it, and nothing can be written into it.
        nowhere = Path(os.devnull) / "modelscope"
        self._api = HubApi(
            config=HubConfig(
                endpoint=endpoint.modelscope,
                # An empty token is none: the client then looks for no login on disk.
                token=(read_secret(variable) if variable else None) or "",
                config_dir=nowhere,
                cache_dir=nowhere,
            )
        )
        for session in (self._api.legacy._session, self._api.legacy._read_session):
            # requests would take a name and password for the host from ~/.netrc.
            session.auth = _leave_alone
            session.rebuild_auth = _drop_authorization  # type: ignore[method-assign,assignment]

    def pin(self, revision: str) -> None:
        """Nothing: a commit of Hugging Face is none here."""

    def listing(self) -> Listing:
        """Files with their sha256. ModelScope tells no commit of a branch here."""
        with self._failures():
            entries = self._api.list_repo_files(
                self.place, self._repo_type, revision=self._revision
            )
            files = {e.path: RemoteFile(e.size, e.sha256 or None) for e in entries if not e.is_dir}
        unsized = [path for path, file in files.items() if not (file.bytes or file.sha256)]
        if unsized:  # the client makes 0 of a size that is missing
            raise HubError(f"no answer of a hub: no size of {unsized[0]}", retryable=False)
        return Listing(None, files)

    @contextmanager
    def read(self, path: str, start: int) -> Iterator[Chunks]:
        """Open a file."""
        headers = {"Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
        with (
            self._failures(),
            self._api.legacy.download_stream(
                self.place, self._repo_type, path, self._revision, headers=headers
            ) as response,
        ):
            offset, total = _extent(response.status_code, response.headers, start)
            yield Chunks(offset, total, response.iter_content(_CHUNK))

    def on_disk(self, path: str) -> None:
        """Never."""

    @contextmanager
    def _failures(self) -> Iterator[None]:
        from modelscope_hub.errors import APIError, HubError, NotExistError
        from requests import RequestException

        try:
            yield
        except NotExistError:
            reason = f"not in {self.place} at {self._revision}, or no such repository"
            raise HubError(reason, retryable=False) from None
        except APIError as error:
            wait = str(getattr(error, "retry_after", ""))
            raise _refused(error.status_code or 0, wait, self.place) from None
        except (HubError, RequestException) as error:
            raise HubError(_described(_root(error)), retryable=True) from None
        except _NO_LISTING as error:
            raise HubError(f"no answer of a hub: {_described(error)}", retryable=False) from None


def _leave_alone(request: Any) -> Any:
    return request


def _drop_authorization(request: Any, response: Any) -> None:
    """What a redirect to another host is not told."""
    if urlsplit(response.request.url).netloc != urlsplit(request.url).netloc:
        request.headers.pop("Authorization", None)


class LocalFolder:
    """A folder on this machine or a cluster's file system."""

    kind = "local"
    retries = 0
    verified = True

    def __init__(
        self,
        endpoint: LocalEndpoint,
        kind: str,
        source: HubDataset | HubModel,
        locked: Mapping[str, str],
    ) -> None:
        self.label = f"local {endpoint.local}"
        places = [place for place in (source.huggingface, source.modelscope) if place]
        self.place = places[0].repo
        self._root, self._repo_type = endpoint.local, kind
        self._places, self._commit = places, locked.get("huggingface")

    def pin(self, revision: str) -> None:
        """Prefer the snapshot of this commit."""
        self._commit = revision

    def listing(self) -> Listing:
        """Every file of the first folder that is there."""
        with self._failures():
            folder = self._folder()
            # Hidden files are notes that download tools leave: .gitattributes, .cache, .msc.
            files = {
                path.relative_to(folder).as_posix(): RemoteFile(path.stat().st_size)
                for path in sorted(folder.rglob("*"))
                if path.is_file()
                and not any(part.startswith(".") for part in path.relative_to(folder).parts)
            }
            if not files:
                raise HubError(f"nothing in {folder} that we may read", retryable=False)
        return Listing(folder.name if folder.parent.name == "snapshots" else None, files)

    @contextmanager
    def read(self, path: str, start: int) -> Iterator[Chunks]:
        """Open a file."""
        file = self.on_disk(path)
        if file is None:
            raise HubError(f"no {path} in {self._folder()}", retryable=False)
        with self._failures():
            stream = file.open("rb")
        with stream:
            stream.seek(start)
            yield Chunks(start, file.stat().st_size, self._chunks(stream))

    def _chunks(self, stream: BinaryIO) -> Iterator[bytes]:
        # Not around the caller's block: an error of the disk it writes to is none of this folder.
        while True:
            with self._failures():
                chunk = stream.read(_CHUNK)
            if not chunk:
                return
            yield chunk

    def on_disk(self, path: str) -> Path | None:
        """The file behind any links."""
        with self._failures():
            file = self._folder() / path
            return file.resolve() if file.is_file() else None

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except (OSError, UnicodeDecodeError) as error:
            raise HubError(_described(error), retryable=False) from None

    def _folder(self) -> Path:
        candidates = [folder for place in self._places for folder in self._folders_of(place)]
        for folder in candidates:
            if folder.is_dir():
                return folder
        raise HubError(f"no folder {' or '.join(map(str, candidates[:2]))}", retryable=False)

    def _folders_of(self, place: Place) -> Iterator[Path]:
        """Where a repository may be: as on a hub, or as huggingface_hub caches it."""
        yield self._root / f"{self._repo_type}s" / place.repo
        cache = self._root / f"{self._repo_type}s--{place.repo.replace('/', '--')}"
        wanted = self._commit or place.revision or "main"
        branch = cache / "refs" / wanted
        yield cache / "snapshots" / (branch.read_text().strip() if branch.is_file() else wanted)
        snapshots = sorted((cache / "snapshots").glob("*"))
        if len(snapshots) == 1 and not self._commit:
            yield snapshots[0]  # fetched by its commit, so that no branch names it


def _extent(status: int, headers: Mapping[str, str], start: int) -> tuple[int, int | None]:
    """Offset of an answer's first byte, and the size of the whole file if it is told."""
    if status != 206:
        length = headers.get("Content-Length", "")
        plain = "Content-Encoding" not in headers
        return 0, int(length) if plain and length.isdigit() else None
    content_range = headers.get("Content-Range", "")
    if not content_range.startswith(f"bytes {start}-"):
        raise HubError(f"asked for bytes {start}-, got {content_range or 'others'}", retryable=True)
    total = content_range.rpartition("/")[2]
    return start, int(total) if total.isdigit() else None


def _refused(status: int, retry_after: str, place: str) -> HubError:
    """The failure behind an answer that is an error."""
    if status in (401, 403):
        reason = f"no access to {place} (HTTP status {status}); `token_from` names a token"
    elif status == 416:
        reason = "wrong file: it ends before the bytes we asked for"
    else:
        reason = f"HTTP status {status}"
    return HubError(
        reason,
        retryable=status in (0, 408, 425, 429) or status >= 500,
        wait=float(retry_after) if retry_after.isdigit() else None,
    )


def _root(error: BaseException) -> BaseException:
    """What is behind the wrappings of requests and urllib3, whose texts are long."""
    inner = (error.__cause__, error.__context__, getattr(error, "reason", None), *error.args)
    for cause in inner:
        if isinstance(cause, BaseException):
            return _root(cause)
    return error


def _described(error: BaseException) -> str:
    """Kind and text of an error: the text alone may be empty, as that of a time-out is."""
    return f"{type(error).__name__}: {error}".rstrip(": ")
