"""Published files, told apart by what they hold, in one common form."""

import math
from pathlib import Path
from typing import Any, Literal, NamedTuple

from r1zero.errors import UserError, redact
from r1zero.imports.shell import swift_command
from r1zero.settings.load import read_yaml

_ACCELERATE = {"compute_environment", "distributed_type", "num_machines", "deepspeed_config"}
_DEEPSPEED = {"zero_optimization"}
_LISTS = {"reward_funcs", "reward_weights"}


class Trainers(NamedTuple):
    """How many processes train, and what says so."""

    processes: int
    origin: str


class Published(NamedTuple):
    """What the files hold."""

    dialect: Literal["trl", "swift"]
    where: str
    """The file with the settings."""
    settings: dict[str, Any]
    """Settings by the file's own keys."""
    layout: dict[str, dict[str, Any]]
    """What only says where things run, by file and key."""
    trainers: Trainers | None


class Number(NamedTuple):
    """A published value on its way to a number."""

    value: Any
    where: str

    def real(self) -> float:
        """As a number. YAML reads `2e-5` as text, and a command line holds only text."""
        try:
            if isinstance(self.value, bool | None):
                raise ValueError
            number = float(self.value)
            if not math.isfinite(number):
                raise ValueError
        except (TypeError, ValueError):
            hint = "write the value in place of what a shell would put there"
            raise UserError(
                f"{redact(repr(self.value))} is not a number",
                where=self.where,
                hint=hint if "$" in str(self.value) or "`" in str(self.value) else "",
            ) from None
        return number

    def whole(self) -> int:
        """As an integer."""
        value = self.real()
        if not value.is_integer():
            raise UserError(f"{self.value} is not an integer", where=self.where)
        return int(value)

    def positive(self) -> int:
        """As an integer of at least 1."""
        value = self.whole()
        if value < 1:
            raise UserError(f"{value} is less than 1", where=self.where)
        return value


def truth(value: Any, where: str) -> bool:
    """A published truth value."""
    if isinstance(value, bool):
        return value
    known = {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}
    if str(value).lower() not in known:
        raise UserError(f"{redact(repr(value))} is not true or false", where=where)
    return known[str(value).lower()]


def read_published(files: list[Path]) -> Published:
    """Read the files of one published run: its settings, and at most one file of its layout."""
    settings: list[Published] = []
    layout: dict[str, dict[str, Any]] = {}
    trainers: Trainers | None = None
    for path in files:
        if _is_shell(path):
            settings.append(_read_swift(path))
            continue
        content = _read_mapping(path)
        if not (_ACCELERATE | _DEEPSPEED) & content.keys():
            settings.append(Published("trl", str(path), content, {}, None))
            continue
        layout[path.name] = _flat(content)
        if "num_processes" in content:
            where = f"{path}: num_processes"
            count = Number(content["num_processes"], where).positive()
            trainers = Trainers(count, f"{path.name}: num_processes")
    if len(settings) != 1:
        names = ", ".join(found.where for found in settings)
        raise UserError(
            f"{len(settings)} of the files have settings of a run{f': {names}' if names else ''}",
            where="import",
            hint="give one TRL YAML or one ms-swift script, and its accelerate file beside it",
        )
    found = settings[0]
    return found._replace(layout=layout | found.layout, trainers=found.trainers or trainers)


def _is_shell(path: Path) -> bool:
    return path.suffix in {".sh", ".bash", ".txt"}


def _read_mapping(path: Path) -> dict[str, Any]:
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise UserError(
            "holds no settings",
            where=str(path),
            hint="known are YAML files of TRL and accelerate, and .sh files with `swift rlhf`",
        )
    return {str(key): value for key, value in content.items()}


def _read_swift(path: Path) -> Published:
    where = str(path)
    try:
        command = swift_command(path.read_text(encoding="utf-8"), where)
    except FileNotFoundError:
        raise UserError("no such file", where=where) from None
    except UnicodeDecodeError:
        raise UserError("is not text in UTF-8", where=where) from None
    settings: dict[str, Any] = {}
    for flag, values in command.flags.items():
        settings[flag] = values if flag in _LISTS else _one(flag, values, where)
    kind = settings.get("rlhf_type", "dpo")
    if kind != "grpo":
        raise UserError(f"rlhf_type is {kind}", where=where, hint="only grpo can be imported")
    trainers = _swift_trainers(command.environment, path)
    return Published("swift", where, settings, {path.name: command.environment}, trainers)


def _swift_trainers(environment: dict[str, str], path: Path) -> Trainers:
    """Processes of a `swift` command: one unless NPROC_PER_NODE says more."""
    counts = {
        name: Number(environment[name], f"{path}: {name}").positive()
        for name in ("NPROC_PER_NODE", "NNODES")
        if name in environment
    }
    origin = " x ".join(counts) or "no NPROC_PER_NODE, so one process"
    return Trainers(
        counts.get("NPROC_PER_NODE", 1) * counts.get("NNODES", 1), f"{path.name}: {origin}"
    )


def _one(flag: str, values: list[str], where: str) -> Any:
    """Value of a flag that takes one; without one it is a switch."""
    if len(values) > 1:
        if flag in {"dataset", "model"}:
            raise UserError(
                f"names {len(values)}: {', '.join(values)}",
                where=f"{where}: {flag}",
                hint="a recipe has one; leave one in the file",
            )
        return " ".join(values)
    return values[0] if values else True


def _flat(content: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, dict):
            flat |= {f"{key}.{inner}": held for inner, held in value.items()}
        else:
            flat[key] = value
    return flat
