"""The backend protocol: what a trainer must offer to run recipes.

To add a backend, write a folder here with an object `BACKEND`, register it in
`r1zero.settings.backends`, and add `envs/<name>.lock` if it cannot share the main environment. The
planning half of the protocol is in `r1zero.plan.backend`. The files that every backend leaves are
written through `r1zero.train.recording.Recorder`.
"""

from dataclasses import dataclass
from typing import Protocol, cast

from r1zero.plan.backend import PlanningBackend, load_backend


@dataclass(frozen=True)
class CheckpointFormat:
    """What a backend saves in a folder `checkpoint-<step>`.

    The weights are those of a transformers model with its tokenizer, which is what evaluations
    load.
    """

    optimizer_states: tuple[str, ...]
    """Patterns of the files and folders that are only needed to resume."""


class Backend(PlanningBackend, Protocol):
    """A trainer: how runs are laid out and started, and what it leaves.

    The methods are those of `PlanningBackend`: `check`, `constraints`, `requires`, `render` and
    `processes`.
    """

    packages: tuple[str, ...]
    """Distributions whose versions must agree between runs of one table."""
    checkpoint: CheckpointFormat
    """Files of a checkpoint."""


def backend_of(name: str) -> Backend:
    """A backend by its registered name.

    Raises:
        UserError: No backend has this name.

    """
    return cast(Backend, load_backend(name))


def packages_of(name: str) -> tuple[str, ...]:
    """Packages whose versions must agree between runs of a backend that share a table."""
    return backend_of(name).packages
