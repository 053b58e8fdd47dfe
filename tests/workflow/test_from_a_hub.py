"""The workflow on real rows from hubs: one is dead, one breaks off, one is good."""

import gzip
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from fetching import dead_address, endpoint, without_sockets
from hub import Fault, Hub, serve
from workflow_copy import copy_workflow, jobs_of, snakemake

pytestmark = pytest.mark.slow

# As the table names them, but for Countdown, of which there are fewer rows here.
COUNTDOWN = {
    "kind": "hub",
    "task": "countdown",
    "huggingface": {"repo": "Jiayi-Pan/Countdown-Tasks-3to4"},
    "modelscope": {"repo": "zouxuhong/Countdown-Tasks-3to4", "verified": False},
    "licence": "unknown",
    "gigabytes": 0.01,
    "numbers": [3],
    "splits": {
        "train": {"files": ["data/train-*.parquet"], "rows": [0, 10_240]},
        "test": {"files": ["data/train-*.parquet"], "rows": [10_240, 11_264]},
    },
}
MATH = {
    "kind": "hub",
    "task": "math",
    "huggingface": {"repo": "own/math"},
    "licence": "MIT",
    "gigabytes": 0.01,
    "splits": {"train": {"files": ["data/train-*.parquet"]}},
}

MODEL = "results/mini/datawhale_r1/trl/seed0/model.json"


def rows(path: Path) -> pl.DataFrame:
    content = path.read_bytes()
    return pl.read_ndjson(gzip.decompress(content) if path.suffix == ".gz" else content)


def parquet(*frames: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    pl.concat(frames).write_parquet(buffer)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def contents(shared_data: Path) -> dict[str, dict[str, bytes]]:
    """Repositories with the real rows."""
    train, test = (
        rows(shared_data / "countdown" / f"countdown_tasks_3to4_{name}.jsonl")
        for name in ("train_first10240", "test1024")
    )
    gsm8k = shared_data / "gsm8k"
    part = "00000-of-00001.parquet"
    return {
        COUNTDOWN["huggingface"]["repo"]: {f"data/train-{part}": parquet(train, test)},
        "openai/gsm8k": {
            f"main/{split}-{part}": parquet(rows(gsm8k / f"{split}.jsonl"))
            for split in ("train", "test")
        },
        "own/math": {
            f"data/train-{part}": parquet(rows(shared_data / "math" / "math_train_7500.jsonl.gz"))
        },
        "HuggingFaceH4/MATH-500": {
            "test.jsonl": (shared_data / "math" / "math500_test.jsonl").read_bytes()
        },
    }


@pytest.fixture(scope="module")
def endpoints(contents: dict[str, dict[str, bytes]]) -> Iterator[list[dict[str, Any]]]:
    """One endpoint that is dead, one that breaks off, and a good one."""
    truncating, good = Hub(), Hub()
    for repo, files in contents.items():
        truncating.put("datasets", repo, files)
        good.put("datasets", repo, files)
    truncating.faults = [Fault("GET /(content|datasets)", truncate=60_000, no_ranges=True)]
    with serve(truncating) as second, serve(good) as third:
        yield [endpoint("huggingface", url) for url in (dead_address(), second, third)]


@pytest.fixture(scope="module")
def workflow(
    tiny_config: Path,
    endpoints: list[dict[str, Any]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A workflow that has trained on rows from the third endpoint."""
    folder = copy_workflow(tmp_path_factory.mktemp("hub") / "workflow", tiny_config)
    result = run(folder, endpoints, MODEL)
    assert result.returncode == 0, result.stdout
    return folder


def run(folder: Path, endpoints: list[dict[str, Any]], *targets: str, **more: Any) -> Any:
    config = {
        "endpoints": endpoints,
        "datasets": {"countdown_3": COUNTDOWN, "math_train": MATH},
        "suites": {"math500": {"task": "math", "dataset": "math500"}},
        **more.pop("config", {}),
    }
    unset = dict.fromkeys(("HF_HUB_OFFLINE", "HF_ENDPOINT"), "")
    return snakemake(folder, *targets, "--cores", "2", config=config, **unset, **more)


def test_countdown_trains_on_the_rows_of_the_third_endpoint(
    workflow: Path, endpoints: list[dict[str, Any]]
) -> None:
    printed = (workflow / "logs" / "sources" / "countdown_3.log").read_text()
    first, second, third = (each["huggingface"] for each in endpoints)
    assert f"huggingface {first}: " in printed
    assert f"huggingface {second}: RemoteProtocolError" in printed
    assert f"1 from huggingface {third}" in printed
    audit = json.loads((workflow / "resources" / "rows" / "countdown_3" / "audit.json").read_text())
    assert audit["rows_in"] == {"train": 10_240, "test": 1_024}
    model = json.loads((workflow / MODEL).read_text())
    assert [checkpoint["step"] for checkpoint in model["checkpoints"]] == [2, 4]
    lock = (workflow / "config" / "sources.lock.yaml").read_text()
    assert "first_seen: huggingface" in lock
    assert "countdown_3:" in lock


def test_gsm8k_and_math_come_and_are_audited(
    workflow: Path, endpoints: list[dict[str, Any]], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(workflow, tmp_path / "workflow"))
    names = ("gsm8k", "math500", "math_train")
    targets = [f"resources/rows/{name}/manifest.json" for name in names]
    result = run(folder, endpoints, *targets)
    assert result.returncode == 0, result.stdout
    audits = {
        name: json.loads((folder / "resources" / "rows" / name / "audit.json").read_text())
        for name in names
    }
    assert audits["gsm8k"]["rows_in"] == {"train": 7_473, "test": 1_319}
    assert audits["math500"]["rows_out"] == {"test": 500}
    assert audits["math_train"]["held_out"]["math500"] == {"problems": 500, "in_train": 0}


def test_once_fetched_everything_runs_without_a_network(
    workflow: Path, endpoints: list[dict[str, Any]], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(workflow, tmp_path / "workflow"))
    for name in ("results", "checkpoints", "resources/bases", "resources/rows"):
        shutil.rmtree(folder / name)
    for manifest in (folder / "resources" / "datasets").glob("*/manifest.json"):
        manifest.unlink()  # the rule runs again, and finds the files
    environment, log = without_sockets(tmp_path / "refuse")
    result = run(folder, endpoints, MODEL, config={"offline": True}, **environment)
    assert result.returncode == 0, result.stdout
    assert jobs_of(result.stdout)["dataset"] == 1
    assert not log.exists(), log.read_text()


def test_another_endpoint_makes_nothing_anew(workflow: Path) -> None:
    result = run(workflow, [endpoint("modelscope", dead_address())], MODEL)
    assert "Nothing to be done" in result.stdout, result.stdout


def test_rows_that_are_not_the_locked_ones_stop_the_workflow(
    workflow: Path, endpoints: list[dict[str, Any]], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(workflow, tmp_path / "workflow"))
    lock = folder / "config" / "sources.lock.yaml"
    text = lock.read_text()
    sha256 = text.partition("sha256: ")[2].split()[0]
    lock.write_text(text.replace(sha256, "f" * 64))
    result = run(folder, endpoints, MODEL, "--dry-run")
    assert result.returncode != 0
    wrong = f"data/train-00000-of-00001.parquet is {sha256}, config/sources.lock.yaml says ffff"
    assert f"error: resources/datasets/countdown_3/manifest.json: {wrong}" in result.stdout
