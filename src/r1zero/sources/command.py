"""`python -m r1zero sources`: fetch a dataset or model of the table, or verify all of them."""

import json
import shutil
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from r1zero.core.errors import UserError
from r1zero.core.files import describe_file, write_json, write_json_lines
from r1zero.core.formatting import size
from r1zero.core.locks import only_one
from r1zero.core.validation import read_yaml, validate
from r1zero.settings.endpoints import DEFAULT_ENDPOINTS, Endpoint
from r1zero.settings.sources import (
    HubDataset,
    HubModel,
    Local,
    LocalModel,
    Sources,
    Split,
)
from r1zero.settings.workflow import Config
from r1zero.sources.content import wrong_content
from r1zero.sources.download import Fetched, fetch
from r1zero.sources.lock import LOCK, Lock
from r1zero.sources.models import check_no_remote_code, check_weights_complete, link_model
from r1zero.sources.selection import taken
from r1zero.sources.verify import verify as verify_all
from r1zero.tasks.generators import Generated

app = typer.Typer(
    help="Fetch datasets and models, and verify their checksums.", no_args_is_help=True
)

Table = Annotated[Path, typer.Option(help="YAML table of datasets and models.")]
Out = Annotated[Path, typer.Option(help="Folder to write; its manifest.json is the output.")]
Own = Annotated[str, typer.Option(help="Entries that are laid over the table, as JSON.")]
LockFile = Annotated[Path, typer.Option(help="Lock file with the checksums of each source.")]
# Environment variables, not arguments of a rule: changing a mirror must not trigger reruns.
Endpoints = Annotated[
    str, typer.Option(envvar="R1ZERO_ENDPOINTS", help="Endpoints in order, as JSON.")
]
Offline = Annotated[bool, typer.Option(envvar="R1ZERO_OFFLINE", help="Use no network.")]

TABLE = Path("config/sources.yaml")


@app.command()
def dataset(
    name: Annotated[str, typer.Argument(help="Name of the dataset.")],
    out: Out,
    table: Table = TABLE,
    own: Own = "{}",
    lock: LockFile = LOCK,
    endpoints: Endpoints = "",
    offline: Offline = False,
) -> None:
    """Fetch, generate or copy the rows of one dataset."""
    source = _find(name, _sources(table, "datasets", own).datasets, table)
    revision = None
    if isinstance(source, HubDataset):
        fetched = _fetch("datasets", name, source, endpoints, offline, lock, out)
        splits, revision = _splits(source, fetched), fetched.revision
        files = _describe(fetched, out)
    else:
        splits = _draw(source, out) if isinstance(source, Generated) else _copy(source, out)
        paths = sorted({path for split in splits.values() for path in split.files})
        files = [describe_file(out / path, out) for path in paths]
    write_json(
        out / "manifest.json",
        {
            "kind": "dataset",
            "name": name,
            "task": source.task,
            "numbers": None if isinstance(source, Generated) else source.numbers,
            "splits": {split: value.model_dump(mode="json") for split, value in splits.items()},
            "source": source.model_dump(mode="json", exclude_none=True),
            "revision": revision,
            "files": files,
        },
    )


@app.command()
def model(
    name: Annotated[str, typer.Argument(help="Name of the model.")],
    out: Out,
    table: Table = TABLE,
    own: Own = "{}",
    lock: LockFile = LOCK,
    endpoints: Endpoints = "",
    offline: Offline = False,
) -> None:
    """Fetch one model, or link to a local one; only safetensors, never pickled weights."""
    source = _find(name, _sources(table, "models", own).models, table)
    revision = None
    if isinstance(source, LocalModel):
        check_weights_complete(source.path)
        files = [describe_file(path, out) for path in link_model(source.path, out)]
    else:
        fetched = _fetch("models", name, source, endpoints, offline, lock, out)
        files, revision = _describe(fetched, out), fetched.revision
    check_no_remote_code(out, source.allow if isinstance(source, HubModel) else [])
    write_json(
        out / "manifest.json",
        {
            "kind": "model",
            "name": name,
            "source": source.model_dump(mode="json", exclude_none=True),
            "revision": revision,
            "files": files,
        },
    )


@app.command()
def verify(
    root: Annotated[Path, typer.Option(help="Folder of the sources.")] = Path("resources"),
    lock: LockFile = LOCK,
) -> None:
    """Hash every file on disk, and compare it to its manifest and the lock."""
    errors = []
    for found in verify_all(root, Lock(lock)):
        source = f"{found.section}.{found.name}"
        typer.echo(f"{found.state:15} {source}: {found.files} files, {size(found.bytes)}")
        if found.error:
            typer.echo(f"{'':15} {found.error}")
            errors.append(source)
    if errors:
        raise UserError(f"sources with wrong files: {', '.join(errors)}", where=str(root))


def _sources(table: Path, section: str, own: str) -> Sources:
    """The table, with the user's entries of one section laid over it."""
    shipped = validate(read_yaml(table) or {}, Sources, str(table))
    mine = validate({section: _parse(own, "--own")}, Sources, "--own")
    entries = getattr(shipped, section) | getattr(mine, section)
    return shipped.model_copy(update={section: entries})


def _parse(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise UserError(f"not valid JSON: {error}", where=where) from None


Source = TypeVar("Source")


def _find(name: str, known: Mapping[str, Source], table: Path) -> Source:
    if name not in known:
        raise UserError(
            f"'{name}' is not in the table", where=str(table), hint=f"known: {', '.join(known)}"
        )
    return known[name]


def _fetch(
    section: str,
    name: str,
    source: HubDataset | HubModel,
    endpoints: str,
    offline: bool,
    lock: Path,
    out: Path,
) -> Fetched:
    tried: list[Endpoint] = DEFAULT_ENDPOINTS
    if endpoints:
        where = "--endpoints or R1ZERO_ENDPOINTS"
        tried = validate({"endpoints": _parse(endpoints, where)}, Config, where).endpoints
    with only_one(out):
        return fetch(
            section, name, source, endpoints=tried, offline=offline, lock=Lock(lock), out=out
        )


def _describe(fetched: Fetched, out: Path) -> list[dict[str, Any]]:
    """Manifest entries of fetched files, as `describe_file` writes them; hashes nothing again."""
    return [
        {"path": path, "bytes": (out / path).stat().st_size, "sha256": file.sha256}
        for path, file in sorted(fetched.files.items())
    ]


def _splits(source: HubDataset, fetched: Fetched) -> dict[str, Split]:
    """The splits with the files that match their patterns, in order."""

    def expand(split: Split) -> list[str]:
        found = (taken(sorted(fetched.files), [pattern]) for pattern in split.files)
        return list(
            dict.fromkeys(chain.from_iterable(found))
        )  # each file once, even if patterns overlap

    return {
        name: split.model_copy(update={"files": expand(split)})
        for name, split in source.splits.items()
    }


def _draw(source: Generated, out: Path) -> dict[str, Split]:
    test = source.draw(source.test, seed=source.seed)
    train = source.draw(source.train, seed=source.seed + 1, exclude={row.key for row in test})
    for split, rows in (("train", train), ("test", test)):
        write_json_lines(out / f"{split}.jsonl", (row._asdict() for row in rows))
    return {split: Split(files=[f"{split}.jsonl"]) for split in ("train", "test")}


def _copy(source: Local, out: Path) -> dict[str, Split]:
    """Copy a local dataset, so that the rows of a training stay on record."""
    out.mkdir(parents=True, exist_ok=True)
    splits: dict[str, Split] = {}
    for split, path in (("train", source.train), ("test", source.test)):
        if path is None:
            continue
        if not path.is_file():
            raise UserError("no such file", where=str(path))
        if problem := wrong_content(path, path.name):
            raise UserError(problem, where=str(path))
        name = split + "".join(path.suffixes[-2:] if path.suffix == ".gz" else [path.suffix])
        shutil.copyfile(path, out / name)
        splits[split] = Split(files=[name])
    return splits
