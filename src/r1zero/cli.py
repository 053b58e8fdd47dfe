"""`python -m r1zero <stage>`: one subcommand per stage, each with its own module of commands.

Stages import heavy packages (torch, transformers) inside the command that needs them, so that the
help and the light stages answer at once.
"""

import sys

import typer

from r1zero.errors import UserError
from r1zero.rewards.command import app as grade

app = typer.Typer(
    name="r1zero",
    help="R1-Zero replication, one stage at a time. `snakemake` runs them all in order.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(grade, name="grade")


def main() -> None:
    """Run the command line; a `UserError` becomes one line on standard error and status 2."""
    try:
        app()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
