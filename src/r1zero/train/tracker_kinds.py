"""The trackers by name: how each opens a run, takes a row, and closes the run."""

import contextlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from r1zero.core.files import sha256_json
from r1zero.settings.workflow import Tracking


@dataclass(frozen=True)
class TrackedRun:
    """A run as every tracker shows it."""

    name: str
    """`<scale>/<recipe>/<backend>/seed<seed>`."""
    id: str
    """The same for every attempt at the run, another for another configuration."""
    config: dict[str, Any]
    """Settings and hashes."""
    trackers: Path
    """Folder of the run's trackers."""
    tracking: Tracking

    @classmethod
    def of(cls, run: Mapping[str, Any], folder: Path, tracking: Tracking) -> "TrackedRun":
        """From the contents of a run.json and the run's folder of checkpoints."""
        identity = run["run"]
        hashes = {key: run[key] for key in ("config_hash", "data_hash")}
        return cls(
            name="{scale}/{recipe}/{backend}/seed{seed}".format_map(identity)
            + (f"_base{identity['base_seed']}" if identity.get("base_seed") else ""),
            id=sha256_json({"run": identity, **hashes})[:20],
            config={**run["settings"], **hashes, "base_model": run["base_model"]["sha256"]},
            trackers=folder / "trackers",
            tracking=tracking,
        )

    def folder_of(self, tracker: str) -> Path:
        """The folder of one tracker, made if it does not exist."""
        folder = self.trackers / tracker
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @property
    def options(self) -> dict[str, Any]:
        """Arguments that the `init` of SwanLab and of wandb share."""
        return {
            "project": self.tracking.project,
            "name": self.name,
            "id": self.id,
            "resume": "allow",
            "mode": self.tracking.mode,
            "config": self.config,
        }

    def where(self, opened: Any, folder: object) -> dict[str, str]:
        """The `url` of an open run; offline its `folder`, relative to the working folder."""
        if self.tracking.mode == "online":
            return {"url": str(opened.url)}
        path, here = Path(str(folder)).resolve(), Path.cwd()
        return {"folder": str(path.relative_to(here) if path.is_relative_to(here) else path)}


class Tracker(NamedTuple):
    """An open run of one tracker."""

    where: Mapping[str, str]
    """Its `url` or its `folder`."""
    log: Callable[[int, dict[str, float]], object]
    """Takes the metrics of one step."""
    finish: Callable[[bool], object]
    """Sends what is left and closes the run, which may have failed."""


def swanlab(run: TrackedRun) -> Tracker:
    """SwanLab; offline, each attempt has a folder of its own that `swanlab sync` sends."""
    import swanlab

    # Disable hardware probes; provenance is in model.json.
    probes = ("hardware", "runtime", "requirements", "git", "swanlab", "monitor")
    opened = swanlab.init(
        **run.options,  # with `resume`, the client skips the steps that the service has
        workspace=run.tracking.workspace,
        log_dir=str(run.folder_of("swanlab")),
        settings=swanlab.Settings(
            interactive=False,
            terminal=swanlab.Settings.Terminal(proxy_type="none"),
            probe=swanlab.Settings.Probe(**dict.fromkeys(probes, False)),
        ),
    )

    def finish(failed: bool) -> None:
        opened.finish(**{"state": "crashed", "error": "the training failed"} if failed else {})

    return Tracker(
        run.where(opened, opened.dir), lambda step, row: opened.log(row, step=step), finish
    )


def tensorboard(run: TrackedRun) -> Tracker:
    """TensorBoard's event files; `tensorboard --logdir checkpoints` shows all runs."""
    from torch.utils.tensorboard import SummaryWriter

    folder = run.folder_of("tensorboard")
    # With `purge_step`, readers drop the events of earlier attempts, which are all logged again.
    writer: Any = SummaryWriter(str(folder), purge_step=0)

    def log(step: int, row: dict[str, float]) -> None:
        for name, value in row.items():
            writer.add_scalar(name, value, step)
        writer.flush()

    return Tracker({"folder": str(folder)}, log, lambda _: writer.close())


def wandb(run: TrackedRun) -> Tracker:
    """Weights & Biases; offline, each attempt has a folder of its own that `wandb sync` sends."""
    import wandb

    opened = wandb.init(
        **run.options,
        entity=run.tracking.workspace,
        dir=str(run.folder_of("wandb").parent),  # wandb adds its own name
        settings=wandb.Settings(
            console="off",
            silent=True,
            disable_git=True,
            disable_code=True,
            x_disable_meta=True,
            x_disable_stats=True,
            x_save_requirements=False,
        ),
    )
    first = opened.step  # the service has the steps before it, and refuses them

    def log(step: int, row: dict[str, float]) -> None:
        if step >= first:
            opened.log(row, step=step)

    return Tracker(
        run.where(opened, Path(opened.dir).parent),
        log,
        lambda failed: opened.finish(exit_code=int(failed)),
    )


def trackio(run: TrackedRun) -> Tracker:
    """Trackio's local database, in TRACKIO_DIR if that is set."""
    folder = os.environ.setdefault("TRACKIO_DIR", str(run.folder_of("trackio")))
    for remote in ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL"):
        os.environ.pop(remote, None)
    import trackio

    name = f"{run.name}-{run.id[:8]}"
    # Earlier attempts are deleted, because every row is logged again.
    with contextlib.suppress(ValueError):  # the project is new
        for former in trackio.Api().runs(run.tracking.project):
            if former.name == name:
                former.delete()
    opened = trackio.init(
        project=run.tracking.project,
        name=name,
        config=run.config,
        embed=False,
        auto_log_gpu=False,
        auto_log_cpu=False,
    )
    return Tracker(
        {"folder": folder},
        lambda step, row: opened.log(row, step=step),
        lambda _: opened.finish(),
    )


TRACKERS = {"swanlab": swanlab, "tensorboard": tensorboard, "wandb": wandb, "trackio": trackio}
