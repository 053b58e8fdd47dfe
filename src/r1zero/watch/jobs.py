"""`python -m r1zero jobs`: the SLURM jobs of a folder, and those that have lost their driver."""

import contextlib
import subprocess
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from r1zero.core.errors import UserError

_COLUMNS = ("%i", "%T", "%M", "%N", "%k", "%Z")


class Job(NamedTuple):
    """A job in the queue."""

    number: str
    state: str
    elapsed: str
    node: str
    rule: str


def jobs(
    folder: Annotated[
        Path, typer.Argument(metavar="[FOLDER]", help="Folder of the workflow.")
    ] = Path(),
    cancel_orphans: Annotated[
        bool, typer.Option("--cancel-orphans", help="Cancel jobs that have lost their driver.")
    ] = False,
) -> None:
    """List the SLURM jobs of this workflow, and whether the Snakemake that submitted them lives.

    Only a Snakemake on this machine is seen.
    """
    found = jobs_in(folder)
    orphaned = not driver_in(folder)
    for job in found:
        state = f"{job.state}, orphaned" if orphaned else job.state
        typer.echo(f"{job.number}  {job.rule}  {state}  {job.elapsed}  {job.node}".rstrip())
    if not found:
        typer.echo("no jobs")
    elif orphaned and cancel_orphans:
        _ask_slurm("scancel", *(job.number for job in found))
        typer.echo(f"cancelled: {len(found)}")
    elif orphaned:
        typer.echo(
            "no Snakemake runs here. Start it again to wait for them (after snakemake --unlock), "
            "or cancel them with --cancel-orphans"
        )


def jobs_in(folder: Path) -> list[Job]:
    """Jobs of this user in the queue that were submitted from a folder.

    Raises:
        UserError: SLURM is not installed or does not answer.

    """
    listed = _ask_slurm("squeue", "--me", "--noheader", "--format", "|".join(_COLUMNS))
    rows = [line.split("|", len(_COLUMNS) - 1) for line in listed.splitlines()]
    return [Job(*row[:-1]) for row in rows if Path(row[-1]) == folder.resolve()]


def driver_in(folder: Path) -> bool:
    """Whether a Snakemake that submits jobs runs in a folder, on this machine."""
    import psutil

    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            command = process.cmdline()
            snakemake = any(Path(word).name == "snakemake" for word in command[:3])
            # Inside of a job Snakemake runs for that job alone.
            drives = snakemake and "--target-jobs" not in command
            if drives and Path(process.cwd()) == folder.resolve():
                return True
    return False


def _ask_slurm(*command: str) -> str:
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or str(error)
        raise UserError(
            f"SLURM does not answer: {said.strip()}",
            where=command[0],
            hint="run it on a login node",
        ) from None
    return result.stdout
