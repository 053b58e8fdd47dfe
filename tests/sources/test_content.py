"""Pointers, web pages and truncated files are refused before anything is locked."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from fetching import REPO, Place, as_repository, endpoint
from hub import Hub, serve
from r1zero.core.errors import UserError
from r1zero.sources.content import wrong_content
from tiny import CONFIG, stage

POINTER = (
    b"version https://git-lfs.github.com/spec/v1\n"
    b"oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"
)
PAGE = b"\n<!DOCTYPE html>\n<html><body>Please log in.</body></html>\n"
HEADER = json.dumps({"weight": {"dtype": "F32", "shape": [64], "data_offsets": [0, 256]}}).encode()
WEIGHTS = len(HEADER).to_bytes(8, "little") + HEADER + bytes(256)
ROWS = b'{"nums": [44, 19, 35], "target": 98}\n'
PARQUET = b"PAR1" + bytes(100) + b"PAR1"

BAD: dict[str, tuple[str, str, bytes, bytes]] = {
    "pointer for weights": ("model", "model.safetensors", POINTER, WEIGHTS),
    "truncated weights": ("model", "model.safetensors", WEIGHTS[:-100], WEIGHTS),
    "weights cut in their header": ("model", "model.safetensors", WEIGHTS[:30], WEIGHTS),
    "page for a tokenizer": ("model", "tokenizer.json", PAGE, b"{}"),
    "pointer for Parquet": ("dataset", "data/train.parquet", POINTER, PARQUET),
    "truncated Parquet": ("dataset", "data/train.parquet", PARQUET[:-20], PARQUET),
    "page for rows": ("dataset", "rows.jsonl", PAGE, ROWS),
    "pointer for rows": ("dataset", "rows.jsonl", POINTER, ROWS),
}
FILES = {
    "model": {"config.json": b"{}", "tokenizer.json": b"{}", "model.safetensors": WEIGHTS},
    "dataset": {"data/train.parquet": PARQUET, "rows.jsonl": ROWS},
}
MODEL: dict[str, Any] = {
    "kind": "hub",
    "huggingface": {"repo": REPO},
    "modelscope": {"repo": REPO},
    "licence": "none",
    "gigabytes": 0.001,
}
KINDS = ("huggingface", "modelscope", "local")


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("kind", KINDS)
def test_a_wrong_file_is_refused_and_the_right_one_taken_afterwards(
    kind: str, name: str, tmp_path: Path
) -> None:
    section, path, bad, _ = BAD[name]
    place = Place(tmp_path / "place")
    with pytest.raises(UserError, match=path):
        offer(kind, place, section, FILES[section] | {path: bad})
    assert not place.lock.exists() or not yaml.safe_load(place.lock.read_text())[f"{section}s"]
    offer(kind, place, section, FILES[section])
    locked = yaml.safe_load(place.lock.read_text())[f"{section}s"]["mine"]["files"]
    assert locked.keys() == FILES[section].keys()


def offer(kind: str, place: Place, section: str, files: dict[str, bytes]) -> None:
    """Fetch files from a new endpoint that has them."""
    if kind == "local":
        root = as_repository(place.folder / "hub", f"{section}s", REPO, files)
        fetch(place, section, {"local": str(root)})
        return
    hub = Hub()
    hub.put(f"{section}s", REPO, files)
    with serve(hub) as url:
        fetch(place, section, endpoint(kind, url))


def fetch(place: Place, section: str, *endpoints: dict[str, Any]) -> None:
    source = MODEL if section == "model" else {}
    _, _, _, *arguments = place.command(*endpoints, section=section, **source)
    stage(*arguments)


def test_a_pointer_at_one_endpoint_leaves_the_file_to_the_next(tmp_path: Path) -> None:
    place = Place(tmp_path / "place")
    bad = FILES["model"] | {"model.safetensors": POINTER}
    root = as_repository(place.folder / "hub", "models", REPO, bad)
    hub = Hub()
    hub.put("models", REPO, FILES["model"])
    with serve(hub) as url:
        fetch(place, "model", {"local": str(root)}, endpoint("huggingface", url))
    assert (place.out / "model.safetensors").read_bytes() == WEIGHTS


@pytest.mark.parametrize("name", [name for name in BAD if BAD[name][0] == "model"])
def test_a_wrong_file_of_a_local_model_is_named(name: str, tmp_path: Path) -> None:
    _, path, bad, _ = BAD[name]
    folder = tmp_path / "model"
    for file, content in (FILES["model"] | {path: bad}).items():
        folder.mkdir(exist_ok=True)
        (folder / file).write_bytes(content)
    own = json.dumps({"mine": {"kind": "local", "path": str(folder)}})
    table = ("--table", CONFIG / "sources.yaml")
    with pytest.raises(UserError) as raised:
        stage("sources", "model", "mine", *table, "--own", own, "--out", tmp_path / "out")
    assert raised.value.where == str(folder / path)
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_a_page_in_the_place_of_a_local_dataset_is_named(tmp_path: Path) -> None:
    path = tmp_path / "test.jsonl"
    path.write_bytes(PAGE)
    own = json.dumps({"mine": {"kind": "local", "task": "countdown", "test": str(path)}})
    table = ("--table", CONFIG / "sources.yaml")
    with pytest.raises(UserError) as raised:
        stage("sources", "dataset", "mine", *table, "--own", own, "--out", tmp_path / "out")
    assert raised.value.where == str(path)


@pytest.mark.parametrize("name", BAD)
def test_right_files_are_right(name: str, tmp_path: Path) -> None:
    _, path, bad, good = BAD[name]
    file = tmp_path / "file"
    file.write_bytes(good)
    assert wrong_content(file, path) == ""
    file.write_bytes(bad)
    assert wrong_content(file, path) != ""
