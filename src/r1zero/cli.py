"""`python -m r1zero <stage>`: one subcommand per stage, each with its own module of commands.

Commands import heavy packages (torch, transformers) when they run, so that the help and the light
stages start at once.
"""

import os
import sys

import typer

from r1zero.core.errors import UserError, redact
from r1zero.data.command import app as data
from r1zero.docs.command import schema
from r1zero.doctor.command import doctor
from r1zero.evaluate.command import evaluate
from r1zero.evaluate.released import released
from r1zero.plan.command import layout, plan, resolve
from r1zero.pretrain.command import pretrain
from r1zero.reference.command import reference
from r1zero.report.command import compare_released, report
from r1zero.rewards.command import app as grade
from r1zero.sources.command import app as sources
from r1zero.train.command import environment, train
from r1zero.train.preflight import preflight
from r1zero.watch.command import watch
from r1zero.watch.jobs import jobs

app = typer.Typer(
    name="r1zero",
    help="Run one stage of an R1-Zero replication. `snakemake` runs all stages in order.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(sources, name="sources")
app.add_typer(data, name="data")
app.command()(doctor)
app.command()(pretrain)
app.command()(plan)
app.command()(resolve)
app.command()(layout)
app.command()(environment)
app.command()(preflight)
app.command()(train)
app.command()(reference)
app.command()(evaluate)
app.command()(released)
app.command()(report)
app.command()(compare_released)
app.command()(watch)
app.command()(jobs)
app.add_typer(grade, name="grade")
app.command()(schema)


def main() -> None:
    """Run the command line. An error for the user is one line on standard error, with status 2."""
    # Idle OpenMP threads spin for milliseconds by default. Beside another busy process that slows
    # training down many times; a short spin costs little on a quiet machine. torch reads this when
    # it is loaded.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    try:
        app()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:  # a full disk, a file without permission
        where = f"{error.filename}: " if error.filename is not None else ""
        print(f"error: {where}{error.strerror or redact(str(error))}", file=sys.stderr)
        sys.exit(2)
