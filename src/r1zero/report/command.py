"""`r1zero report`: write the paper, the page, tables, figures, cards and the manifest."""

import importlib.metadata
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from rich.console import Console
from rich.table import Table

from r1zero.core.errors import UserError
from r1zero.core.files import atomic_path, read_json, sha256_file, write_json
from r1zero.core.provenance import provenance
from r1zero.core.validation import validate
from r1zero.report import browser, html, rendering
from r1zero.report.claim_tests import Configured
from r1zero.report.claims import Judged, judge
from r1zero.report.document import Contents
from r1zero.report.inputs import RunResults
from r1zero.report.load import load
from r1zero.report.measures import groups_of
from r1zero.report.model_cards import card, card_name
from r1zero.report.paper import contents
from r1zero.report.pdf import pdf
from r1zero.report.published import published_of
from r1zero.report.samples import completion_files
from r1zero.settings import Sources
from r1zero.settings.claims import load_claims
from r1zero.settings.load import CONFIG_FOLDER

# What draws and computes, beside the packages that every provenance has.
_PACKAGES = ("altair", "numpy", "polars", "scipy", "typst", "vl-convert-python")
# Folders that hold one file per table, figure or run: what is no longer made is deleted.
_FOLDERS = ("tables", "figures", "cards")


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
            help='The same as JSON: {"models": [], "evaluations": []}; with "sources", in place of '
            "sources.yaml, if the configuration has added to that."
        ),
    ] = None,
    config: Annotated[
        Path, typer.Option(help="Folder of claims.yaml, sources.yaml and the recipes.")
    ] = CONFIG_FOLDER,
    browser_mb: Annotated[
        float, typer.Option(help="Megabytes of completions in the page, compressed.", min=0)
    ] = 15,
) -> None:
    """Make the paper, the page, tables, figures and model cards from trained runs."""
    listed = _listed(inputs) if inputs else _Listed([], [])
    runs = load([*(models or []), *listed.models], [*(evaluations or []), *listed.evaluations])
    if inputs and listed.sources is not None:
        configured = Configured(config, listed.sources, inputs)
    else:
        configured = Configured.of(config)
    verdicts = judge(load_claims(config), runs, configured)
    groups = groups_of(runs)
    published = published_of(groups, config)
    read = list(
        dict.fromkeys(
            [
                *(path for result in runs for path in result.files),
                *completion_files(groups),
                *browser.files(runs),
                *(item.path for item in published.values()),
                config / "claims.yaml",
                configured.table,
                *(path for verdict in verdicts for path in verdict.files),
            ]
        )
    )
    paper = contents(runs, verdicts, published, read)
    outputs = render(paper, runs, configured.sources, browser_mb=browser_mb)
    write(out, read, {**outputs, "claims.json": _claims_json(verdicts)})
    _show(rendering.to_terminal(next(item for item in paper.tables if item.name == "main")))
    print(f"report: {out / 'report.pdf'}, {out / 'index.html'}")


def render(
    paper: Contents, runs: Sequence[RunResults], sources: Sources, *, browser_mb: float
) -> dict[str, bytes]:
    """Make the outputs of the report, by their paths in its folder."""
    svgs = {figure.name: rendering.to_svg(figure.chart) for figure in paper.figures}
    outputs = {
        "report.pdf": pdf(paper, svgs),
        "index.html": html.page(paper, runs, browser_mb=browser_mb),
    }
    for table in paper.tables:
        outputs[f"tables/{table.name}.csv"] = rendering.to_csv(table).encode()
        outputs[f"tables/{table.name}.md"] = rendering.to_markdown(table).encode()
        outputs[f"tables/{table.name}.tex"] = rendering.to_latex(table).encode()
    for name, svg in svgs.items():
        outputs[f"figures/{name}.svg"] = svg.encode()
        outputs[f"figures/{name}.pdf"] = rendering.svg_to_pdf(svg)
        outputs[f"figures/{name}.png"] = rendering.svg_to_png(svg)
    for result in runs:
        outputs[f"cards/{card_name(result)}/README.md"] = card(result, sources).encode()
    return outputs


def write(out: Path, read: Sequence[Path], outputs: Mapping[str, bytes]) -> None:
    """Write the outputs, and last the manifest that names them and what was read by sha256."""
    manifest_path = out / "report.json"
    manifest_path.unlink(missing_ok=True)
    _delete_old(out, outputs)
    for name, content in outputs.items():
        with atomic_path(out / name) as temporary:
            temporary.write_bytes(content)
    made = provenance()
    made["versions"] |= {name: importlib.metadata.version(name) for name in _PACKAGES}
    manifest = {
        "inputs": [_describe(path, path.as_posix()) for path in read],
        "outputs": [_describe(out / name, name) for name in outputs],
        "provenance": made,
    }
    write_json(manifest_path, manifest)


def _delete_old(out: Path, outputs: Mapping[str, bytes]) -> None:
    """Delete what an earlier report of other runs left in the folders."""
    kept = {out / name for name in outputs}
    for folder in _FOLDERS:
        for path in sorted((out / folder).rglob("*"), reverse=True):
            if path.is_file() and path not in kept:
                path.unlink()
            elif path.is_dir() and not any(path.iterdir()):
                path.rmdir()


def _show(table: Table) -> None:
    """Print a table at its own width: where the terminal is narrower, it wraps whole lines."""
    needed = Console(width=1000).measure(table).maximum
    Console(width=max(Console().width, needed)).print(table)


def _describe(path: Path, name: str) -> dict[str, Any]:
    return {"path": name, "bytes": path.stat().st_size, "sha256": sha256_file(path)}


def _claims_json(verdicts: Sequence[Judged]) -> bytes:
    """The verdicts as JSON, with the claims as they stand in the ledger."""
    content = [
        {
            **item.claim.model_dump(mode="json"),
            "verdict": item.verdict,
            "why": item.why,
            "interval": _interval(item),
            "unit": item.unit,
            "files": [path.as_posix() for path in item.files],
        }
        for item in verdicts
    ]
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()


def _interval(item: Judged) -> dict[str, float | None] | None:
    if item.interval is None:
        return None
    return {
        key: value if math.isfinite(value) else None for key, value in asdict(item.interval).items()
    }


class _Listed(NamedTuple):
    """What an `--inputs` file holds."""

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
