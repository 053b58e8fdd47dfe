"""The Hugging Face hub and its mirrors, through `huggingface_hub`."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from r1zero.core.errors import UserError, read_secret, redact
from r1zero.settings.endpoints import HuggingFaceEndpoint
from r1zero.settings.sources import Place
from r1zero.sources.hubs.base import (
    NO_LISTING,
    Chunks,
    HubError,
    Listing,
    RemoteFile,
    described,
    extent,
    is_at,
    refused,
)

_ADDRESS = "https://huggingface.co"
_CONNECT_SECONDS = 10.0


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
        own = "HF_TOKEN" if is_at(address, "huggingface.co") else None
        variable = endpoint.token_from or own
        # False keeps the client from reading the token of `hf auth login` on disk.
        self._token = (read_secret(variable) if variable else None) or False

    def pin(self, revision: str) -> None:
        """Use this commit from now on."""
        self._revision = revision

    def listing(self) -> Listing:
        """Commit and files, with the sha256 of large files and the git blob of small files."""
        from huggingface_hub import HfApi

        api = HfApi(endpoint=self._address, token=self._token, library_name="r1zero")
        info_of = api.dataset_info if self._repo_type == "dataset" else api.model_info
        with self._failures():
            # `list_repo_tree` has no timeout.
            info = info_of(
                self.place, revision=self._revision, files_metadata=True, timeout=self._timeout
            )
            files = {file.rfilename: _as_listed(file) for file in info.siblings or []}
        if info.sha:
            self.pin(info.sha)
        return Listing(info.sha, files)

    @contextmanager
    def read(self, path: str, start: int) -> Iterator[Chunks]:
        """Open a file. Redirects to a content network are followed without the token."""
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
        headers["Accept-Encoding"] = "identity"  # plain bytes, so that offsets are known
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
            offset, total = extent(response.status_code, response.headers, start)
            yield Chunks(offset, total, response.iter_bytes())

    def on_disk(self, path: str) -> None:
        """None: the files are remote."""

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """Turn the errors of the client into `HubError`."""
        from httpx import HTTPError, InvalidURL
        from huggingface_hub.errors import (
            EntryNotFoundError,
            GatedRepoError,
            HfHubHTTPError,
            OfflineModeIsEnabled,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )

        # The subclasses of another class first.
        reasons: dict[type[Exception], str] = {
            OfflineModeIsEnabled: "HF_HUB_OFFLINE is set in the environment",
            GatedRepoError: f"{self.place} is gated: set HF_TOKEN",
            RevisionNotFoundError: f"{self.place} has no revision {self._revision}",
            RepositoryNotFoundError: f"no repository {self.place}, or no access to it",
            EntryNotFoundError: f"not in {self.place} at {self._revision}",
        }
        try:
            yield
        except tuple(reasons) as error:
            found = next(reason for kind, reason in reasons.items() if isinstance(error, kind))
            raise HubError(found) from None
        except HfHubHTTPError as error:
            wait = error.response.headers.get("Retry-After", "")
            raise refused(error.response.status_code, wait, self.place) from None
        except (InvalidURL, ImportError) as error:  # httpx does not support every kind of proxy
            raise HubError(error) from None
        except HTTPError as error:
            raise HubError(described(error), retryable=True) from None
        except NO_LISTING as error:
            raise HubError(f"not the response of a hub: {described(error)}") from None


def _as_listed(file: Any) -> RemoteFile:
    if file.size is None:
        raise ValueError(f"no size for {file.rfilename}")
    if file.lfs:
        return RemoteFile(file.size, file.lfs.sha256)
    return RemoteFile(file.size, git_sha1=file.blob_id)


def _address(endpoint: HuggingFaceEndpoint) -> str:
    """Address of an endpoint; HF_ENDPOINT's for `auto`."""
    if endpoint.huggingface != "auto":
        return endpoint.huggingface
    address = os.environ.get("HF_ENDPOINT", "").rstrip("/") or _ADDRESS
    if not address.startswith(("http://", "https://")):
        raise UserError(
            "not an address such as https://hf-mirror.com",
            where="environment: HF_ENDPOINT",
            hint=f"got {redact(address)!r}",
        )
    return address


def _timeout(seconds: float) -> Any:
    import httpx

    return httpx.Timeout(seconds, connect=min(seconds, _CONNECT_SECONDS))
