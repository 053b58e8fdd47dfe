"""`r1zero sources model`: from a folder or a hub, and vouched for."""

import hashlib
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import huggingface_hub
import pytest

from r1zero.errors import UserError
from tiny import CONFIG, stage

FILES = ("config.json", "model.safetensors", "tokenizer.json", "merges.txt", "chat_template.jinja")
OTHERS = ("pytorch_model.bin", "training_args.bin", "README.md", "modeling_custom.py")


def write_model(folder: Path, *names: str) -> Path:
    folder.mkdir()
    for name in names or (*FILES, *OTHERS):
        (folder / name).write_text(f"{folder.name} {name}")
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
    assert (manifest["kind"], manifest["name"], manifest["revision"]) == ("model", "mine", "local")
    assert {entry["path"] for entry in manifest["files"]} == set(FILES)
    for entry in manifest["files"]:
        content = (model / entry["path"]).read_bytes()
        assert entry["sha256"] == hashlib.sha256(content).hexdigest()
        assert (out / entry["path"]).resolve() == model / entry["path"]


def test_neither_pickled_weights_nor_code_are_taken(tmp_path: Path) -> None:
    fetch(write_model(tmp_path / "model"), tmp_path / "out")
    assert not set(OTHERS) & {path.name for path in (tmp_path / "out").iterdir()}


def test_doing_it_again_changes_nothing(tmp_path: Path) -> None:
    model = write_model(tmp_path / "model")
    first, second = fetch(model, tmp_path / "out"), fetch(model, tmp_path / "out")
    assert first == second


def test_a_folder_without_safetensors_is_refused(tmp_path: Path) -> None:
    model = write_model(tmp_path / "model", "config.json", "pytorch_model.bin")
    with pytest.raises(UserError) as raised:
        fetch(model, tmp_path / "out")
    assert str(raised.value) == f"{model}: no safetensors file in the folder"
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_another_model_leaves_nothing_of_the_former(tmp_path: Path) -> None:
    former = write_model(tmp_path / "former", *FILES, "model-00002-of-00002.safetensors")
    fetch(former, tmp_path / "out")
    manifest = fetch(write_model(tmp_path / "other", *FILES), tmp_path / "out")
    assert {entry["path"] for entry in manifest["files"]} == set(FILES)


def test_an_unknown_model_lists_those_there_are(tmp_path: Path) -> None:
    table = CONFIG / "sources.yaml"
    with pytest.raises(UserError, match=r"'nope' is not in the table \(there are: qwen2\.5"):
        stage("sources", "model", "nope", "--table", table, "--out", tmp_path / "out")


class Hub:
    """A hub in memory: files by name, and what becomes of them on the way."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **files: str) -> None:
        self.files = {name.replace("__", "."): text.encode() for name, text in files.items()}
        self.damaged: dict[str, bytes] = {}
        self.error: Exception | None = None
        monkeypatch.setattr(huggingface_hub, "HfApi", lambda: self)
        monkeypatch.setattr(huggingface_hub, "snapshot_download", self.download)

    def model_info(self, repo: str, revision: str) -> SimpleNamespace:
        if self.error:
            raise self.error
        return SimpleNamespace(sha=f"commit of {revision}")

    def list_repo_tree(
        self, repo: str, *, revision: str, recursive: bool
    ) -> list[huggingface_hub.RepoFile]:
        assert revision == "commit of main"
        return [self.describe(name, content) for name, content in self.files.items()]

    def describe(self, name: str, content: bytes) -> huggingface_hub.RepoFile:
        large = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 1}
        lfs = {"lfs": large} if name.endswith(".safetensors") else {}
        return huggingface_hub.RepoFile(path=name, size=len(content), oid="0" * 40, **lfs)

    def download(
        self, repo: str, *, revision: str, local_dir: Path, allow_patterns: list[str]
    ) -> None:
        for name in allow_patterns:
            path = local_dir / name
            path.parent.mkdir(exist_ok=True)
            if not path.exists():
                path.write_bytes(self.damaged.get(name, self.files[name]))


def download(out: Path) -> dict[str, Any]:
    own = json.dumps({"mine": {"kind": "hub", "repo": "own/model"}})
    table = CONFIG / "sources.yaml"
    stage("sources", "model", "mine", "--table", table, "--own", own, "--out", out)
    manifest: dict[str, Any] = json.loads((out / "manifest.json").read_text())
    return manifest


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    return Hub(monkeypatch, model__safetensors="weights", config__json="{}", model__bin="pickled")


@pytest.mark.usefixtures("hub")
def test_a_download_is_listed_with_commit_and_checksums(tmp_path: Path) -> None:
    manifest = download(tmp_path)
    assert manifest["revision"] == "commit of main"
    assert [entry["path"] for entry in manifest["files"]] == ["config.json", "model.safetensors"]
    assert manifest["files"][1]["sha256"] == hashlib.sha256(b"weights").hexdigest()


def test_damaged_weights_are_refused_and_downloaded_again(hub: Hub, tmp_path: Path) -> None:
    """The hub's own client compares sizes alone."""
    hub.damaged["model.safetensors"] = b"weighty"
    with pytest.raises(UserError) as raised:
        download(tmp_path)
    assert raised.value.where == str(tmp_path / "model.safetensors")
    assert raised.value.message.startswith("sha256 is ")
    assert not (tmp_path / "manifest.json").exists()
    hub.damaged.clear()
    download(tmp_path)
    assert (tmp_path / "model.safetensors").read_bytes() == b"weights"


@pytest.mark.usefixtures("hub")
def test_files_of_a_former_revision_do_not_stay(tmp_path: Path) -> None:
    (tmp_path / "model-00002-of-00002.safetensors").write_text("former")
    manifest = download(tmp_path)
    assert len(manifest["files"]) == 2
    assert not (tmp_path / "model-00002-of-00002.safetensors").exists()


@pytest.mark.parametrize("error", [httpx.ConnectError("no\nroute"), TimeoutError("no route")])
def test_without_a_network_there_is_one_line(hub: Hub, tmp_path: Path, error: Exception) -> None:
    hub.error = error
    with pytest.raises(UserError) as raised:
        download(tmp_path)
    assert str(raised.value).startswith("models: own/model: download failed: no route (")
    assert "HF_ENDPOINT" in raised.value.hint


def test_a_disk_that_is_too_small_is_noticed_before_the_download(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1 << 20))
    with pytest.raises(UserError, match=r"own/model: takes 0\.0 GiB, 0\.0 GiB are free"):
        download(tmp_path)
    assert not list(tmp_path.iterdir())
