"""How a run starts a reference server of its own, and what its trainers are told. No torch."""

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from r1zero.core.errors import read_secret
from r1zero.plan.backend import Inputs, Process
from r1zero.plan.layout import Layout
from r1zero.settings.run import RunSettings
from r1zero.settings.workflow import REFERENCE_TOKEN

if TYPE_CHECKING:
    from r1zero.reference.client import ReferenceClient

_ADDRESS = "http://{address:0}:{port:reference}"


def reference_server(run: RunSettings, layout: Layout, inputs: Inputs) -> list[Process]:
    """The reference server of a run, if its layout has one."""
    if layout.reference != "server":
        return []
    argv = (
        *("python", "-m", "r1zero", "reference", "--model", str(inputs.model)),
        *("--backend", run.backend, "--dtype", layout.weights_dtype),
        *("--temperature", str(run.algorithm.temperature)),
        *("--threads", str(run.computation.train.threads)),
        *("--host", "{address:0}", "--port", "{port:reference}"),
    )
    return [Process(role="reference", argv=argv, health=f"{_ADDRESS}/health")]


def client_arguments(layout: Layout) -> list[str]:
    """Options of a trainer, which `add_options` reads."""
    if layout.reference == "server":
        return ["--reference-address", _ADDRESS]
    if layout.reference == "remote":
        assert layout.remote_reference
        remote = layout.remote_reference
        return [
            *("--reference-address", remote.remote),
            *("--reference-patience", f"{remote.patience:g}"),
            *("--reference-token-from", remote.token_from),
        ]
    return []


def add_options(parser: ArgumentParser) -> None:
    """Add the options of `client_arguments`."""
    parser.add_argument("--reference-address", help="Address of the reference server.")
    parser.add_argument("--reference-patience", type=float, default=60.0, help="In seconds.")
    parser.add_argument(
        "--reference-token-from",
        default=REFERENCE_TOKEN,
        help="Environment variable with its token.",
    )
    parser.add_argument(
        "--reference-prefetch",
        choices=("on", "off"),
        default="on",
        help="Whether to ask before the answer is needed.",
    )


def remote_reference(
    options: Namespace, model: Path, *, weights: str, dtype: str, temperature: float, backend: str
) -> "ReferenceClient | None":
    """The client that the options of a trainer ask for; None without one.

    Args:
        options: From a parser with `add_options`.
        model: Folder of the model that training starts from.
        weights: Hash of its weights.
        dtype: Their type.
        temperature: Sampling temperature.
        backend: Name of the backend.

    Raises:
        UserError: The server is not there, or is not the one that is wanted.

    """
    if not options.reference_address:
        return None
    from r1zero.reference.client import ReferenceClient
    from r1zero.reference.protocol import Identity

    return ReferenceClient(
        options.reference_address,
        Identity.of(model, weights=weights, dtype=dtype, temperature=temperature, backend=backend),
        patience=options.reference_patience,
        token=read_secret(options.reference_token_from),
        prefetch=options.reference_prefetch == "on",
    )
