"""`r1zero report`: write tables, figures, the page and the manifest of a report."""

import importlib.metadata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer
from rich.console import Console
from rich.table import Table

from r1zero.errors import UserError
from r1zero.files import atomic_path, read_json, sha256_file, write_json
from r1zero.provenance import provenance
from r1zero.report import figures, page, tables
from r1zero.report.inputs import RunResults
from r1zero.report.load import load

# What draws and computes, beside the packages that every provenance has.
_PACKAGES = ("altair", "numpy", "polars", "scipy", "vl-convert-python")


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
        Path | None, typer.Option(help='The same as JSON: {"models": [], "evaluations": []}.')
    ] = None,
) -> None:
    """Make tables, figures and a page from trained runs and their evaluations."""
    listed = _listed(inputs) if inputs else {"models": [], "evaluations": []}
    runs = load(
        [*(models or []), *listed["models"]], [*(evaluations or []), *listed["evaluations"]]
    )
    table = tables.main_table(runs)
    write(out, runs, render(runs, table))
    _show(tables.to_terminal(table))
    print(f"report: {out / 'index.md'}")


def render(runs: Sequence[RunResults], table: pl.DataFrame) -> dict[str, bytes]:
    """Make every output of the report, by its path in the folder of the report."""
    learning_curve, training = figures.learning_curve(runs), figures.training(runs)
    return {
        "tables/main.csv": tables.to_csv(table).encode(),
        "tables/main.md": tables.to_markdown(table).encode(),
        "tables/main.tex": tables.to_latex(table).encode(),
        "figures/learning_curve.svg": figures.to_svg(learning_curve).encode(),
        "figures/learning_curve.png": figures.to_png(learning_curve),
        "figures/training.svg": figures.to_svg(training).encode(),
        "figures/training.png": figures.to_png(training),
        "index.md": page.index(runs, table).encode(),
    }


def write(out: Path, runs: Sequence[RunResults], outputs: Mapping[str, bytes]) -> None:
    """Write the outputs, and last the manifest that names them and the inputs by sha256."""
    for name, content in outputs.items():
        with atomic_path(out / name) as temporary:
            temporary.write_bytes(content)
    made = provenance()
    made["versions"] |= {name: importlib.metadata.version(name) for name in _PACKAGES}
    sources = [path for result in runs for path in result.files] + page.completion_files(runs)
    manifest = {
        "inputs": [_describe(path, path.as_posix()) for path in sources],
        "outputs": [_describe(out / name, name) for name in outputs],
        "provenance": made,
    }
    write_json(out / "report.json", manifest)


def _show(table: Table) -> None:
    """Print a table at its own width: where the terminal is narrower, it wraps whole lines."""
    needed = Console(width=1000).measure(table).maximum
    Console(width=max(Console().width, needed)).print(table)


def _describe(path: Path, name: str) -> dict[str, Any]:
    return {"path": name, "bytes": path.stat().st_size, "sha256": sha256_file(path)}


def _listed(path: Path) -> dict[str, list[Path]]:
    """Read the paths of an `--inputs` file."""
    content = read_json(path)
    try:
        return {key: [Path(item) for item in content[key]] for key in ("models", "evaluations")}
    except (KeyError, TypeError):
        message = 'not of the form {"models": [paths], "evaluations": [paths]}'
        raise UserError(message, where=str(path)) from None
