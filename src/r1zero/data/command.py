"""`python -m r1zero data`: from a dataset to audited rows, and from rows to problems."""

from pathlib import Path
from typing import Annotated

import polars as pl
import typer

from r1zero.core.errors import UserError
from r1zero.core.files import describe_file, verify_file, write_json
from r1zero.data.audit import audit, describe, distinct, reasons
from r1zero.data.files import read_manifest, write_table
from r1zero.data.problems import check_fields, render
from r1zero.data.rows import read_split
from r1zero.tasks.base import Task
from r1zero.tasks.prompts import load_prompt
from r1zero.tasks.registry import find_task

app = typer.Typer(help="Audited rows, and problems with prompts.", no_args_is_help=True)

SPLITS = ("train", "test")
Out = Annotated[Path, typer.Option(help="Folder to write; its manifest.json is the output.")]


@app.command()
def rows(
    source: Annotated[Path, typer.Argument(help="Manifest of the dataset.")],
    out: Out,
    held_out: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=DATASET",
            help="Manifest of a dataset whose test problems are held out of training, in addition "
            "to this dataset's; repeatable.",
        ),
    ] = None,
) -> None:
    """Normalise rows, keep one of each problem, and remove held-out problems from train."""
    dataset = read_manifest(source, "dataset")
    task = find_task(dataset["task"])
    raw = {s: read_split(dataset, s, source) for s in SPLITS if s in dataset["splits"]}
    # Without a training split there is nothing that problems could be removed from.
    suites = _suites(held_out or [], task) if "train" in raw else {}
    kept, counts = audit(raw, task, suites, dataset["numbers"])
    for split, frame in kept.items():
        if frame.is_empty():
            raise UserError(_nothing_left(split, counts["left_out"][split]), where=str(source))
    found = {"dataset": dataset["name"], "task": task.name, **counts}
    tables = dict(kept)
    if "train" in kept:
        tables["held_out"] = _together(kept, suites)
    for name, table in tables.items():
        write_table(out / f"{name}.parquet", table)
    write_json(out / "audit.json", found)
    paths = {**{name: out / f"{name}.parquet" for name in tables}, "audit": out / "audit.json"}
    write_json(
        out / "manifest.json",
        {
            "kind": "rows",
            "dataset": dataset["name"],
            "task": task.name,
            **_numbers(kept, task),
            "rows": found["rows_out"],
            "files": {name: describe_file(path, out) for name, path in paths.items()},
        },
    )
    typer.echo(describe(found))


@app.command()
def problems(
    source: Annotated[Path, typer.Argument(help="Manifest of the rows.")],
    prompt: Annotated[str, typer.Option(help="Prompt template.")],
    out: Out,
) -> None:
    """Render the prompt of every row."""
    manifest = read_manifest(source, "rows")
    fields = find_task(manifest["task"]).fields
    template = load_prompt(prompt).text
    check_fields(prompt, template, fields)
    tables = {
        split: pl.read_parquet(verify_file(manifest["files"][split], source.parent))
        for split in manifest["rows"]
    }
    paths = {split: out / "problems" / f"{split}.parquet" for split in tables}
    for split, table in tables.items():
        write_table(paths[split], render(table, template, fields))
    write_json(
        out / "manifest.json",
        {
            "kind": "problems",
            "task": manifest["task"],
            "dataset": manifest["dataset"],
            "prompt": prompt,
            "rows": manifest["rows"],
            "files": {split: describe_file(path, out) for split, path in paths.items()},
        },
    )


def _suites(options: list[str], task: Task) -> dict[str, pl.DataFrame]:
    """Test problems by the name of each `--held-out NAME=DATASET`.

    They are read from datasets, not from audited rows: two datasets may hold out each other.
    """
    suites: dict[str, pl.DataFrame] = {}
    for option in options:
        name, _, path = option.partition("=")
        if not (name and path):
            raise UserError(f"'{option}' is not NAME=DATASET", where="--held-out")
        if name == "test" or name in suites:
            raise UserError(f"the name '{name}' is taken", where="--held-out")
        dataset = read_manifest(Path(path), "dataset")
        other = find_task(dataset["task"])
        if other.fields != task.fields:
            raise UserError(
                f"problems of {other.name} cannot be compared with those of {task.name}",
                where=f"--held-out {name}",
            )
        if "test" not in dataset["splits"]:
            raise UserError("has no test rows to hold out", where=path)
        test = read_split(dataset, "test", Path(path))
        suites[name], _ = distinct(test, other, dataset["numbers"])
    return suites


def _together(kept: dict[str, pl.DataFrame], suites: dict[str, pl.DataFrame]) -> pl.DataFrame:
    """Every held-out problem once, with the columns of the training rows."""
    train = kept["train"]
    # Suites may be of another task with the same prompt fields; missing columns become null.
    frames = [train.clear(), *(kept[s] for s in kept if s == "test"), *suites.values()]
    held_out = pl.concat(frames, how="diagonal").select(train.columns)
    return held_out.unique("problem_id", keep="first", maintain_order=True)


def _numbers(kept: dict[str, pl.DataFrame], task: Task) -> dict[str, list[int]]:
    """How many numbers the training problems have, for a task with numbers."""
    if "train" not in kept or task.counted is None:
        return {}
    return {"numbers": kept["train"][task.counted].list.len().unique().sort().to_list()}


def _nothing_left(split: str, left_out: dict[str, int]) -> str:
    if left_out.get("held_out"):
        return "no training row is left: all are held out"
    return f"no {split} row is left: {reasons(left_out) or 'the files have none'}"
