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


def _known(name: str) -> str:
    if name not in BACKENDS:
        raise ValueError(f"unknown backend; known: {', '.join(BACKENDS)}")
    return name


BackendName = Annotated[
    str, AfterValidator(_known), WithJsonSchema({"type": "string", "enum": list(BACKENDS)})
]
