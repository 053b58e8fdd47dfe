"""`python -m r1zero data`: from a dataset to audited rows, and from rows to problems."""

from functools import partial
from pathlib import Path
from typing import Annotated

import polars as pl
import typer

from r1zero.core.errors import UserError
from r1zero.core.files import describe_file, verify_file, write_json
from r1zero.data.audit import audit, describe, distinct, reasons
from r1zero.data.files import read_manifest, write_table
from r1zero.data.formats import FORMATS
from r1zero.data.problems import check_fields, render
from r1zero.data.rows import read_split
from r1zero.rewards.grading import gold_problems
from r1zero.tasks.prompts import load_prompt

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
            help="Manifest of a dataset whose test problems are kept out of training, besides this "
            "one's; repeatable.",
        ),
    ] = None,
) -> None:
    """Normalise rows, keep one of each problem, and nothing that is held out in train."""
    dataset = read_manifest(source, "dataset")
    fields = list(FORMATS[dataset["format"]].fields.values())
    raw = {s: read_split(dataset, s, source) for s in SPLITS if s in dataset["splits"]}
    # Rows without a training split are held out themselves: nothing is to be taken from them.
    suites = _suites(held_out or [], fields) if "train" in raw else {}
    gradable = partial(gold_problems, dataset["format"])
    kept, counts = audit(raw, fields, suites, dataset["numbers"], gradable)
    for split, frame in kept.items():
        if frame.is_empty():
            raise UserError(_nothing_left(split, counts["left_out"][split]), where=str(source))
    found = {"dataset": dataset["name"], "format": dataset["format"], **counts}
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
            "format": dataset["format"],
            **_numbers(kept),
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
    fields = FORMATS[manifest["format"]].fields
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
            "task": manifest["format"],
            "dataset": manifest["dataset"],
            "prompt": prompt,
            "rows": manifest["rows"],
            "files": {split: describe_file(path, out) for split, path in paths.items()},
        },
    )


def _suites(options: list[str], fields: list[str]) -> dict[str, pl.DataFrame]:
    """Test problems by the name of each `--held-out NAME=DATASET`.

    Of datasets rather than of their rows: two that hold each other out would wait for each other.
    """
    suites: dict[str, pl.DataFrame] = {}
    for option in options:
        name, _, path = option.partition("=")
        if not (name and path):
            raise UserError(f"'{option}' is not NAME=DATASET", where="--held-out")
        if name == "test" or name in suites:
            raise UserError(f"the name '{name}' is taken", where="--held-out")
        dataset = read_manifest(Path(path), "dataset")
        if list(FORMATS[dataset["format"]].fields.values()) != fields:
            raise UserError(
                f"rows of {dataset['format']} have no {', '.join(fields)} to be known by",
                where=f"--held-out {name}",
            )
        if "test" not in dataset["splits"]:
            raise UserError("has no test rows to hold out", where=path)
        test = read_split(dataset, "test", Path(path))
        suites[name], _ = distinct(test, fields, dataset["numbers"])
    return suites


def _together(kept: dict[str, pl.DataFrame], suites: dict[str, pl.DataFrame]) -> pl.DataFrame:
    """Every held-out problem once, with the columns of the training rows."""
    train = kept["train"]
    # Suites may be of another format with the same prompt fields; what they lack is null.
    frames = [train.clear(), *(kept[s] for s in kept if s == "test"), *suites.values()]
    held_out = pl.concat(frames, how="diagonal").select(train.columns)
    return held_out.unique("problem_id", keep="first", maintain_order=True)


def _numbers(kept: dict[str, pl.DataFrame]) -> dict[str, list[int]]:
    """Counts of numbers that training problems have, where problems have numbers."""
    if "train" not in kept or "nums" not in kept["train"]:
        return {}
    return {"numbers": kept["train"]["nums"].list.len().unique().sort().to_list()}


def _nothing_left(split: str, left_out: dict[str, int]) -> str:
    if left_out.get("held_out"):
        return "no training row is left: all are held out"
    return f"no {split} row is left: {reasons(left_out) or 'none came in'}"
