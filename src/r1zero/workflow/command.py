"""`python -m r1zero claims`: what the target `claims` would train, and how long that takes."""

from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
import yaml

from r1zero.core.formatting import duration
from r1zero.settings.load import CONFIG_FOLDER
from r1zero.workflow.costs import Costs
from r1zero.workflow.workflow import Workflow


class _Row(NamedTuple):
    claim: str
    runs: str
    time: str


def claims(
    scale: Annotated[str | None, typer.Option(help="Scale; default: the configured one.")] = None,
    configfile: Annotated[
        list[Path] | None, typer.Option(help="Your configuration, as for Snakemake; repeatable.")
    ] = None,
    config: Annotated[Path, typer.Option(help="Folder of the configuration.")] = CONFIG_FOLDER,
) -> None:
    """Show which runs each claim needs at a scale, and how long they take."""
    values: dict[str, Any] = {}
    for path in (config / "config.yaml", *(configfile or [])):
        values |= yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    flow = Workflow(values | ({"scale": scale} if scale else {}), config)
    wanted, costs = flow.runs.claims, Costs(flow)
    rows = [_Row("claim", "runs", "time")]
    for claim in wanted.ledger:
        runs = [each for run in wanted.of(claim) for each in flow.runs.on_bases(run)]
        if runs:
            names = ", ".join(dict.fromkeys(run.recipe for run in runs))
            seeds = ", ".join(map(str, sorted({run.seed for run in runs})))
            seconds = costs.of_runs(runs, many_samples=claim.needs.samples > 1)
            rows.append(_Row(claim.id, f"{names}; seeds {seeds}", _shown(seconds)))
        elif flow.config.scale not in claim.scales:
            rows.append(_Row(claim.id, "not at this scale", "–"))
        elif claim.plans:
            rows.append(_Row(claim.id, "none: decided by a plan", "–"))
        else:
            rows.append(_Row(claim.id, f"none; it takes {claim.takes}", "–"))
    every = flow.runs.of_claims()
    seconds = costs.of_runs(every, many_samples=True)
    total = f"{len(every)} runs, {costs.measured} of them measured"
    rows.append(_Row("all", f"{total}, and bases; on {costs.cores} cores", _shown(seconds)))
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    for row in rows:
        typer.echo(f"{row.claim:<{widths[0]}}  {row.runs:<{widths[1]}}  {row.time}".rstrip())


def _shown(seconds: float | None) -> str:
    return "not known" if seconds is None else duration(seconds)
