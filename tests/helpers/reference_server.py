"""A reference server on loopback, in a thread of the test."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from transformers import AutoConfig

from r1zero.plan.backend import load_scorer
from r1zero.reference.protocol import Identity, Scorer
from r1zero.reference.server import Limits, ReferenceServer

# An application of ASGI.
Application = Callable[..., Any]


@contextmanager
def serving(
    model: Path,
    *,
    temperature: float = 1.0,
    backend: str = "split",
    token: str | None = None,
    port: int = 0,
    score: Scorer | None = None,
    wrapped: Callable[[Application], Application] = lambda application: application,
    **limits: Any,
) -> Iterator[str]:
    """Serve the reference model of a folder; gives the address.

    Args:
        model: The folder.
        temperature: Temperature of the runs.
        backend: Their backend.
        token: Token of the server.
        port: Its port; 0 for a free one.
        score: Computes the log-probabilities, in place of the backend.
        wrapped: Wraps the application, to misbehave.
        limits: `Limits` other than the usual ones.

    """
    identity = Identity.of(
        model,
        dtype="float32",
        compute_dtype="float32",
        temperature=temperature,
        backend=backend,
    )
    sizes = AutoConfig.from_pretrained(model)
    usual: dict[str, Any] = {
        "request_bytes": 10**7,
        "seconds": 10.0,
        "waiting": 8,
        "length": sizes.max_position_embeddings,
        "vocabulary": sizes.vocab_size,
    }
    server = ReferenceServer(
        score or load_scorer(backend)(model, "float32", "float32", temperature),
        identity,
        Limits(**usual | limits),
        token,
    )
    with serving_application(wrapped(server.application), port) as address:
        yield address


@contextmanager
def serving_application(application: Application, port: int = 0) -> Iterator[str]:
    """Serve an application with uvicorn; gives its address."""
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", port))
        config = uvicorn.Config(application, log_level="error", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listening],))
        listening.listen()
        thread.start()
        try:
            yield "http://{}:{}".format(*listening.getsockname())
        finally:
            server.should_exit = True
            thread.join()
