"""`python -m r1zero reference`: the reference model of any number of trainers, as a server."""

import ipaddress
from pathlib import Path
from typing import Annotated

import typer

from r1zero.core.errors import UserError, read_secret
from r1zero.plan.backend import load_scorer
from r1zero.settings.workflow import REFERENCE_TOKEN


def reference(
    model: Annotated[Path, typer.Option(help="Folder of the model that runs start from.")],
    temperature: Annotated[float, typer.Option(help="Sampling temperature of the runs.")],
    backend: Annotated[str, typer.Option(help="Trainer of the runs.")] = "split",
    dtype: Annotated[str, typer.Option(help="Type of the weights: float32 or bfloat16.")] = (
        "float32"
    ),
    compute_dtype: Annotated[str, typer.Option(help="Type of the arithmetic.")] = "float32",
    host: Annotated[
        str,
        typer.Option(
            help=f"Address to bind; {REFERENCE_TOKEN} must be set for other than loopback."
        ),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port.")] = 59875,
    threads: Annotated[int, typer.Option(min=1, help="Threads on a CPU.")] = 1,
    request_mb: Annotated[float, typer.Option(help="Largest request in 10^6 bytes.")] = 64.0,
    request_seconds: Annotated[float, typer.Option(help="Longest time for one to arrive.")] = 60.0,
    waiting: Annotated[int, typer.Option(min=1, help="Most requests that wait.")] = 64,
) -> None:
    """Serve log-probabilities of a reference model to trainers."""
    token = read_secret(REFERENCE_TOKEN)
    if not token and not _is_loopback(host):
        raise UserError(
            f"anyone who reaches {host} could use the server",
            where="--host",
            hint=f"set {REFERENCE_TOKEN} here and for the trainers, or bind 127.0.0.1",
        )
    for option, value in (("--dtype", dtype), ("--compute-dtype", compute_dtype)):
        if value not in ("float32", "bfloat16"):
            raise UserError(f"unknown type '{value}'", where=option, hint="float32 works")
    if not (model / "config.json").is_file():
        raise UserError("no model", where=f"--model {model}")
    import torch
    import uvicorn
    from transformers import AutoConfig
    from transformers.utils import logging

    from r1zero.reference.protocol import Identity
    from r1zero.reference.server import Limits, ReferenceServer

    logging.disable_progress_bar()
    torch.set_num_threads(threads)
    identity = Identity.of(
        model,
        dtype=dtype,
        compute_dtype=compute_dtype,
        temperature=temperature,
        backend=backend,
    )
    sizes = AutoConfig.from_pretrained(model)
    limits = Limits(
        request_bytes=int(request_mb * 1e6),
        seconds=request_seconds,
        waiting=waiting,
        length=sizes.max_position_embeddings,
        vocabulary=sizes.vocab_size,
    )
    score = load_scorer(backend)(model, dtype, compute_dtype, temperature)
    print(f"reference model {identity.weights[:12]} at http://{host}:{port}", flush=True)
    server = ReferenceServer(score, identity, limits, token)
    uvicorn.run(
        server.application,
        host=host,
        port=port,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=10,
    )


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
