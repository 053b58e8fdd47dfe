"""The trackers there are: how each opens a run, takes a row, and closes the run."""

import contextlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r1zero.core.files import sha256_json
from r1zero.settings.workflow import Tracking


@dataclass(frozen=True)
class Tracked:
    """The run that is tracked, as every tracker shows it."""

    name: str
    """`<scale>/<recipe>/<backend>/seed<seed>`."""
    id: str
    """The same for every attempt at the run, another for another configuration."""
    config: dict[str, Any]
    """Settings and hashes."""
    folder: Path
    """The run's folder of trackers."""
    tracking: Tracking

    @classmethod
    def of(cls, run: Mapping[str, Any], folder: Path, tracking: Tracking) -> "Tracked":
        """Of a run.json and the run's folder of checkpoints."""
        identity = run["run"]
        hashes = {key: run[key] for key in ("config_hash", "data_hash")}
        return cls(
            name="{scale}/{recipe}/{backend}/seed{seed}".format_map(identity),
            id=sha256_json({"run": identity, **hashes})[:20],
            config={**run["settings"], **hashes, "base_model": run["base_model"]["sha256"]},
            folder=folder / "trackers",
            tracking=tracking,
        )

    @property
    def online(self) -> bool:
        """Whether a service gets the rows."""
        return self.tracking.mode == "online"

    def place(self, tracker: str) -> Path:
        """The folder of one tracker, which is there."""
        folder = self.folder / tracker
        folder.mkdir(parents=True, exist_ok=True)
        return folder


@dataclass(frozen=True)
class Tracker:
    """A place that takes rows."""

    where: Mapping[str, str]
    """Its `url` or its `folder`."""
    log: Callable[[int, dict[str, float]], object]
    """Takes the metrics of one step."""
    finish: Callable[[bool], object]
    """Sends what is left and closes the run, which may have failed."""


def swanlab(tracked: Tracked) -> Tracker:
    """SwanLab; offline, each attempt has a folder of its own that `swanlab sync` sends."""
    import swanlab

    # Of the machine it is told nothing: what made a run stands in model.json.
    probes = ("hardware", "runtime", "requirements", "git", "swanlab", "monitor")
    run = swanlab.init(
        project=tracked.tracking.project,
        workspace=tracked.tracking.workspace,
        name=tracked.name,
        id=tracked.id,
        resume="allow",  # its client leaves out the steps that the service has
        mode=tracked.tracking.mode,
        log_dir=str(tracked.place("swanlab")),
        config=tracked.config,
        settings=swanlab.Settings(
            interactive=False,
            terminal=swanlab.Settings.Terminal(proxy_type="none"),
            probe=swanlab.Settings.Probe(**dict.fromkeys(probes, False)),
        ),
    )

    def finish(failed: bool) -> None:
        run.finish(**{"state": "crashed", "error": "the training failed"} if failed else {})

    return Tracker(
        where={"url": run.url} if tracked.online else {"folder": _relative(run.dir)},
        log=lambda step, values: run.log(values, step=step),
        finish=finish,
    )


def tensorboard(tracked: Tracked) -> Tracker:
    """TensorBoard's event files; `tensorboard --logdir checkpoints` shows all runs."""
    from torch.utils.tensorboard import SummaryWriter

    folder = tracked.place("tensorboard")
    # Readers forget what earlier attempts wrote: all of it is written again.
    writer: Any = SummaryWriter(str(folder), purge_step=0)

    def log(step: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            writer.add_scalar(name, value, step)
        writer.flush()

    return Tracker(where={"folder": str(folder)}, log=log, finish=lambda _: writer.close())


def wandb(tracked: Tracked) -> Tracker:
    """Weights & Biases; offline, each attempt has a folder of its own that `wandb sync` sends."""
    import wandb

    run = wandb.init(
        project=tracked.tracking.project,
        entity=tracked.tracking.workspace,
        name=tracked.name,
        id=tracked.id,
        resume="allow",
        mode=tracked.tracking.mode,
        dir=str(tracked.place("wandb").parent),  # it adds its own name
        config=tracked.config,
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
    known = run.step  # steps before it are at the service, which refuses them

    def log(step: int, values: dict[str, float]) -> None:
        if step >= known:
            run.log(values, step=step)

    return Tracker(
        where={"url": run.url} if tracked.online else {"folder": _relative(Path(run.dir).parent)},
        log=log,
        finish=lambda failed: run.finish(exit_code=int(failed)),
    )


def trackio(tracked: Tracked) -> Tracker:
    """Trackio's local database, in TRACKIO_DIR if that is set."""
    folder = os.environ.setdefault("TRACKIO_DIR", str(tracked.place("trackio")))
    for remote in ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL"):
        os.environ.pop(remote, None)
    import trackio

    name = f"{tracked.name}-{tracked.id[:8]}"
    # What earlier attempts logged is all logged again.
    with contextlib.suppress(ValueError):  # the project is new
        for former in trackio.Api().runs(tracked.tracking.project):
            if former.name == name:
                former.delete()
    run = trackio.init(
        project=tracked.tracking.project,
        name=name,
        config=tracked.config,
        embed=False,
        auto_log_gpu=False,
        auto_log_cpu=False,
    )
    return Tracker(
        where={"folder": folder},
        log=lambda step, values: run.log(values, step=step),
        finish=lambda _: run.finish(),
    )


TRACKERS = {
    "swanlab": swanlab,
    "tensorboard": tensorboard,
    "wandb": wandb,
    "trackio": trackio,
}


def _relative(path: object) -> str:
    """A path as the other files name theirs, relative to the working folder where it is in it."""
    absolute = Path(str(path)).resolve()
    with contextlib.suppress(ValueError):
        return str(absolute.relative_to(Path.cwd()))
    return str(absolute)
