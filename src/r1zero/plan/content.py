"""The files of a plan: `plan.json`, its page `plan.md`, and what the backend renders."""

from pathlib import Path
from typing import Any, NamedTuple

from r1zero.core.errors import UserError
from r1zero.plan.assignment import assign_gpus
from r1zero.plan.backend import LOOPBACK, Inputs, load_backend
from r1zero.plan.cost import Disk, Time, disk_of, host_memory_of, time_of
from r1zero.plan.layout import Layout, Refusal
from r1zero.plan.machine import Machine, find_machine
from r1zero.plan.page import render_page
from r1zero.plan.search import lay_out
from r1zero.settings import RunSettings, load_recipe
from r1zero.settings.architecture import Architecture
from r1zero.settings.recipe import PublishedTime
from r1zero.settings.workflow import Hardware

# Port in the commands of the page; a training that is started by the workflow chooses free ones.
_FIRST_PORT = 8000


class Plan(NamedTuple):
    """The content of a plan's files."""

    page: str
    """Text of `plan.md`."""
    json: dict[str, Any]
    """Content of `plan.json`."""
    config: dict[str, str]
    """Files of `config/` by name."""


def plan_of(
    run: RunSettings,
    layout: Layout,
    machine: Machine,
    architecture: Architecture | None,
    hardware: Hardware,
    *,
    inputs: Inputs,
    config: Path,
) -> Plan:
    """The plan of a run with a layout.

    Args:
        run: The run.
        layout: Its layout.
        machine: The machine it is for.
        architecture: Sizes of the model; without them disk and time are not computed.
        hardware: The hardware section of the configuration.
        inputs: Files and folders of the run.
        config: Folder of the configuration, with the published times of recipes.

    Raises:
        UserError: `hardware.disk_gb` is too small for the checkpoints.

    """
    disk = disk_of(run, layout, architecture) if architecture else None
    kept = _kept_states(disk, hardware) if disk else None
    time = time_of(run, layout, architecture, machine) if architecture else None
    host_memory = host_memory_of(layout, machine, architecture)
    inputs = inputs._replace(kept_optimizer_states=kept)
    backend = load_backend(run.backend)
    processes = backend.processes(run, layout, machine, inputs)
    names = sorted({name for process in processes for name in process.ports})
    ports = {name: _FIRST_PORT + index for index, name in enumerate(names)}
    address = "$NODE_{}" if layout.nodes > 1 else LOOPBACK
    processes = [process.at(ports, address=address) for process in processes]
    differences = backend.differences(run)
    page = render_page(
        run,
        layout,
        machine,
        processes=processes,
        host_memory=host_memory,
        disk=disk,
        kept_states=kept,
        time=time,
        published=_published(run, architecture, config),
        differences=differences,
    )
    content = {
        **layout_as_json(layout),
        "backend": run.backend,
        "environment": backend.environment,
        "differences": differences,
        "machine": machine.model_dump(mode="json"),
        "assignments": [each._asdict() for each in assign_gpus(layout, machine)],
        "processes": [process.as_json() for process in processes],
        "host_memory": host_memory,
        "disk": {**disk._asdict(), "everything": disk.everything} if disk else None,
        "kept_optimizer_states": kept,
        "seconds_per_step": time.step if time else None,
    }
    return Plan(page, content, backend.render(run, layout, inputs))


def layout_as_json(found: Layout | Refusal) -> dict[str, Any]:
    """A layout or refusal with the same keys; those of a layout are null in a refusal."""
    return dict.fromkeys(Layout.model_fields) | found.model_dump(mode="json")


def _kept_states(disk: Disk, hardware: Hardware) -> int | None:
    """Number of checkpoints that keep their optimizer states within the disk budget."""
    if hardware.disk_gb is None:
        return None
    kept = disk.kept_states(hardware.disk_gb * 1e9)
    if kept is None:
        least = (disk.checkpoints * disk.weights + 2 * disk.optimizer) / 1e9
        raise UserError(
            f"{disk.checkpoints} checkpoints need {least:.3g} GB with one set of optimizer states "
            "to resume from and one that is being written",
            where="hardware.disk_gb",
            hint=f"{least:.3g} or more works, or a larger sizes.save_steps",
        )
    return kept


def _published(
    run: RunSettings, architecture: Architecture | None, config: Path
) -> tuple[PublishedTime, Time | None] | None:
    """The published time of a recipe at paper scale, with the estimate for the same GPUs."""
    is_variant = "-" in run.recipe
    if run.scale != "paper" or is_variant:
        return None
    report = load_recipe(run.recipe, config).published_time
    if report is None or architecture is None:
        return None
    hardware = Hardware(gpus=report.gpus, gpu=report.gpu)
    machine = find_machine(hardware)
    found = lay_out(run, machine, architecture, hardware)
    estimate = time_of(run, found, architecture, machine) if isinstance(found, Layout) else None
    return report, estimate
