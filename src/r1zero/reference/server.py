"""The reference server: Starlette on uvicorn, and one thread that computes, in order of arrival.

Requests are not merged: the shape of a forward pass decides how its sums are rounded, and a trainer
is to get what it would compute itself.
"""

import asyncio
import hmac
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from r1zero.reference.protocol import (
    IDENTITY_HEADER,
    Identity,
    Scorer,
    pack_answer,
    unpack_request,
)


@dataclass(frozen=True)
class Limits:
    """What a server accepts."""

    request_bytes: int
    """Largest body of a request."""
    seconds: float
    """Longest time for a body to arrive."""
    waiting: int
    """Requests that wait or are computed; further ones are told to come again."""
    length: int
    """Tokens of the longest prompt with its completion."""
    vocabulary: int
    """Token ids are below this number."""


class _RefusedError(Exception):
    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class ReferenceServer:
    """The application, and its counts.

    Args:
        score: Computes the log-probabilities.
        identity: Of the model.
        limits: What it accepts.
        token: Token that requests must have; None for none.

    """

    def __init__(
        self, score: Scorer, identity: Identity, limits: Limits, token: str | None = None
    ) -> None:
        self._score, self._identity, self._limits, self._token = score, identity, limits, token
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="reference")
        self._waiting = self._tokens = 0
        self._seconds = 0.0
        self._answers: Counter[int] = Counter()
        self.application = Starlette(
            routes=[
                Route("/logps", self._logps, methods=["POST"]),
                Route("/identity", self._about),
                Route("/health", self._health),
                Route("/metrics", self._metrics),
            ]
        )

    async def _health(self, request: Request) -> Response:
        return JSONResponse({"status": "ok", "waiting": self._waiting})

    async def _metrics(self, request: Request) -> Response:
        lines = [
            "# TYPE reference_answers_total counter",
            *(
                f'reference_answers_total{{status="{status}"}} {count}'
                for status, count in sorted(self._answers.items())
            ),
            "# TYPE reference_tokens_total counter",
            f"reference_tokens_total {self._tokens}",
            "# TYPE reference_compute_seconds_total counter",
            f"reference_compute_seconds_total {self._seconds:.6f}",
            "# TYPE reference_waiting gauge",
            f"reference_waiting {self._waiting}",
        ]
        return PlainTextResponse("\n".join(lines) + "\n", media_type="text/plain; version=0.0.4")

    async def _about(self, request: Request) -> Response:
        try:
            self._check_token(request)
        except _RefusedError as error:
            return JSONResponse({"error": str(error)}, error.status)
        return JSONResponse(self._identity.model_dump(mode="json"))

    async def _logps(self, request: Request) -> Response:
        headers = {IDENTITY_HEADER: self._identity.digest}
        try:
            content = await self._answer(request)
            response = Response(content, media_type="application/octet-stream", headers=headers)
        except ClientDisconnect:
            return Response(status_code=400)
        except _RefusedError as error:
            if error.status == 503:
                headers["retry-after"] = "1"
            response = JSONResponse({"error": str(error)}, error.status, headers)
        self._answers[response.status_code] += 1
        return response

    async def _answer(self, request: Request) -> bytes:
        self._check_token(request)
        try:
            kept, batch = (int(request.query_params[name]) for name in ("kept", "batch"))
        except (KeyError, ValueError):
            raise _RefusedError(400, "wants numbers kept and batch in the query") from None
        if self._waiting >= self._limits.waiting:
            raise _RefusedError(503, f"{self._waiting} requests are waiting")
        self._waiting += 1
        try:
            body = await self._body(request)
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._worker, self._compute, body, kept, batch)
        finally:
            self._waiting -= 1

    def _check_token(self, request: Request) -> None:
        if self._token is None:
            return
        given = request.headers.get("authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {self._token}".encode()):
            raise _RefusedError(401, "wants the token of the server")

    async def _body(self, request: Request) -> bytes:
        """The body of a request, which is not read further than the limits allow."""
        most = self._limits.request_bytes
        announced = request.headers.get("content-length", "0")
        if announced.isdigit() and int(announced) > most:
            raise _RefusedError(413, f"{announced} bytes are more than {most}")
        body = bytearray()
        try:
            async with asyncio.timeout(self._limits.seconds):
                async for part in request.stream():
                    body += part
                    if len(body) > most:
                        raise _RefusedError(413, f"more than {most} bytes")
        except TimeoutError:
            raise _RefusedError(408, f"no whole body in {self._limits.seconds:g} s") from None
        return bytes(body)

    def _compute(self, body: bytes, kept: int, batch: int) -> bytes:
        try:
            input_ids, mask = unpack_request(body)
        except ValueError as error:
            raise _RefusedError(422, str(error)) from None
        length, limits = input_ids.shape[1], self._limits
        if not (0 < kept < length <= limits.length and batch > 0):
            raise _RefusedError(
                422, f"kept {kept}, length {length} of at most {limits.length}, batch {batch}"
            )
        if input_ids.min() < 0 or input_ids.max() >= limits.vocabulary:
            raise _RefusedError(422, f"token ids are not below {limits.vocabulary}")
        prompt, completion = mask[:, :-kept], mask[:, -kept:]
        if not prompt[:, -1].all() or (prompt.diff() < 0).any() or (completion.diff() > 0).any():
            raise _RefusedError(422, "wants padding left of the prompts, right of the completions")
        began = time.perf_counter()
        try:
            logps = self._score(input_ids, mask, kept, batch)
        except RuntimeError as error:  # out of memory
            raise _RefusedError(500, f"{type(error).__name__}: {error}") from error
        self._seconds += time.perf_counter() - began
        self._tokens += int(mask.sum())
        return pack_answer(logps)
