"""A configuration so small that every stage runs in seconds, and a way to run stages in process."""

from pathlib import Path

from typer.testing import CliRunner

from r1zero.cli import app

REPOSITORY = Path(__file__).resolve().parents[1]
CONFIG = REPOSITORY / "config"


def stage(*arguments: object) -> str:
    """Run one stage as the command line does and return its output; errors are raised."""
    result = CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output
