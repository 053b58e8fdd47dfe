"""ModelScope, through `modelscope_hub`, the hub client of `modelscope`."""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from r1zero.core.errors import read_secret, redact
from r1zero.settings.endpoints import ModelScopeEndpoint
from r1zero.settings.sources import Place
from r1zero.sources.hubs.base import (
    CHUNK,
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
        # The client reads these when it is imported. Retries are made in `sources.chain`.
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
        own = is_at(endpoint.modelscope, "modelscope.cn", "modelscope.ai")
        variable = endpoint.token_from or ("MODELSCOPE_API_TOKEN" if own else None)
        # A folder that cannot exist: no login is read from it, and nothing is written to it.
        nowhere = Path(os.devnull) / "modelscope"
        self._api = HubApi(
            config=HubConfig(
                endpoint=endpoint.modelscope,
                # With an empty token, the client does not look for a login on disk.
                token=(read_secret(variable) if variable else None) or "",
                config_dir=nowhere,
                cache_dir=nowhere,
            )
        )
        for session in (self._api.legacy._session, self._api.legacy._read_session):
            # Otherwise requests would send the login of ~/.netrc.
            session.auth = _leave_alone
            session.rebuild_auth = _drop_authorization  # type: ignore[method-assign,assignment]

    def pin(self, revision: str) -> None:
        """Do nothing: ModelScope has other commits than Hugging Face."""

    def listing(self) -> Listing:
        """Files with their sha256. ModelScope reports no commit."""
        with self._failures():
            entries = self._api.list_repo_files(
                self.place, self._repo_type, revision=self._revision
            )
            files = {e.path: RemoteFile(e.size, e.sha256 or None) for e in entries if not e.is_dir}
        unsized = [path for path, file in files.items() if not (file.bytes or file.sha256)]
        if unsized:  # the client returns 0 for a missing size
            raise HubError(f"not the response of a hub: no size for {unsized[0]}")
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
            offset, total = extent(response.status_code, response.headers, start)
            yield Chunks(offset, total, response.iter_content(CHUNK))

    def on_disk(self, path: str) -> None:
        """None: the files are remote."""

    @contextmanager
    def _failures(self) -> Iterator[None]:
        from modelscope_hub.errors import APIError, NotExistError
        from modelscope_hub.errors import HubError as ClientError
        from requests import RequestException

        try:
            yield
        except NotExistError:
            reason = f"not in {self.place} at {self._revision}, or no such repository"
            raise HubError(reason) from None
        except APIError as error:
            wait = str(getattr(error, "retry_after", ""))
            raise refused(error.status_code or 0, wait, self.place) from None
        except (ClientError, RequestException) as error:
            raise HubError(described(_root(error)), retryable=True) from None
        except NO_LISTING as error:
            raise HubError(f"not the response of a hub: {described(error)}") from None


def _leave_alone(request: Any) -> Any:
    return request


def _drop_authorization(request: Any, response: Any) -> None:
    """Remove the token from a redirect to another host."""
    if urlsplit(response.request.url).netloc != urlsplit(request.url).netloc:
        request.headers.pop("Authorization", None)


def _root(error: BaseException) -> BaseException:
    """The innermost cause of an error; requests and urllib3 wrap it in long texts."""
    inner = (error.__cause__, error.__context__, getattr(error, "reason", None), *error.args)
    for cause in inner:
        if isinstance(cause, BaseException):
            return _root(cause)
    return error
