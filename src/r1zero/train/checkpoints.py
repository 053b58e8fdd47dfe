"""The folder of checkpoints: one training at a time, one configuration, complete checkpoints only.

The folder is not a declared output of the workflow, because Snakemake deletes those before a retry.
"""

import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from r1zero.core.errors import UserError
from r1zero.core.files import describe_file, read_json, verify_file, weights_hash, write_json
from r1zero.core.locks import LockedError, lock

# Written last into each checkpoint; a checkpoint without it is incomplete.
SEAL = "checkpoint.json"
_OWNER = "run.json"


@contextmanager
def exclusive(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Lock a folder for one training while the block runs, or a trainer that it started.

    A trainer inherits the lock: one that outlives a killed workflow keeps the next one off.

    Args:
        folder: Folder of checkpoints; it is created if it does not exist.
        wait: Wait for another training that holds the lock.

    Raises:
        UserError: Another training holds the lock, and is not waited for.

    """
    folder.mkdir(parents=True, exist_ok=True)

    def say() -> None:
        print(f"{folder}: another training uses this folder; waiting for its end", flush=True)

    try:
        with lock(folder / ".lock", on_wait=say if wait else None, inherited=True):
            yield
    except LockedError:
        raise UserError(
            "another training uses this folder", where=str(folder), hint="wait for it or stop it"
        ) from None


def bind_to_run(folder: Path, run: dict[str, Any]) -> None:
    """Mark a folder as that of a run; refuse one with checkpoints of another configuration.

    Args:
        folder: The folder of checkpoints.
        run: The run's `run.json`; configuration, data and base model are compared.

    """
    identity = {
        "config_hash": run["config_hash"],
        "data_hash": run["data_hash"],
        "base_model": run["base_model"]["sha256"],
    }
    path = folder / _OWNER
    if path.exists() and sealed(folder):
        owner = read_json(path)
        for key, value in identity.items():
            if owner["identity"][key] != value:
                raise UserError(
                    f"holds checkpoints of another run: their {key} is "
                    f"{owner['identity'][key][:12]}, this run's is {value[:12]}",
                    where=str(folder),
                    hint="move the folder away to train anew, or undo the change to resume",
                )
    write_json(path, {"identity": identity, "settings": run["settings"]})


def seal(checkpoint: Path, config_hash: str) -> None:
    """Mark a checkpoint as complete, with checksums of its files."""
    files = [
        describe_file(path, checkpoint)
        for path in sorted(checkpoint.rglob("*"))
        if path.is_file() and path.name != SEAL
    ]
    write_json(checkpoint / SEAL, {"config_hash": config_hash, "files": files})


def prune_optimizer_states(folder: Path, keep: int, states: Sequence[str]) -> list[str]:
    """Delete the optimizer states of all but the last `keep` checkpoints; return their names.

    Their weights stay, to be evaluated. A run resumes from the last checkpoint, which keeps them.

    Args:
        folder: Folder of checkpoints.
        keep: Checkpoints that keep their states, at least 1.
        states: Patterns of files and folders with states, from the backend's `CheckpointFormat`.

    """
    stripped = []
    for checkpoint in list(sealed(folder).values())[: -max(1, keep)]:
        paths = [path for pattern in states for path in checkpoint.glob(pattern)]
        if not paths:
            continue
        # The new seal first, so that the checkpoint is complete whenever this is interrupted.
        content = read_json(checkpoint / SEAL)
        gone = {path.relative_to(checkpoint).parts[0] for path in paths}
        content["files"] = [e for e in content["files"] if Path(e["path"]).parts[0] not in gone]
        write_json(checkpoint / SEAL, content)
        for path in paths:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        stripped.append(checkpoint.name)
    return stripped


def verify(checkpoint: Path) -> None:
    """Check every file of a checkpoint against its seal."""
    for entry in read_json(checkpoint / SEAL)["files"]:
        verify_file(entry, checkpoint)


def last_intact(folder: Path, states: Sequence[str]) -> Path | None:
    """The checkpoint to go on from: the last one. Damaged ones after it are deleted.

    A file can be truncated or changed although its checkpoint was complete: a machine that loses
    power has not written everything that it was told to.

    Args:
        folder: Folder of checkpoints.
        states: Patterns of files and folders with optimizer states, as in `prune_optimizer_states`.

    Returns:
        None if the folder has no intact checkpoint.

    Raises:
        UserError: The last intact checkpoint has lost its optimizer states to a disk budget, so
            that going on would repeat finished work.

    """
    damaged = None
    for checkpoint in reversed(sealed(folder).values()):
        try:
            verify(checkpoint)
        except (UserError, KeyError, TypeError) as error:  # the seal can be damaged too
            print(f"{error}\n{checkpoint}: damaged, deleted", flush=True)
            shutil.rmtree(checkpoint)
            damaged = checkpoint
            continue
        if damaged and not _has_states(checkpoint, states):
            raise UserError(
                f"{damaged.name} was damaged, and the one before has no optimizer states",
                where=str(checkpoint),
                hint="move the folder of checkpoints away to train anew",
            )
        return checkpoint
    return None


def _has_states(checkpoint: Path, states: Sequence[str]) -> bool:
    """Whether the seal of a checkpoint lists optimizer states."""
    tops = {Path(entry["path"]).parts[0] for entry in read_json(checkpoint / SEAL)["files"]}
    return any(fnmatch(top, pattern) for top in tops for pattern in states)


def step_of(checkpoint: Path) -> int:
    """Number of optimizer steps before a checkpoint, from its name."""
    return int(checkpoint.name.rpartition("-")[2])


def sealed(folder: Path) -> dict[int, Path]:
    """Complete checkpoints by step, ascending."""
    found = {}
    for path in folder.glob("checkpoint-*"):
        match = re.fullmatch(r"checkpoint-(\d+)", path.name)
        if match and (path / SEAL).is_file():
            found[int(match[1])] = path
    return dict(sorted(found.items()))


def drop_incomplete(folder: Path) -> list[str]:
    """Delete checkpoints that were not saved completely; return their names."""
    complete = set(sealed(folder).values())
    dropped = [path for path in folder.glob("checkpoint-*") if path not in complete]
    for path in dropped:
        shutil.rmtree(path)
    return sorted(path.name for path in dropped)


def weights_hash_of(checkpoint: Path) -> str:
    """Hash of the weights of a checkpoint, from its seal."""
    return weights_hash(read_json(checkpoint / SEAL)["files"])
