"""`python -m r1zero sources`: put one dataset of the table on disk."""

import json
import shutil
from pathlib import Path
from typing import Annotated

import typer

from r1zero.errors import UserError
from r1zero.files import atomic_directory, describe_file, write_json, write_json_lines
from r1zero.settings.load import read_yaml, validate
from r1zero.settings.sources import Generated, Local, Sources
from r1zero.tasks.countdown.rows import generate, read


def sources(
    name: Annotated[str, typer.Argument(help="Name of the dataset.")],
    table: Annotated[Path, typer.Option(help="YAML table of datasets (`datasets: {name: …}`).")],
    out: Annotated[Path, typer.Option(help="Folder to write; its manifest.json is the output.")],
    own: Annotated[str, typer.Option(help="Datasets that replace or join the table, as JSON.")] = (
        "{}"
    ),
) -> None:
    """Draw or copy the rows of one dataset, with a manifest of checksums."""
    datasets = validate(read_yaml(table), Sources, str(table)).datasets
    datasets |= validate({"datasets": json.loads(own)}, Sources, "datasets").datasets
    if name not in datasets:
        raise UserError(
            f"unknown dataset '{name}'", where=str(table), hint=f"there are: {', '.join(datasets)}"
        )
    source = datasets[name]
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
