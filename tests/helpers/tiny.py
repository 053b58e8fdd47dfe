"""A configuration so small that every stage runs in seconds, and a way to run stages in process."""

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from typer.testing import CliRunner

from r1zero.cli import app
from r1zero.core.files import describe_file, write_json

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIG = REPOSITORY / "config"

RECIPE, BASE, DATASET, PROMPT = (
    "datawhale_r1",
    "mini_countdown",
    "countdown_3",
    "countdown_datawhale",
)


# One thread: sums in another order round differently, and tests share the machine.
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}


def stage(*arguments: object) -> str:
    """Run one stage as the command line does and return its output; errors are raised."""
    result = CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def write_config(folder: Path) -> Path:
    """Copy the shipped configuration, its mini scale and its datasets as small as they get."""
    shutil.copytree(CONFIG, folder)
    with edited(folder / "scales" / "mini.yaml") as scale:
        del scale["computation"]  # one process of one thread
        for base in scale["bases"].values():
            base |= {
                "hidden_size": 16,
                "num_hidden_layers": 1,
                "num_attention_heads": 2,
                "num_key_value_heads": 1,
                "intermediate_size": 16,
                "steps": 5,
                "tokens_per_step": 1024,
            }
        for task in scale["tasks"].values():
            task["sizes"] |= {
                "max_steps": 4,
                "save_steps": 2,
                "prompts_per_step": 2,
                "max_completion_length": 24,
            }
            task["evaluation"] |= {"max_problems": 8, "n_samples": 2}
    with edited(folder / "sources.yaml") as sources:
        for dataset in sources["datasets"].values():
            if dataset["kind"] == "generated":
                dataset |= {"train": 64, "test": 12}
    return folder


@contextmanager
def edited(path: Path) -> Iterator[dict[str, Any]]:
    """Give the content of a YAML file for changes, which are written when the block ends."""
    content = yaml.safe_load(path.read_text())
    yield content
    path.write_text(yaml.safe_dump(content, sort_keys=False))


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Write rows as JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_dataset(
    folder: Path,
    task: str,
    splits: Mapping[str, Sequence[Path]],
    *,
    ranges: Mapping[str, tuple[int, int]] | None = None,
    numbers: Sequence[int] | None = None,
) -> Path:
    """Copy files under the manifest of a dataset, as the sources stage writes it, and return it."""
    entries: dict[str, Any] = {}
    listed = []
    for split, paths in splits.items():
        (folder / split).mkdir(parents=True)
        copies = [Path(shutil.copy(path, folder / split)) for path in paths]
        listed += [describe_file(copy, folder) for copy in copies]
        entries[split] = {
            "files": [copy.relative_to(folder).as_posix() for copy in copies],
            "rows": (ranges or {}).get(split),
        }
    manifest = {
        "kind": "dataset",
        "name": folder.name,
        "task": task,
        "numbers": numbers,
        "splits": entries,
        "files": listed,
    }
    write_json(folder / "manifest.json", manifest)
    return folder / "manifest.json"


def make_task(folder: Path, config: Path) -> Path:
    """Draw the rows of the mini scale, make its problems, and return their manifest."""
    dataset = folder / "dataset"
    stage("sources", "dataset", DATASET, "--table", config / "sources.yaml", "--out", dataset)
    return make_problems(dataset / "manifest.json", folder)


def make_problems(dataset: Path, folder: Path) -> Path:
    """Make rows and problems of a dataset in two folders, and return the problems' manifest."""
    task = folder / "task" / "manifest.json"
    stage("data", "rows", dataset, "--out", rows_of(task).parent)
    stage("data", "problems", rows_of(task), "--prompt", PROMPT, "--out", task.parent)
    return task


def rows_of(task: Path) -> Path:
    """Manifest of the rows behind some problems."""
    return task.parent.parent / "rows" / "manifest.json"


def make_base(out: Path, config: Path, task: Path) -> Path:
    """Pre-train the base model of the mini scale and return its manifest."""
    inputs = ("--scale", "mini", "--config", config, "--rows", rows_of(task))
    stage("pretrain", BASE, *inputs, "--out", out)
    return out / "manifest.json"


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, by its path in it."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


class Run(NamedTuple):
    """Where the files of one run are."""

    folder: Path

    @property
    def file(self) -> Path:
        return self.folder / "run.json"

    @property
    def plan(self) -> Path:
        return self.folder / "plan"

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def model(self) -> Path:
        return self.folder / "model.json"

    @property
    def options(self) -> list[object]:
        """Arguments of `r1zero train`."""
        places = ("--plan", self.plan, "--checkpoints", self.checkpoints, "--out", self.model)
        return [self.file, *places, "--gpus", 0]


def make_run(
    folder: Path,
    config: Path,
    task: Path,
    base: Path,
    *,
    backend: str = "trl",
    reference: str | Mapping[str, Any] = "auto",
) -> Run:
    """Resolve and lay out a run of the mini scale on the CPU, ready to train."""
    run = Run(folder)
    inputs = ("--config", config, "--problems", task, "--model", base)
    stage("resolve", RECIPE, *inputs, "--backend", backend, "--out", run.file)
    places = ("--checkpoints", run.checkpoints, "--out", run.plan)
    hardware = json.dumps({"gpus": 0, "reference": reference})
    stage("layout", run.file, "--hardware", hardware, *places)
    return run
