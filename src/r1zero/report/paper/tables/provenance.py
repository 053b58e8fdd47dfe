"""Tables of the appendix: where the numbers come from."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from r1zero.core.files import sha256_file
from r1zero.report.paper.document import Table
from r1zero.report.paper.text import hardware, short, versions
from r1zero.report.results.inputs import Evaluation, Model, Run, RunResults


def provenance_table(runs: Sequence[RunResults], names: dict[Run, str]) -> Table:
    """One row per run: hashes of its settings, data and models, and its commit."""
    rows, data = [], []
    tracked = any(result.model.trackers for result in runs)
    for result in runs:
        model = result.model
        last = model.checkpoints[-1] if model.checkpoints else None
        last_sha256 = last.sha256 if last else ""
        trackers = "; ".join(
            f"{item.name}: {item.url or item.folder or item.mode}" for item in model.trackers
        )
        rows.append(
            {
                "recipe": names[result.run],
                "seed": str(result.run.seed),
                "settings": short(model.config_hash),
                "data": short(model.data_hash),
                "base model": short(model.base_model.sha256),
                "trained model": short(last_sha256),
                "commit": _commit(model.provenance.commit),
                **({"trackers": trackers or "–"} if tracked else {}),
            }
        )
        data.append(
            {
                **result.run.setup,
                "seed": result.run.seed,
                "config_hash": model.config_hash,
                "data_hash": model.data_hash,
                "base_model": model.base_model.name,
                "base_sha256": model.base_model.sha256,
                "last_step": last.step if last else 0,
                "last_sha256": last_sha256,
                "commit": model.provenance.commit,
                "trackers": trackers,
            }
        )
    return Table.of(
        "provenance",
        "Runs",
        "Hashes of settings, training data and weights, shortened, and the commit that trained.",
        rows,
        data,
        numeric=("seed",),
        files=(result.model.source for result in runs),
    )


def environments_table(runs: Sequence[RunResults]) -> Table:
    """One row per environment that made results: packages and machine."""
    found: dict[tuple[str, str, str], list[Path]] = {}
    for result in runs:
        evaluations = (item for suite in result.suites for item in suite.evaluations)
        items: Iterable[Model | Evaluation] = (result.model, *evaluations)
        for item in items:
            made = item.provenance
            what = "training" if item is result.model else "evaluation"
            key = what, hardware(made.hardware), versions(made)
            found.setdefault(key, []).append(item.source)
    return Table.of(
        "environments",
        "Machines and packages",
        "Every distinct environment that made a result, and how many files it made.",
        [
            {"what": what, "files": str(len(sources)), "machine": machine, "packages": packages}
            for (what, machine, packages), sources in found.items()
        ],
        [
            {"what": what, "hardware": machine, "versions": packages, "files": len(sources)}
            for (what, machine, packages), sources in found.items()
        ],
        numeric=("files",),
        files=(path for sources in found.values() for path in sources),
    )


def files_table(files: Sequence[Path]) -> Table:
    """One row per file that a number of the report comes from."""
    data = [described(path, path.as_posix()) for path in files]
    return Table.of(
        "files",
        "Files",
        "Every file that this report read, with the start of its SHA-256.",
        [
            {"file": row["path"], "bytes": f"{row['bytes']:,}", "sha256": short(row["sha256"])}
            for row in data
        ],
        data,
        numeric=("bytes",),
        files=files,
    )


def described(path: Path, name: str) -> dict[str, Any]:
    """Name, size and checksum of a file that was read or written."""
    return {"path": name, "bytes": path.stat().st_size, "sha256": sha256_file(path)}


def _commit(commit: str) -> str:
    dirty = "-dirty" if commit.endswith("-dirty") else ""
    return short(commit.removesuffix("-dirty")) + dirty
