"""Tables of the appendix: where the numbers come from."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from r1zero.core.files import sha256_file
from r1zero.report.paper.document import Table
from r1zero.report.paper.text import hardware, short
from r1zero.report.results.inputs import Run, RunResults


def provenance_table(runs: Sequence[RunResults], names: dict[Run, str]) -> Table:
    """One row per run: hashes of its settings, data and models, and its commit."""
    data = [
        {
            "recipe": result.run.recipe,
            "backend": result.run.backend,
            "seed": result.run.seed,
            "config_hash": result.model.config_hash,
            "data_hash": result.model.data_hash,
            "base_model": result.model.base_model.name,
            "base_sha256": result.model.base_model.sha256,
            "last_step": result.model.checkpoints[-1].step if result.model.checkpoints else 0,
            "last_sha256": result.model.checkpoints[-1].sha256 if result.model.checkpoints else "",
            "commit": result.model.provenance.commit,
            "trackers": "; ".join(
                f"{item.name}: {item.url or item.folder or item.mode}"
                for item in result.model.trackers
            ),
        }
        for result in runs
    ]
    hashes = ("config_hash", "data_hash", "base_sha256", "last_sha256")
    tracked = any(row["trackers"] for row in data)
    return Table(
        name="provenance",
        title="Runs",
        caption=(
            "Hashes of settings, training data and weights, shortened, and the commit that trained."
        ),
        data=pl.DataFrame(data),
        headings=(
            *("recipe", "seed", "settings", "data", "base model", "trained model", "commit"),
            *(("trackers",) if tracked else ()),
        ),
        rows=tuple(
            (
                names[result.run],
                str(result.run.seed),
                *(short(str(row[key])) for key in hashes),
                _commit(str(row["commit"])),
                *((str(row["trackers"]) or "–",) if tracked else ()),
            )
            for result, row in zip(runs, data, strict=True)
        ),
        numeric=frozenset({1}),
        files=tuple(result.model.source for result in runs),
    )


def environments_table(runs: Sequence[RunResults]) -> Table:
    """One row per environment that made results: packages and machine."""
    found: dict[tuple[str, str, str], list[Path]] = {}
    for result in runs:
        items = [(result.model.source, "training", result.model.provenance)]
        items += [
            (item.source, "evaluation", item.provenance)
            for suite in result.suites
            for item in suite.evaluations
        ]
        for source, what, made in items:
            versions = ", ".join(f"{name} {made.versions[name]}" for name in sorted(made.versions))
            found.setdefault((what, hardware(made.hardware), versions), []).append(source)
    return Table(
        name="environments",
        title="Machines and packages",
        caption="Every distinct environment that made a result, and how many files it made.",
        data=pl.DataFrame(
            [
                {"what": what, "hardware": machine, "versions": versions, "files": len(sources)}
                for (what, machine, versions), sources in found.items()
            ]
        ),
        headings=("what", "files", "machine", "packages"),
        rows=tuple(
            (what, str(len(sources)), machine, versions)
            for (what, machine, versions), sources in found.items()
        ),
        numeric=frozenset({1}),
        files=tuple(path for sources in found.values() for path in sources),
    )


def files_table(files: Sequence[Path]) -> Table:
    """One row per file that a number of the report comes from."""
    data = [
        {"path": path.as_posix(), "bytes": path.stat().st_size, "sha256": sha256_file(path)}
        for path in files
    ]
    return Table(
        name="files",
        title="Files",
        caption="Every file that this report read, with the start of its SHA-256.",
        data=pl.DataFrame(data),
        headings=("file", "bytes", "sha256"),
        rows=tuple(
            (str(row["path"]), f"{row['bytes']:,}", short(str(row["sha256"]))) for row in data
        ),
        numeric=frozenset({1}),
        files=tuple(files),
    )


def _commit(commit: str) -> str:
    dirty = "-dirty" if commit.endswith("-dirty") else ""
    return short(commit.removesuffix("-dirty")) + dirty
