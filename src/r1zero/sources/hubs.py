"""Endpoints as one kind of thing: each lists a repository's files and reads a file from an offset.

Hugging Face and its mirrors are spoken to through `huggingface_hub`, ModelScope through
`modelscope_hub`, which is the hub client of `modelscope`. The clients know addresses, credentials
and errors. What they lack is here and in `download`: `huggingface_hub` checks no sha256 and starts
a broken file over in the next process, and neither goes on with a file that another hub began.
"""

import logging
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit

from r1zero.errors import redact
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


class RemoteFile(NamedTuple):
    """A file as a hub lists it; at least one of the checksums, as a rule."""

    bytes: int
    sha256: str | None = None
    git_sha1: str | None = None
    """Name of the blob in git, which small files have on Hugging Face in place of a sha256."""


class Listing(NamedTuple):
    """The files of a repository at one commit."""

    revision: str | None
    """The commit; None where the endpoint tells none."""
    files: Mapping[str, RemoteFile]


class Failure(Exception):
    """An endpoint did not give what it was asked for.

    Args:
        reason: Why.
        again: Whether another attempt may succeed.
        wait: Seconds the server asked to wait before that.

    """

    def __init__(self, reason: object, *, again: bool, wait: float | None = None) -> None:
        self.again, self.wait = again, wait
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

    def listing(self) -> Listing:
        """All files at the revision; raises `Failure`."""

    def read(self, path: str, start: int) -> AbstractContextManager["Chunks"]:
        """Open a file at an offset; raises `Failure`, also while it is read."""

    def on_disk(self, path: str) -> Path | None:
        """The file itself, where the endpoint is a folder that has it."""


class Chunks(NamedTuple):
    """What comes of an opened file."""

    start: int
    """Offset of the first byte: what was asked for, or 0 from a server that knows no ranges."""
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
    hubs: list[Hub] = []
    for endpoint in endpoints:
        if isinstance(endpoint, LocalEndpoint):
            hubs.append(LocalFolder(endpoint, kind, source, locked))
        elif not offline and isinstance(endpoint, HuggingFaceEndpoint) and source.huggingface:
            hubs.append(HuggingFace(endpoint, kind, source.huggingface, locked))
        elif not offline and isinstance(endpoint, ModelScopeEndpoint) and source.modelscope:
            longest = max(e.timeout for e in endpoints if isinstance(e, ModelScopeEndpoint))
            hubs.append(ModelScope(endpoint, kind, source.modelscope, locked, longest))
    return hubs


def _token(variable: str | None) -> str | None:
    return os.environ.get(variable) or None if variable else None


class HuggingFace:
    """The Hugging Face hub or a mirror, through `huggingface_hub`."""

    kind = "huggingface"

    def __init__(
        self, endpoint: HuggingFaceEndpoint, kind: str, place: Place, locked: Mapping[str, str]
    ) -> None:
        address = endpoint.huggingface
        if address == "auto":
            address = os.environ.get("HF_ENDPOINT", "").rstrip("/") or _HF
        self.label = redact(f"huggingface {address}")
        self.place, self.retries = place.repo, endpoint.retries
        self._address, self._repo_type, self._timeout = address, kind, endpoint.timeout
        self._revision = locked.get("huggingface") or place.revision or "main"
        own = urlsplit(address).hostname == urlsplit(_HF).hostname
        # False keeps the client from a token that `hf auth login` may have left on disk.
        self._token = _token(endpoint.token_from or ("HF_TOKEN" if own else None)) or False

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
        self._revision = info.sha or self._revision
        return Listing(
            info.sha,
            {
                file.rfilename: RemoteFile(file.size or 0, file.lfs.sha256)
                if file.lfs
                else RemoteFile(file.size or 0, git_sha1=file.blob_id)
                for file in info.siblings or []
            },
        )

    @contextmanager
    def read(self, path: str, start: int) -> Iterator[Chunks]:
        """Open a file; redirects to a content network are followed, without the token."""
        import httpx
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
                timeout=httpx.Timeout(self._timeout),
                follow_redirects=True,
            ) as response,
        ):
            hf_raise_for_status(response)
            offset = _offset(response.status_code, response.headers.get("Content-Range"), start)
            yield Chunks(offset, response.iter_bytes(_CHUNK))

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
            raise Failure("HF_HUB_OFFLINE is set in the environment", again=False) from None
        except GatedRepoError:
            raise Failure(f"{self.place} is gated: HF_TOKEN gives access", again=False) from None
        except RevisionNotFoundError:
            raise Failure(f"{self.place} has no revision {self._revision}", again=False) from None
        except RepositoryNotFoundError:
            raise Failure(f"no repository {self.place}, or not for us", again=False) from None
        except EntryNotFoundError:
            raise Failure(f"not in {self.place} at {self._revision}", again=False) from None
        except HfHubHTTPError as error:
            wait = error.response.headers.get("Retry-After", "")
            raise _refused(error.response.status_code, wait, self.place) from None
        except InvalidURL as error:
            raise Failure(error, again=False) from None
        except HTTPError as error:
            raise Failure(_described(error), again=True) from None


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
        os.environ["MODELSCOPE_API_CONNECT_TIMEOUT"] = seconds
        os.environ["MODELSCOPE_API_MAX_RETRIES"] = "1"
        from modelscope_hub import HubApi, HubConfig

        logging.getLogger("modelscope_hub").setLevel(logging.ERROR)

        self.label = redact(f"modelscope {endpoint.modelscope}")
        self.place, self.retries = place.repo, endpoint.retries
        self._repo_type = kind
        self._revision = locked.get("modelscope") or place.revision or "master"
        host = urlsplit(endpoint.modelscope).hostname or ""
        own = host.endswith(("modelscope.cn", "modelscope.ai"))
        variable = endpoint.token_from or ("MODELSCOPE_API_TOKEN" if own else None)
        nowhere = Path(tempfile.gettempdir()) / "r1zero-no-modelscope-login"
        self._api = HubApi(
            config=HubConfig(
                endpoint=endpoint.modelscope,
                # An empty token is none: the client then looks for no login on disk.
                token=_token(variable) or "",
                config_dir=nowhere,
                cache_dir=nowhere,
            )
        )

    def listing(self) -> Listing:
        """Files with their sha256. ModelScope tells no commit of a branch here."""
        with self._failures():
            entries = self._api.list_repo_files(
                self.place, self._repo_type, revision=self._revision
            )
        return Listing(
            None,
            {
                entry.path: RemoteFile(entry.size, entry.sha256 or None)
                for entry in entries
                if not entry.is_dir
            },
        )

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
            offset = _offset(response.status_code, response.headers.get("Content-Range"), start)
            yield Chunks(offset, response.iter_content(_CHUNK))

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
            raise Failure(reason, again=False) from None
        except APIError as error:
            wait = str(getattr(error, "retry_after", ""))
            raise _refused(error.status_code or 0, wait, self.place) from None
        except (HubError, RequestException) as error:
            raise Failure(_described(_root(error)), again=True) from None


class LocalFolder:
    """A folder on this machine or a cluster's file system."""

    kind = "local"
    retries = 0

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
        self._candidates = [
            folder
            for place in places
            for folder in _folders(endpoint.local, kind, place.repo, locked, place.revision)
        ]

    def listing(self) -> Listing:
        """Every file of the first folder that is there."""
        folder = self._folder()
        # Hidden files are notes that download tools leave: .gitattributes, .cache, .msc.
        files = {
            path.relative_to(folder).as_posix(): path
            for path in sorted(folder.rglob("*"))
            if path.is_file()
            and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        }
        return Listing(
            folder.name if folder.parent.name == "snapshots" else None,
            {name: RemoteFile(path.stat().st_size) for name, path in files.items()},
        )

    @contextmanager
    def read(self, path: str, start: int) -> Iterator[Chunks]:
        """Open a file."""
        file = self.on_disk(path)
        if file is None:
            raise Failure(f"no {path} in {self._folder()}", again=False)
        try:
            with file.open("rb") as stream:
                stream.seek(start)
                yield Chunks(start, iter(lambda: stream.read(_CHUNK), b""))
        except PermissionError as error:
            raise Failure(error, again=False) from None

    def on_disk(self, path: str) -> Path | None:
        """The file behind any links."""
        file = self._folder() / path
        return file.resolve() if file.is_file() else None

    def _folder(self) -> Path:
        for folder in self._candidates:
            if folder.is_dir():
                return folder
        wanted = " or ".join(map(str, self._candidates[:2]))
        raise Failure(f"no folder {wanted}", again=False)


def _folders(
    root: Path, kind: str, repo: str, locked: Mapping[str, str], revision: str | None
) -> list[Path]:
    """Where a folder may keep a repository: as it is on a hub, or as huggingface_hub caches it."""
    cache = root / f"{kind}s--{repo.replace('/', '--')}"
    wanted = locked.get("huggingface") or revision or "main"
    branch = cache / "refs" / wanted
    commit = branch.read_text().strip() if branch.is_file() else wanted
    return [root / f"{kind}s" / repo, cache / "snapshots" / commit]


def _offset(status: int, content_range: str | None, start: int) -> int:
    """Offset of the first byte of an answer."""
    if status != 206:
        return 0
    if content_range is None or not content_range.startswith(f"bytes {start}-"):
        raise Failure(f"asked for bytes {start}-, got {content_range}", again=True)
    return start


def _refused(status: int, retry_after: str, place: str) -> Failure:
    """The failure behind an answer that is an error."""
    if status in (401, 403):
        reason = f"no access to {place} (HTTP status {status}); `token_from` names a token"
    elif status == 416:
        reason = "wrong file: it ends before the bytes we asked for"
    else:
        reason = f"HTTP status {status}"
    return Failure(
        reason,
        again=status in (0, 408, 425, 429) or status >= 500,
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
