"""All files of a report, and the manifest that names them and what was read."""

import importlib.metadata
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from r1zero.core.files import atomic_path, write_json
from r1zero.core.provenance import provenance
from r1zero.report.claims.base import Configured
from r1zero.report.claims.literature import CLAIMS
from r1zero.report.claims.verdicts import Judged, judge
from r1zero.report.model_cards import card, card_name
from r1zero.report.page import browser, html
from r1zero.report.paper import rendering
from r1zero.report.paper.document import Contents
from r1zero.report.paper.pdf import pdf
from r1zero.report.paper.samples import completion_files
from r1zero.report.paper.sections import contents
from r1zero.report.paper.tables.provenance import described
from r1zero.report.paper.tables.published import released_table
from r1zero.report.results.inputs import RunResults
from r1zero.report.results.load import load, load_released
from r1zero.report.results.published import published_of
from r1zero.report.statistics.measures import groups_of
from r1zero.settings import Sources

# Packages that draw and compute, in addition to those that every provenance has.
_PACKAGES = ("altair", "numpy", "polars", "scipy", "typst", "vl-convert-python")
# Folders with one file per table, figure or run: files of an earlier report are deleted.
_FOLDERS = ("tables", "figures", "cards")


def make_report(
    out: Path,
    models: Sequence[Path],
    evaluations: Sequence[Path],
    configured: Configured,
    *,
    browser_mb: float,
    released: tuple[Sequence[Path], Sequence[Path]] = ((), ()),
) -> None:
    """Judge the claims on all runs, write every file of the report, and print the main table.

    Args:
        out: Folder of the report.
        models: `model.json` of each run.
        evaluations: Evaluations of the runs, by suite and step.
        configured: Recipes and sources.
        browser_mb: Largest size of the completions in the page in 10^6 bytes, gzipped.
        released: `model.json` of each released model, and their evaluations.

    """
    runs = load(models, evaluations)
    verdicts = judge(CLAIMS, runs, configured)
    groups = groups_of(runs)
    published = published_of((group.run.recipe for group in groups), configured.folder)
    beside = released_table(load_released(*released, runs), configured.folder)
    read = list(
        dict.fromkeys(
            [
                *(path for result in runs for path in result.files),
                *completion_files(groups),
                *browser.files(runs),
                *(item.path for item in published.values()),
                *(beside.files if beside else ()),
                configured.table,
                *(path for verdict in verdicts for path in verdict.files),
            ]
        )
    )
    paper = contents(runs, verdicts, published, read, beside)
    outputs = render(paper, runs, configured.sources, browser_mb=browser_mb)
    write(out, read, {**outputs, "claims.json": _claims_json(verdicts)})
    print(rendering.to_text(next(item for item in paper.tables if item.name == "main")), end="")
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
    """Write the outputs and then the manifest: what was read and written, with its SHA-256."""
    manifest_path = out / "report.json"
    manifest_path.unlink(missing_ok=True)
    _delete_old(out, outputs)
    for name, content in outputs.items():
        with atomic_path(out / name) as temporary:
            temporary.write_bytes(content)
    made = provenance()
    made["versions"] |= {name: importlib.metadata.version(name) for name in _PACKAGES}
    manifest = {
        "inputs": [described(path, path.as_posix()) for path in read],
        "outputs": [described(out / name, name) for name in outputs],
        "provenance": made,
    }
    write_json(manifest_path, manifest)


def _delete_old(out: Path, outputs: Mapping[str, bytes]) -> None:
    """Delete files that an earlier report left in the folders."""
    kept = {out / name for name in outputs}
    for folder in _FOLDERS:
        for path in sorted((out / folder).rglob("*"), reverse=True):
            if path.is_file() and path not in kept:
                path.unlink()
            elif path.is_dir() and not any(path.iterdir()):
                path.rmdir()


def _claims_json(verdicts: Sequence[Judged]) -> bytes:
    """The claims with their verdicts as JSON; limits that do not exist are null."""
    content = [
        {
            "id": item.claim.id,
            "statement": item.claim.statement,
            "source": item.claim.source,
            "scales": item.claim.scales,
            "needs": asdict(item.claim.needs),
            "takes": item.claim.takes,
            "parameters": item.claim.parameters,
            "verdict": item.verdict,
            "why": item.why,
            "interval": item.interval
            and {k: v if math.isfinite(v) else None for k, v in asdict(item.interval).items()},
            "unit": item.unit,
            "runs": [str(run.run) for group in item.setups for run in group.runs],
            "would_settle": item.settles and asdict(item.settles),
            "files": [path.as_posix() for path in item.files],
        }
        for item in verdicts
    ]
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()
