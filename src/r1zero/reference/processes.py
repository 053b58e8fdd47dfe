"""How a run starts a reference server of its own, and what its trainers are told. No torch."""

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from r1zero.core.errors import read_secret
from r1zero.plan.assignment import GpuAssignment, assign_gpus
from r1zero.plan.backend import Inputs, Process
from r1zero.plan.layout import Layout
from r1zero.plan.machine import Machine
from r1zero.settings.run import RunSettings
from r1zero.settings.workflow import REFERENCE_TOKEN

if TYPE_CHECKING:
    from r1zero.reference.client import ReferenceClient


def reference_server(
    run: RunSettings, layout: Layout, machine: Machine, inputs: Inputs
) -> list[Process]:
    """The reference server of a run, if its layout has one."""
    if layout.reference != "server":
        return []
    assigned = _generator_gpu(layout, machine)
    node = assigned.node if assigned else 0
    argv = (
        *("python", "-m", "r1zero", "reference", "--model", str(inputs.model)),
        *("--backend", run.backend, "--dtype", layout.weights_dtype),
        *("--compute-dtype", layout.compute_dtype),
        *("--temperature", str(run.algorithm.temperature)),
        *("--threads", str(run.computation.train.threads)),
        *("--request-mb", str(_request_megabytes(run, layout))),
        *("--host", f"{{address:{node}}}", "--port", "{port:reference}"),
    )
    return [
        Process(
            role="reference",
            argv=argv,
            gpus=(assigned.gpu,) if assigned else (),
            node=node,
            health=f"{_address(node)}/health",
        )
    ]


def _request_megabytes(run: RunSettings, layout: Layout) -> int:
    """Size of the largest request of a trainer: all its completions that share rollouts.

    A token takes four bytes, and one of the mask.
    """
    completions = layout.completions_per_step * run.algorithm.updates_per_rollout
    length = run.sizes.max_prompt_length + run.sizes.max_completion_length
    return 1 + completions // layout.trainers * length * 5 // 10**6


def _generator_gpu(layout: Layout, machine: Machine) -> GpuAssignment | None:
    """The GPU of the generator that the server shares; None on the CPU."""
    assigned = assign_gpus(layout, machine)
    return next((each for each in assigned if each.role == "generator"), None)


def _address(node: int) -> str:
    return f"http://{{address:{node}}}:{{port:reference}}"


def client_arguments(layout: Layout, machine: Machine) -> list[str]:
    """Options of a trainer, which `add_options` reads."""
    if layout.reference == "server":
        assigned = _generator_gpu(layout, machine)
        return ["--reference-address", _address(assigned.node if assigned else 0)]
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
    options: Namespace,
    model: Path,
    *,
    weights: str,
    dtype: str,
    compute_dtype: str,
    temperature: float,
    backend: str,
) -> "ReferenceClient | None":
    """The client that the options of a trainer ask for; None without one.

    Args:
        options: From a parser with `add_options`.
        model: Folder of the model that training starts from.
        weights: Hash of its weights.
        dtype: Their type.
        compute_dtype: Type of the arithmetic.
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
        Identity.of(
            model,
            weights=weights,
            dtype=dtype,
            compute_dtype=compute_dtype,
            temperature=temperature,
            backend=backend,
        ),
        patience=options.reference_patience,
        token=read_secret(options.reference_token_from),
        prefetch=options.reference_prefetch == "on",
    )
