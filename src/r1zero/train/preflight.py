"""`python -m r1zero preflight`: check the machine that trains, in seconds.

The configuration decides the layout of a run, which is checked when the Snakefile is read. Whether
a machine has the GPUs, packages, reward functions and trackers that the run needs is checked here:
before the first job if the machine of the driver trains, and at the start of every training.
"""

import importlib.util
import json
from pathlib import Path
from typing import Annotated

import typer
from pydantic import Field

from r1zero.core.errors import UserError
from r1zero.core.formatting import size
from r1zero.core.host import (
    LEAST_SHARED_MEMORY,
    SHARED_MEMORY,
    abandoned_builds,
    free_shared_memory,
    missing_build_tools,
)
from r1zero.core.section import Section
from r1zero.core.validation import validate
from r1zero.plan.backend import load_backend
from r1zero.plan.driver import cuda_of_torch, find_driver, torch_problem, without_bfloat16
from r1zero.plan.layout import Layout
from r1zero.plan.machine import Machine, count_gpus
from r1zero.rewards.functions import load
from r1zero.settings.run import RunSettings
from r1zero.settings.workflow import Tracking
from r1zero.train.trackers import require_trackers


class Needs(Section):
    """What one or several runs need on the machine that trains them."""

    gpus: int = Field(default=0, ge=0)
    """GPUs of one node."""
    bfloat16: bool = False
    """Whether they compute in bfloat16."""
    packages: dict[str, str] = Field(default={})
    """Packages beyond those of the training stack: how to install each, by the name to import."""
    reward_functions: dict[str, str] = Field(default={})
    """The user's reward functions: the recipe that names each, by its dotted path."""
    tracking: Tracking = Tracking()
    """Trackers, which need their packages and keys."""

    @classmethod
    def of(cls, run: RunSettings, layout: Layout, machine: Machine, tracking: Tracking) -> "Needs":
        """What one run needs."""
        own = [reward.name for reward in run.rewards if not reward.model and "." in reward.name]
        return cls(
            gpus=machine.gpus_per_node,
            # vLLM has weights of bfloat16 whatever the trainer has.
            bfloat16=machine.gpus > 0
            and (
                "bfloat16" in (layout.compute_dtype, layout.weights_dtype)
                or layout.placement != "transformers"
            ),
            packages=_packages(run, layout),
            reward_functions=dict.fromkeys(own, run.recipe),
            tracking=tracking,
        )

    def joined(self, other: "Needs") -> "Needs":
        """The needs of both; they have the same trackers."""
        return Needs(
            gpus=max(self.gpus, other.gpus),
            bfloat16=self.bfloat16 or other.bfloat16,
            packages=self.packages | other.packages,
            reward_functions=other.reward_functions | self.reward_functions,
            tracking=self.tracking,
        )


def check_machine(needs: Needs) -> None:
    """Check that this machine has what runs need; the user's reward functions are imported.

    Raises:
        UserError: Something is missing.

    """
    found = count_gpus("auto") if needs.gpus else 0
    if found < needs.gpus:
        raise UserError(
            f"{needs.gpus} GPUs are planned for, and this machine has {found}",
            where="hardware.gpus",
            hint="CUDA_VISIBLE_DEVICES and nvidia-smi show which GPUs can be used",
        )
    if needs.gpus:
        _check_driver(needs)
    for package, install in needs.packages.items():
        if importlib.util.find_spec(package) is None:
            raise UserError(
                f"the layout needs {package}, which is not installed",
                where="hardware.gpus",
                hint=install,
            )
    abandoned = abandoned_builds() if "deepspeed" in needs.packages else []
    if abandoned:
        raise UserError(
            "a build of an extension was killed and left its lock file, for which DeepSpeed would "
            "wait without end",
            where=str(abandoned[0]),
            hint="delete the file, unless another machine that shares the folder builds at present",
        )
    for path, recipe in needs.reward_functions.items():
        try:
            load(path)
        except UserError as error:
            where = f"recipe {recipe}: {error.where}"
            raise UserError(error.message, where=where, hint=error.hint) from None
    require_trackers(needs.tracking)


def _check_driver(needs: Needs) -> None:
    """Check torch against the driver, and what several processes and DeepSpeed need of the host."""
    driver = find_driver()
    if driver is None:  # CUDA_VISIBLE_DEVICES names GPUs that NVML cannot see
        return
    problem = torch_problem(driver, cuda_of_torch())
    if problem:
        raise UserError(
            problem,
            where="hardware.gpus",
            hint="install a newer driver, or torch with `make install TORCH=cuda`",
        )
    old = without_bfloat16(driver) if needs.bfloat16 else []
    if old:
        raise UserError(
            f"{old[0].name} has compute capability {'.'.join(map(str, old[0].capability))}, and "
            "bfloat16 needs 8.0",
            where="hardware.gpus",
            hint="a newer GPU, chosen with CUDA_VISIBLE_DEVICES; float16 is not supported",
        )
    free = free_shared_memory()
    if needs.gpus > 1 and (free or 0) < LEAST_SHARED_MEMORY:
        raise UserError(
            f"{size(free or 0)} of shared memory are free, and several GPUs want "
            f"{size(LEAST_SHARED_MEMORY)}",
            where=str(SHARED_MEMORY),
            hint="in a container: docker run --shm-size=8g",
        )
    missing = missing_build_tools() if "deepspeed" in needs.packages else []
    if missing:
        raise UserError(
            f"DeepSpeed compiles its optimizers, and this machine has no {', no '.join(missing)}",
            where="hardware.gpus",
            hint="install a C++ compiler and ninja",
        )


def preflight(
    needs: Annotated[str, typer.Argument(help="What the runs need, as JSON.")],
) -> None:
    """Check that this machine has the GPUs, packages and reward functions that runs need."""
    try:
        values = json.loads(needs)
    except ValueError as error:
        raise UserError(f"not valid JSON: {error}", where="preflight") from None
    check_machine(validate(values, Needs, "preflight"))


def _packages(run: RunSettings, layout: Layout) -> dict[str, str]:
    """Packages that a layout needs in the main environment, with the way to install each.

    Raises:
        UserError: The lock of a backend with an environment of its own lacks a package.

    """
    backend = load_backend(run.backend)
    needed = backend.requires(layout)
    if backend.environment is None:
        return dict(needed)
    lock = Path("envs") / f"{backend.environment}.lock"
    missing = [name for name in needed if not _locks(lock, name)]
    if missing:
        raise UserError(
            f"the layout needs {' and '.join(missing)}, which {lock} does not have",
            where="hardware.gpus",
            hint=f"{needed[missing[0]]}; or backends: [trl]",
        )
    return {}


def _locks(lock: Path, package: str) -> bool:
    """Whether a lock has a package."""
    lines = lock.read_text(encoding="utf-8").splitlines()
    return any(line.startswith((f"{package}==", f"{package} @")) for line in lines)
