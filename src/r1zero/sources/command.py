"""`python -m r1zero sources`: put one dataset or model of the table on disk."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from r1zero.errors import UserError
from r1zero.files import atomic_directory, describe_file, write_json, write_json_lines
from r1zero.settings.load import read_yaml, validate
from r1zero.settings.sources import Generated, Local, Sources
from r1zero.sources.models import fetch_model, model_files
from r1zero.tasks.countdown.rows import generate, read

app = typer.Typer(help="Datasets and models, with checksums.", no_args_is_help=True)

Table = Annotated[Path, typer.Option(help="YAML table of datasets and models.")]
Out = Annotated[Path, typer.Option(help="Folder to write; its manifest.json is the output.")]
Own = Annotated[str, typer.Option(help="Entries that replace or join the table's, as JSON.")]


@app.command()
def dataset(
    name: Annotated[str, typer.Argument(help="Name of the dataset.")],
    table: Table,
    out: Out,
    own: Own = "{}",
) -> None:
    """Draw or copy the rows of one dataset."""
    source = _find(name, _sources(table, "datasets", own).datasets, table)
    with atomic_directory(out) as folder:
        if isinstance(source, Generated):
            _generate(source, folder)
        else:
            _copy(source, folder)
        write_json(
            folder / "manifest.json",
            {
                "kind": "dataset",
                "name": name,
                "source": source.model_dump(mode="json", exclude_none=True),
                "files": {
                    split: describe_file(folder / f"{split}.jsonl", folder)
                    for split in ("train", "test")
                },
            },
        )


@app.command()
def model(
    name: Annotated[str, typer.Argument(help="Name of the model.")],
    table: Table,
    out: Out,
    own: Own = "{}",
) -> None:
    """Download one model, or link to a local one; only safetensors, never pickled weights."""
    source = _find(name, _sources(table, "models", own).models, table)
    revision = fetch_model(source, out)
    write_json(
        out / "manifest.json",
        {
            "kind": "model",
            "name": name,
            "source": source.model_dump(mode="json"),
            "revision": revision,
            "files": [describe_file(path, out) for path in model_files(out)],
        },
    )


def _sources(table: Path, section: str, own: str) -> Sources:
    """The table, with the user's own entries of one section in it."""
    values = read_yaml(table)
    entries = (values.get(section) or {}) | json.loads(own)
    return validate({**values, section: entries}, Sources, str(table))


Source = TypeVar("Source")


def _find(name: str, known: Mapping[str, Source], table: Path) -> Source:
    if name not in known:
        raise UserError(
            f"'{name}' is not in the table", where=str(table), hint=f"there are: {', '.join(known)}"
        )
    return known[name]


def _generate(source: Generated, folder: Path) -> None:
    test = generate(source.test, numbers=source.numbers, seed=source.seed)
    train = generate(
        source.train,
        numbers=source.numbers,
        seed=source.seed + 1,
        exclude={row.key for row in test},
    )
    for split, rows in (("train", train), ("test", test)):
        write_json_lines(folder / f"{split}.jsonl", (row._asdict() for row in rows))


def _copy(source: Local, folder: Path) -> None:
    """Copy a local dataset, so that what trained is on record whatever becomes of the original."""
    for split, path in (("train", source.train), ("test", source.test)):
        rows = read(path, source.numbers)  # also checks every line
        if source.numbers is None:
            shutil.copyfile(path, folder / f"{split}.jsonl")
        else:
            write_json_lines(folder / f"{split}.jsonl", (row._asdict() for row in rows))
