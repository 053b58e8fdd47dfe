"""`r1zero sources model`: from a folder of the user's, and vouched for."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from r1zero.core.errors import UserError
from r1zero.sources.models import check_weights_complete
from tiny import CONFIG, stage

FILES = ("config.json", "model.safetensors", "tokenizer.json", "merges.txt", "chat_template.jinja")
OTHERS = ("pytorch_model.bin", "training_args.bin", "README.md", "modeling_custom.py")


def write_model(folder: Path, *names: str) -> Path:
    folder.mkdir()
    for name in names or (*FILES, *OTHERS):
        (folder / name).write_text(json.dumps({"of": folder.name, "name": name}))
    return folder


def fetch(path: Path, out: Path) -> dict[str, Any]:
    own = json.dumps({"mine": {"kind": "local", "path": str(path)}})
    table = CONFIG / "sources.yaml"
    stage("sources", "model", "mine", "--table", table, "--own", own, "--out", out)
    manifest: dict[str, Any] = json.loads((out / "manifest.json").read_text())
    return manifest


def test_files_are_linked_to_and_listed_with_their_checksums(tmp_path: Path) -> None:
    model, out = write_model(tmp_path / "model"), tmp_path / "out"
    manifest = fetch(model, out)
    assert (manifest["kind"], manifest["name"], manifest["revision"]) == ("model", "mine", None)
    assert {entry["path"] for entry in manifest["files"]} == set(FILES)
    for entry in manifest["files"]:
        content = (model / entry["path"]).read_bytes()
        assert entry["sha256"] == hashlib.sha256(content).hexdigest()
        assert (out / entry["path"]).resolve() == model / entry["path"]


def test_doing_it_again_changes_nothing(tmp_path: Path) -> None:
    model = write_model(tmp_path / "model")
    first, second = fetch(model, tmp_path / "out"), fetch(model, tmp_path / "out")
    assert first == second


def test_a_folder_without_safetensors_is_refused(tmp_path: Path) -> None:
    model = write_model(tmp_path / "model", "config.json", "pytorch_model.bin")
    with pytest.raises(UserError) as raised:
        fetch(model, tmp_path / "out")
    assert raised.value.where == str(model)
    assert "safetensors" in raised.value.message
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_another_model_leaves_nothing_of_the_former(tmp_path: Path) -> None:
    former = write_model(tmp_path / "former", *FILES, "model-00002-of-00002.safetensors")
    fetch(former, tmp_path / "out")
    manifest = fetch(write_model(tmp_path / "other", *FILES), tmp_path / "out")
    assert {entry["path"] for entry in manifest["files"]} == set(FILES)


def test_an_unknown_model_lists_those_there_are(tmp_path: Path) -> None:
    table = CONFIG / "sources.yaml"
    with pytest.raises(UserError) as raised:
        stage("sources", "model", "nope", "--table", table, "--out", tmp_path / "out")
    assert raised.value.where == str(table)
    assert "qwen2.5" in raised.value.hint


def test_a_model_that_brings_its_own_code_is_refused(tmp_path: Path) -> None:
    model = write_model(tmp_path / "model")
    (model / "config.json").write_text(json.dumps({"auto_map": {"AutoModel": "own.Model"}}))
    with pytest.raises(UserError) as raised:
        fetch(model, tmp_path / "out")
    assert raised.value.where == str(tmp_path / "out" / "config.json")
    assert "auto_map" in raised.value.message
    assert not (tmp_path / "out" / "manifest.json").exists()


@pytest.mark.parametrize("content", ["3", "[]", "null"])
def test_a_configuration_that_is_no_object_is_named(tmp_path: Path, content: str) -> None:
    model = write_model(tmp_path / "model")
    (model / "config.json").write_text(content)
    with pytest.raises(UserError) as raised:
        fetch(model, tmp_path / "out")
    assert raised.value.where == str(tmp_path / "out" / "config.json")


def write_index(folder: Path, *names: str) -> Path:
    path = folder / "model.safetensors.index.json"
    path.write_text(json.dumps({"weight_map": {f"weight{i}": n for i, n in enumerate(names)}}))
    return path


def test_weights_that_an_index_names_have_to_be_there(tmp_path: Path) -> None:
    parts = [f"model-{number:05}-of-00003.safetensors" for number in (1, 2, 3)]
    model = write_model(tmp_path / "model", "config.json", *parts)
    index = write_index(model, *parts, *parts)
    check_weights_complete(model)
    fetch(model, tmp_path / "out")
    for path in (model / parts[0], model / parts[2]):
        path.unlink()
    with pytest.raises(UserError) as raised:
        fetch(model, tmp_path / "other")
    assert raised.value.where == str(index)
    assert f"{parts[0]}, {parts[2]}" in raised.value.message
    assert parts[1] not in raised.value.message
    assert not (tmp_path / "other").exists()


def test_an_index_names_no_weights_elsewhere(tmp_path: Path) -> None:
    model = write_model(tmp_path / "model")
    outside = write_model(tmp_path / "outside", "model.safetensors") / "model.safetensors"
    for name in ("../outside/model.safetensors", str(outside)):
        index = write_index(model, name)
        with pytest.raises(UserError) as raised:
            check_weights_complete(model)
        assert raised.value.where == str(index)


@pytest.mark.parametrize("content", ["3", "{}", '{"weight_map": []}', '{"weight_map": {}}', "{"])
def test_an_index_that_is_none_is_named(tmp_path: Path, content: str) -> None:
    model = write_model(tmp_path / "model")
    path = write_index(model)
    path.write_text(content)
    with pytest.raises(UserError) as raised:
        check_weights_complete(model)
    assert raised.value.where == str(path)


def test_notes_of_other_systems_are_no_part_of_a_model(tmp_path: Path) -> None:
    model = write_model(tmp_path / "model")
    for name in ("._config.json", "._model.safetensors.index.json", "._model.safetensors"):
        (model / name).write_bytes(b"\x00\x05\x16\x07")
    manifest = fetch(model, tmp_path / "out")
    assert {entry["path"] for entry in manifest["files"]} == set(FILES)
