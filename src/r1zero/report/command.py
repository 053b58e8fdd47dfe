"""`python -m r1zero report`: the command line of the report."""

from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from r1zero.core.errors import UserError
from r1zero.core.files import read_json
from r1zero.core.validation import validate
from r1zero.settings import Sources
from r1zero.settings.load import CONFIG_FOLDER


def report(
    out: Annotated[Path, typer.Option(help="Folder of the report.")],
    models: Annotated[
        list[Path] | None, typer.Option("--model", help="model.json of a run; repeat for each.")
    ] = None,
    evaluations: Annotated[
        list[Path] | None,
        typer.Option("--evaluation", help="An evaluation; repeat for each run, suite and step."),
    ] = None,
    inputs: Annotated[
        Path | None,
        typer.Option(
            help='The same lists as JSON: {"models": [], "evaluations": []}. With "sources", its '
            "entries are used in place of sources.yaml."
        ),
    ] = None,
    config: Annotated[
        Path, typer.Option(help="Folder of sources.yaml and the recipes.")
    ] = CONFIG_FOLDER,
    browser_mb: Annotated[
        float, typer.Option(help="Megabytes of completions in the page, compressed.", min=0)
    ] = 15,
) -> None:
    """Make the paper, the page, tables, figures and model cards from trained runs."""
    # altair and scipy take seconds to import, which every other command would pay for.
    from r1zero.report.claims.base import Configured
    from r1zero.report.output import make_report

    listed = _listed(inputs) if inputs else _Listed([], [])
    if inputs and listed.sources is not None:
        configured = Configured(config, listed.sources, inputs)
    else:
        configured = Configured.of(config)
    make_report(
        out,
        [*(models or []), *listed.models],
        [*(evaluations or []), *listed.evaluations],
        configured,
        browser_mb=browser_mb,
    )


class _Listed(NamedTuple):
    """Contents of an `--inputs` file."""

    models: list[Path]
    evaluations: list[Path]
    sources: Sources | None = None


def _listed(path: Path) -> _Listed:
    content = read_json(path)
    try:
        models, evaluations = (
            [Path(item) for item in content[key]] for key in ("models", "evaluations")
        )
        sources = content.get("sources")
    except (KeyError, TypeError, AttributeError):
        message = 'not of the form {"models": [paths], "evaluations": [paths]}'
        raise UserError(message, where=str(path)) from None
    checked = None if sources is None else validate(sources, Sources, f"{path}: sources")
    return _Listed(models, evaluations, checked)
