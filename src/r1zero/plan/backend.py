"""What a plan asks of a backend, and how a backend is found.

`r1zero.train.backends.base.Backend` is the whole protocol: it adds what only training asks. The
protocol is in two parts because a stage imports no later one. A backend implements both in one
folder of `train/backends/`, and is loaded by the name that `r1zero.settings.backends` registers.
"""

import importlib.util
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from shlex import quote
from typing import Any, Literal, NamedTuple, Protocol, cast

from r1zero.core.errors import UserError
from r1zero.core.files import read_json, verify_file
from r1zero.plan.layout import Constraints, Layout
from r1zero.plan.machine import Machine
from r1zero.settings.backends import BACKENDS
from r1zero.settings.run import RunSettings

Role = Literal["generator", "reference", "trainer", "evaluator"]

CONFIG_FOLDER = "config"
"""Folder of a plan with the files that the backend rendered."""


class Inputs(NamedTuple):
    """Files and folders of a run, as its processes are given them."""

    run_file: Path
    """The run's `run.json`."""
    model: Path
    """Folder of the model that training starts from."""
    problems: Path
    """Parquet file of the training problems."""
    reward_models: Mapping[str, Path]
    """Folders of the reward models, by name."""
    plan: Path
    """Folder of the plan; the rendered files are in its `config/`."""
    checkpoints: Path
    """Folder for checkpoints, metrics and rollouts."""
    kept_optimizer_states: int | None = None
    """Number of last checkpoints that keep their optimizer states; None for all."""

    @property
    def config(self) -> Path:
        """Folder of the rendered files."""
        return self.plan / CONFIG_FOLDER


def inputs_of(
    run_file: Path, content: Mapping[str, Any], *, plan: Path, checkpoints: Path
) -> Inputs:
    """Inputs of a resolved run; its training problems are checked against their manifest.

    Args:
        run_file: The run's `run.json`.
        content: Its content.
        plan: Folder of the plan.
        checkpoints: Folder for checkpoints.

    Raises:
        UserError: The problems are not those of the manifest.

    """
    manifest = Path(content["problems"])
    return Inputs(
        run_file=run_file,
        model=Path(content["base_model"]["path"]),
        problems=verify_file(read_json(manifest)["files"]["train"], manifest.parent),
        reward_models={
            name: Path(model["path"]) for name, model in content["reward_models"].items()
        },
        plan=plan,
        checkpoints=checkpoints,
    )


_PORT = re.compile(r"\{port:(\w+)\}")
_ADDRESS = re.compile(r"\{address:(\d+)\}")
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Process:
    """One process group of a run. A server is one more process, listed before those that use it.

    `{port:NAME}` in `argv`, in a value of `env` or in `health` stands for a port that is chosen
    when the run starts; the same name is the same port in all processes of the run.
    `{address:NODE}` stands for the address of a node, which is that of this machine unless the run
    has several.
    """

    role: Role
    argv: tuple[str, ...]
    """Command. The program is looked up in the environment of the backend."""
    env: Mapping[str, str] = field(default_factory=dict)
    """More variables."""
    gpus: tuple[str, ...] = ()
    """GPUs that it sees, as `CUDA_VISIBLE_DEVICES` names them."""
    node: int = 0
    """Node that it runs on."""
    health: str | None = None
    """For a server: URL that answers with status 200 as soon as it is ready."""

    @property
    def ports(self) -> set[str]:
        """Names of the ports that it mentions."""
        texts = (*self.argv, *self.env.values(), self.health or "")
        return {name for text in texts for name in _PORT.findall(text)}

    def at(self, ports: Mapping[str, int], *, address: str = LOOPBACK) -> "Process":
        """The same process with numbers in place of ports, and addresses in place of nodes.

        Args:
            ports: Numbers by name.
            address: Address of every node; `{}` in it stands for the number of the node.

        """

        def filled(text: str) -> str:
            text = _PORT.sub(lambda match: str(ports[match[1]]), text)
            return _ADDRESS.sub(lambda match: address.replace("{}", match[1]), text)

        return replace(
            self,
            argv=tuple(map(filled, self.argv)),
            env={name: filled(value) for name, value in self.env.items()},
            health=filled(self.health) if self.health else None,
        )

    def as_json(self) -> dict[str, Any]:
        """The process as `plan.json` lists it."""
        return {
            "role": self.role,
            "node": self.node,
            "gpus": list(self.gpus),
            "env": dict(self.env),
            "argv": list(self.argv),
            "health": self.health,
        }

    def as_shell(self) -> str:
        """The command as a person would type it, one option a line."""
        env = {"CUDA_VISIBLE_DEVICES": ",".join(self.gpus), **self.env}
        words = [f"{name}={quote(value)}" for name, value in env.items()]
        text = " ".join([*words, *map(quote, self.argv)]).replace(" --", " \\\n    --")
        # A variable of the shell, which the reader sets, has to be expanded.
        return re.sub(r"'(\$NODE_\d+)'", r'"\1"', text)


class PlanningBackend(Protocol):
    """What a plan asks of a backend. All methods are pure and need no torch."""

    name: str
    """Name in the registry."""
    environment: str | None
    """Environment that its processes run in: `.envs/<environment>`, made from
    `envs/<environment>.lock`. None for the main one."""

    def check(self, run: RunSettings) -> None:
        """Raise `UserError` for a setting that the backend cannot honour.

        The error names the key; `check_backend` adds the backends that can honour it.
        """

    def differences(self, run: RunSettings) -> dict[str, str]:
        """What the backend does in another way than the formulas of the papers, or than TRL does.

        Returns:
            A sentence for people by the dotted key of the setting; only of settings that `check`
            accepts, and only where they make a difference in this run.

        """

    def constraints(self, run: RunSettings) -> Constraints:
        """What layouts of a run are possible."""

    def requires(self, layout: Layout) -> dict[str, str]:
        """Packages that a layout needs beyond the ones that are always installed.

        Returns:
            By the name to import, how to install it.

        """

    def render(self, run: RunSettings, layout: Layout, inputs: Inputs) -> dict[str, str]:
        """Text of the files of `plan/config/`, by name.

        Every setting that decides weights is written out: defaults change between releases.
        """

    def processes(
        self,
        run: RunSettings,
        layout: Layout,
        machine: Machine,
        inputs: Inputs,
        resume: Path | None = None,
    ) -> list[Process]:
        """Processes of a run in the order of their start; the trainers come last.

        Args:
            run: The run.
            layout: Its layout.
            machine: The machine that trains, with the GPUs that may be used.
            inputs: Files and folders.
            resume: Checkpoint to go on from.

        """


def load_backend(name: str) -> PlanningBackend:
    """Import a backend by its registered name.

    Raises:
        UserError: No backend has this name.

    """
    if name not in BACKENDS:
        raise UserError(
            f"unknown backend '{name}'", where="backends", hint=f"known: {', '.join(BACKENDS)}"
        )
    return cast(PlanningBackend, importlib.import_module(BACKENDS[name]).BACKEND)


def load_scorer(name: str) -> Callable[[Path, str, str, float], Any]:
    """The function of a backend that loads a reference model for a server.

    It takes the folder, the types of the weights and of the arithmetic, and the temperature, and is
    `load_scorer` in the module `scoring` of the backend. Imports torch.

    Raises:
        UserError: No backend has this name, or its reference model cannot be on a server.

    """
    load_backend(name)
    modules = {each: f"{module}.scoring" for each, module in BACKENDS.items()}
    able = [each for each, module in modules.items() if importlib.util.find_spec(module)]
    if name not in able:
        raise UserError(
            f"the reference model of the backend {name} cannot be on a server",
            where="--backend",
            hint=f"works: {', '.join(able)}",
        )
    scoring = importlib.import_module(modules[name])
    return cast(Callable[[Path, str, str, float], Any], scoring.load_scorer)


def check_backend(run: RunSettings) -> None:
    """Check that the backend of a run honours its settings.

    Raises:
        UserError: It does not; the hint names the backends that do.

    """
    try:
        load_backend(run.backend).check(run)
    except UserError as error:
        able = [name for name in BACKENDS if name != run.backend and _honours(name, run)]
        hint = f"{' and '.join(able)} can: backends: [{able[0]}]" if able else error.hint
        raise UserError(error.message, where=error.where, hint=hint) from None


def _honours(name: str, run: RunSettings) -> bool:
    try:
        load_backend(name).check(run)
    except UserError:
        return False
    return True
