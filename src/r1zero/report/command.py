"""`python -m r1zero report`: the command line of the report."""

from pathlib import Path
from typing import Annotated

import typer

from r1zero.core.files import read_json, write_text
from r1zero.core.section import Section
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

    listed = validate(read_json(inputs), _Inputs, str(inputs)) if inputs else _Inputs()
    configured = Configured.of(config)
    if inputs and listed.sources is not None:
        configured = Configured(config, listed.sources, inputs)
    make_report(
        out,
        [*(models or []), *listed.models],
        [*(evaluations or []), *listed.evaluations],
        configured,
        browser_mb=browser_mb,
        released=(listed.released.models, listed.released.evaluations),
    )


def compare_released(
    models: Annotated[
        list[Path], typer.Option("--model", help="model.json of a released model; repeatable.")
    ],
    evaluations: Annotated[
        list[Path], typer.Option("--evaluation", help="One of their evaluations; repeatable.")
    ],
    out: Annotated[Path, typer.Option(help="Folder of released.csv and released.md.")],
    config: Annotated[Path, typer.Option(help="Folder of the recipes.")] = CONFIG_FOLDER,
) -> None:
    """Put the scores of released models beside those that were published, without any run."""
    from r1zero.report.paper import rendering
    from r1zero.report.paper.tables.published import released_table
    from r1zero.report.results.load import load_released

    table = released_table(load_released(models, evaluations), config)
    assert table is not None  # each evaluation has a row
    write_text(out / "released.csv", rendering.to_csv(table))
    write_text(out / "released.md", rendering.to_markdown(table))
    print(rendering.to_text(table), end="")


class _Released(Section):
    """Files of the released models."""

    models: tuple[Path, ...] = ()
    evaluations: tuple[Path, ...] = ()


class _Inputs(Section):
    """Contents of an `--inputs` file."""

    models: tuple[Path, ...] = ()
    evaluations: tuple[Path, ...] = ()
    sources: Sources | None = None
    released: _Released = _Released()
