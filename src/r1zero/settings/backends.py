"""The registry of backends: a name, and the module that implements it.

A backend is a plugin. The settings know its name, the plan and the training stage load its module
when a run asks for it (`r1zero.plan.backend.load_backend`), so no stage imports a later one and a
new backend is one line here and one folder in `train/backends/`.
"""

from typing import Annotated

from pydantic import AfterValidator, WithJsonSchema

# Each module has an object `BACKEND` that satisfies `r1zero.train.backends.base.Backend`. It is
# imported by the driver, so it must not import torch.
BACKENDS = {
    "trl": "r1zero.train.backends.trl",
    "split": "r1zero.train.backends.split",
    "swift": "r1zero.train.backends.swift",
}


RELEASED = "released"
"""In place of a backend in the files of a released model, which no backend of ours trained."""


def _known(name: str) -> str:
    if name not in BACKENDS:
        raise ValueError(f"unknown backend; known: {', '.join(BACKENDS)}")
    return name


BackendName = Annotated[
    str, AfterValidator(_known), WithJsonSchema({"type": "string", "enum": list(BACKENDS)})
]


def _known_or_released(name: str) -> str:
    return name if name == RELEASED else _known(name)


RunBackend = Annotated[str, AfterValidator(_known_or_released)]
