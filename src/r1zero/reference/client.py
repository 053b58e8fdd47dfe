"""The client of a reference server, which stands in a trainer for the reference model."""

import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import httpx
from torch import Tensor

from r1zero.core.errors import UserError, redact
from r1zero.reference.protocol import (
    IDENTITY_HEADER,
    Identity,
    pack_request,
    unpack_answer,
)

# Statuses of a server that is busy, slow, or behind a proxy that does not reach it.
_TRANSIENT = (408, 429, 502, 503, 504)
_FIRST_DELAY, _LONGEST_DELAY = 0.25, 15.0
_RESUMES = "once it is back, the same command continues from the last checkpoint"


class ReferenceClient:
    """A reference model on a server.

    Args:
        address: Address of the server.
        expected: Identity of the model that the trainer wants.
        patience: Seconds that a server may be gone, or busy, before training stops.
        token: Its token; None for none.
        prefetch: Whether `ask` returns before the answer is there.

    Raises:
        UserError: The server is not there, wants another token, or has another model.

    """

    def __init__(
        self,
        address: str,
        expected: Identity,
        *,
        patience: float = 600.0,
        token: str | None = None,
        prefetch: bool = True,
    ) -> None:
        self._address, self._expected, self._patience = address, expected, patience
        headers = {"authorization": f"Bearer {token}"} if token else {}
        # A busy server answers late; it is asked again only if it is gone.
        timeout = httpx.Timeout(patience, connect=min(10.0, patience))
        self._client = httpx.Client(base_url=address, headers=headers, timeout=timeout)
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="reference") if prefetch else None
        self._compare()

    def ask(self, input_ids: Tensor, mask: Tensor, kept: int, batch: int) -> "Future[Tensor]":
        """Ask for log-probabilities `[n, kept]`, in passes of at most `batch` rows.

        Args:
            input_ids: `[n, L]`; prompts are padded on the left, completions on the right.
            mask: `[n, L]`, 0 for padding.
            kept: Columns of the completions.
            batch: Rows of a pass.

        Returns:
            The answer. Its `result()` raises `UserError` if the server is gone for too long,
            refuses, has another model by now, or answers something else.

        """
        body = pack_request(input_ids, mask)
        arguments = body, len(input_ids), kept, batch
        if self._worker:
            return self._worker.submit(self._logps, *arguments)
        future: Future[Tensor] = Future()
        future.set_result(self._logps(*arguments))
        return future

    def close(self) -> None:
        """Close the connection; nothing can be asked any more."""
        if self._worker:
            self._worker.shutdown(wait=False, cancel_futures=True)
        self._client.close()

    def _logps(self, body: bytes, rows: int, kept: int, batch: int) -> Tensor:
        response = self._request(
            "POST", "/logps", params={"kept": kept, "batch": batch}, content=body
        )
        if response.headers.get(IDENTITY_HEADER) != self._expected.digest:
            self._compare()
            raise self._error("the answer has no identity of a reference model")
        try:
            return unpack_answer(response.content, rows, kept)
        except ValueError as error:
            raise self._error(f"the answer is no answer of a reference server: {error}") from None

    def _compare(self) -> None:
        """Compare the identity of the server with the expected one."""
        response = self._request("GET", "/identity")
        try:
            found = dict(response.json())
        except (ValueError, TypeError):
            raise self._error("the answer is no answer of a reference server") from None
        for name, wanted in self._expected.model_dump(mode="json").items():
            if found.get(name) != wanted:
                shown = [str(value)[:12] for value in (found.get(name), wanted)]
                raise self._error(
                    f"the reference model has {name} {shown[0]}, the run wants {shown[1]}",
                    "start the server with the base model and the temperature of the run",
                )

    def _request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send a request, again and again as long as the server is gone or busy."""
        end, delay = time.monotonic() + self._patience, _FIRST_DELAY
        digest = self._expected.digest
        while True:
            try:
                response = self._client.request(method, path, **options)
            except httpx.TransportError as error:
                reason = redact(str(error)) or type(error).__name__
                problem = f"the reference server does not answer: {reason}"
            else:
                if response.status_code == 200:
                    return response
                if response.status_code not in _TRANSIENT:
                    # Another model may be why.
                    if response.headers.get(IDENTITY_HEADER, digest) != digest:
                        self._compare()
                    reason = f"status {response.status_code} {_reason(response)}"
                    raise self._error(f"the reference server refuses: {reason}")
                problem = f"the reference server answers with status {response.status_code}"
            if time.monotonic() + delay > end:
                raise self._error(f"{problem}, after {self._patience:g} s", _RESUMES)
            if delay == _FIRST_DELAY:
                notice = f"{problem}; asking again for {self._patience:g} s"
                print(f"{self._address}: {notice}", flush=True)
            time.sleep(delay)
            delay = min(2 * delay, _LONGEST_DELAY)

    def _error(self, problem: str, hint: str = "") -> UserError:
        return UserError(problem, where=self._address, hint=hint)


def _reason(response: httpx.Response) -> str:
    try:
        return redact(str(response.json()["error"]))
    except (ValueError, KeyError, TypeError):
        return ""
