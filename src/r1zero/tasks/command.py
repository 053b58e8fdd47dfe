"""`python -m r1zero tasks`: problems with prompts from a dataset's rows, and an audit of them."""

from pathlib import Path
from typing import Annotated, Any

import typer

from r1zero.errors import UserError
from r1zero.files import describe_file, read_json, verify_file, write_json, write_json_lines
from r1zero.tasks.countdown.rows import Row, distinct, read
from r1zero.tasks.problems import write_problems
from r1zero.tasks.prompts import load_prompt

app = typer.Typer(help="Problems with prompts, from rows.", no_args_is_help=True)

Prompt = Annotated[str, typer.Option(help="Prompt template.")]


@app.command()
def dataset(
    source: Annotated[Path, typer.Argument(help="Manifest of the dataset.")],
    prompt: Prompt,
    out: Annotated[Path, typer.Option(help="Folder to write; its manifest.json is the output.")],
    held_out: Annotated[
        list[Path] | None, typer.Option(help="Rows kept out of training, besides the test rows.")
    ] = None,
) -> None:
    """Make train and test problems; nothing held out, in any order of its numbers, is in train."""
    manifest = read_json(source)
    template = load_prompt(prompt)
    rows = {
        split: read(verify_file(manifest["files"][split], source.parent))
        for split in ("train", "test")
    }
    # By path: two suites of the same file name in two folders are two suites.
    suites = {str(path): read(path) for path in held_out or []}
    test = distinct(rows["test"])
    keys = {row.key for row in test}.union(*({row.key for row in s} for s in suites.values()))
    train = distinct(rows["train"], exclude=keys)
    if not train:
        raise UserError("no training row is left: all are held out", where=str(source))
    kept = {"train": train, "test": test}
    held = sorted(keys)
    write_json_lines(out / "held_out.jsonl", (Row(nums, target)._asdict() for nums, target in held))
    for split, problems in kept.items():
        write_problems(out / "problems" / f"{split}.parquet", problems, template, split)
    write_json(out / "audit.json", _audit(rows, kept, suites))
    write_json(
        out / "manifest.json",
        {
            "kind": "task",
            "task": "countdown",
            "dataset": manifest["name"],
            "prompt": prompt,
            "numbers": sorted({len(row.nums) for row in train}),
            "rows": {split: len(problems) for split, problems in kept.items()},
            "files": {
                **{
                    split: describe_file(out / "problems" / f"{split}.parquet", out)
                    for split in kept
                },
                "held_out": describe_file(out / "held_out.jsonl", out),
            },
        },
    )


@app.command()
def suite(
    rows: Annotated[Path, typer.Argument(help="JSON-lines file of rows.")],
    prompt: Prompt,
    out: Annotated[Path, typer.Option(help="Parquet file to write.")],
    numbers: Annotated[
        list[int] | None, typer.Option(help="Keep the rows with this many numbers; repeatable.")
    ] = None,
) -> None:
    """Make the problems of one more held-out suite."""
    write_problems(out, distinct(read(rows, numbers)), load_prompt(prompt), "test")


def _audit(
    rows: dict[str, list[Row]], kept: dict[str, list[Row]], suites: dict[str, list[Row]]
) -> dict[str, Any]:
    """Count what came in, what stayed, and why the rest did not."""
    keys = {split: {row.key for row in found} for split, found in rows.items()}
    suite_keys = {name: {row.key for row in found} for name, found in suites.items()}
    return {
        "rows_in": {split: len(found) for split, found in rows.items()},
        "rows_out": {split: len(found) for split, found in kept.items()},
        "duplicates": {split: len(found) - len(keys[split]) for split, found in rows.items()},
        "removed_from_train": {
            "test": len(keys["train"] & keys["test"]),
            **{name: len(keys["train"] & found) for name, found in suite_keys.items()},
        },
    }
