"""`r1zero sources` with hubs: what is locked, shown, refused and said."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from fetching import (
    FILES,
    KINDS,
    LARGE,
    REPO,
    SMALL,
    SUMS,
    Place,
    as_repository,
    clean_environment,
    dead_address,
    endpoint,
    good_hub,
    run,
    without_sockets,
)
from hub import Fault, Hub, serve
from r1zero.core.errors import UserError
from r1zero.sources import progress
from r1zero.sources.lock import Lock
from r1zero.sources.verify import check_lock

MODEL = {
    "kind": "hub",
    "huggingface": {"repo": "owner/model"},
    "modelscope": {"repo": "owner/model"},
    "licence": "none",
    "gigabytes": 0.001,
}
WEIGHTS = {
    "config.json": b"{}",
    "tokenizer.json": b"{}",
    "model.safetensors": b"weights" * 1000,
    "README.md": b"read me",
    "pytorch_model.bin": b"pickled",
    "modeling_own.py": b"print('run')",
    "onnx/model.safetensors": b"of another kind",
}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "place")


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_download_is_locked_and_says_so(kind: str, place: Place) -> None:
    hub = good_hub()
    with serve(hub) as url:
        printed = place.fetch(endpoint(kind, url)).stdout
    assert place.is_complete()
    commit = hub.branch["datasets", REPO]
    (trusted,) = (line for line in printed.splitlines() if line.startswith("TRUSTED ON FIRST USE"))
    for named in ("datasets.mine", f"{kind} {url}", REPO, str(place.lock)):
        assert named in trusted
    entry = yaml.safe_load(place.lock.read_text())["datasets"]["mine"]
    assert entry["first_seen"] == f"{kind} {url}"
    assert {path: file["sha256"] for path, file in entry["files"].items()} == SUMS
    revision = {"revision": commit} if kind == "huggingface" else {}
    assert entry[kind] == {"repo": REPO, **revision}
    assert f"2 from {kind} {url}" in printed.splitlines()[-1]


def test_the_manifest_says_which_rows_are_which(place: Place) -> None:
    hub = Hub()
    parts = {f"data/part{i}.parquet": bytes([i]) for i in (2, 1)}
    hub.put("datasets", REPO, {**parts, "rows.jsonl": b"{}", "README.md": b"not wanted"})
    splits = {
        "train": {"files": ["data/*.parquet"], "rows": [0, 10]},
        "test": {"files": ["rows.jsonl"]},
    }
    with serve(hub) as url:
        result = place.fetch(endpoint("huggingface", url), splits=splits, numbers=[3])
    assert result.returncode == 0, result.stdout
    manifest = json.loads((place.out / "manifest.json").read_text())
    assert manifest["splits"] == {
        "train": {"files": ["data/part1.parquet", "data/part2.parquet"], "rows": [0, 10]},
        "test": {"files": ["rows.jsonl"], "rows": None},
    }
    assert (manifest["task"], manifest["numbers"]) == ("countdown", [3])
    assert manifest["revision"] == hub.branch["datasets", REPO]
    assert not (place.out / "README.md").exists()


def test_what_is_on_disk_and_locked_needs_no_hub(place: Place) -> None:
    with serve(good_hub()) as url:
        assert place.fetch(endpoint("huggingface", url)).returncode == 0
    (place.out / "manifest.json").unlink()
    result = place.fetch(endpoint("huggingface", dead_address()))
    assert place.is_complete(), result.stdout
    assert result.stdout.splitlines()[-1].endswith(": 2 already on disk")


def test_a_file_that_was_changed_on_disk_is_fetched_again(place: Place) -> None:
    hub = good_hub()
    with serve(hub) as url:
        assert place.fetch(endpoint("huggingface", url)).returncode == 0
        (place.out / "rows.jsonl").write_bytes(FILES["rows.jsonl"][::-1])
        hub.requests.clear()
        result = place.fetch(endpoint("modelscope", url))
    assert place.is_complete(), result.stdout
    assert len(hub.requests) == 1, "one file, no listing"


def test_a_source_under_another_name_is_not_the_locked_one(place: Place) -> None:
    with serve(good_hub()) as url:
        assert place.fetch(endpoint("huggingface", url)).returncode == 0
        result = place.fetch(endpoint("huggingface", url), huggingface={"repo": "owner/other"})
    assert result.returncode == 2
    error = result.stdout.splitlines()[-1]
    assert error.startswith(f"error: {place.lock}: datasets.mine: ")
    assert REPO in error
    assert "owner/other" in error


@pytest.mark.parametrize("kind", KINDS)
def test_a_token_goes_to_its_endpoint_and_nowhere_else(kind: str, place: Place) -> None:
    secret = "hf_a1b2c3d4e5f6"
    environment = {"HF_TOKEN": secret, "MODELSCOPE_API_TOKEN": secret, "MY_TOKEN": secret}
    hub, stranger = good_hub(), good_hub()
    hub.faults = [Fault(r"GET .*rows\.jsonl", status=401)]
    with serve(hub) as url, serve(stranger) as mirror:
        result = place.fetch(
            endpoint(kind, url, token_from="MY_TOKEN"),
            endpoint(kind, mirror),
            environment=environment,
        )
    assert place.is_complete(), result.stdout
    shown = {request.host.partition(":")[0] for request in hub.requests if request.authorization}
    assert shown == {"127.0.0.1"}, "not the content network"
    assert any(request.host.startswith("localhost") for request in hub.requests) == (
        kind == "huggingface"
    )
    assert not any(request.authorization for request in stranger.requests)
    written = [path for path in place.folder.rglob("*") if path.is_file() and path.suffix != ".py"]
    assert not any(secret.encode() in path.read_bytes() for path in written)
    assert secret not in result.stdout


def test_credentials_in_an_address_are_refused_and_not_shown(place: Place) -> None:
    result = place.fetch({"huggingface": "https://me:hunter2secret@hub.example"})
    assert result.returncode == 2
    assert "endpoints.0.huggingface.huggingface: " in result.stdout
    assert "hunter2" not in result.stdout


def test_errors_show_no_signature(place: Place) -> None:
    hub = good_hub()
    hub.faults = [Fault("GET /content", status=403)]
    with serve(hub) as url:
        result = place.fetch(endpoint("huggingface", url))
    assert result.returncode == 2
    assert "signature" not in result.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_is_safetensors_configuration_and_tokenizer(kind: str, place: Place) -> None:
    hub = Hub()
    hub.put("models", "owner/model", WEIGHTS)
    with serve(hub) as url:
        result = place.fetch(endpoint(kind, url), section="model", **MODEL)
    assert result.returncode == 0, result.stdout
    assert place.files().keys() == {"config.json", "tokenizer.json", "model.safetensors"}


def test_pickled_weights_are_taken_by_name_only(place: Place) -> None:
    hub = Hub()
    hub.put("models", "owner/model", {"config.json": b"{}", "pytorch_model.bin": b"pickled"})
    with serve(hub) as url:
        refused = place.fetch(endpoint("huggingface", url), section="model", **MODEL)
        pattern = {**MODEL, "files": ["*.bin", "*.json"]}
        also = place.fetch(endpoint("huggingface", url), section="model", **pattern)
        allowed = {**MODEL, "allow": ["pytorch_model.bin"]}
        taken = place.fetch(endpoint("huggingface", url), section="model", **allowed)
    assert refused.returncode == also.returncode == 2
    for each in (refused, also):
        assert "pytorch_model.bin" in each.stdout
        assert "`allow`" in each.stdout
    assert not hub.requests or taken.returncode == 0, taken.stdout
    assert place.files().keys() == {"config.json", "pytorch_model.bin"}


@pytest.mark.parametrize("path", ["../../escaped.json", "/escaped.json", "a/../../b.json"])
def test_a_path_that_leads_elsewhere_is_refused(path: str, place: Place) -> None:
    hub = Hub()
    hub.put("datasets", REPO, {**FILES, path: b"{}"})
    splits = {"test": {"files": ["*", "*/*", "*/*/*", "*/*/*/*", path]}}
    with serve(hub) as url:
        result = place.fetch(endpoint("modelscope", url), splits=splits)
    assert result.returncode == 2
    assert repr(path) in result.stdout
    assert not hub.downloads("escaped")


def test_a_file_that_the_repository_lacks_is_named_with_what_it_has(place: Place) -> None:
    with serve(good_hub()) as url:
        splits = {"train": {"files": ["main/train.parquet"]}}
        result = place.fetch(endpoint("huggingface", url), splits=splits)
    assert result.returncode == 2
    assert "main/train.parquet" in result.stdout
    assert "data/train.parquet, rows.jsonl" in result.stdout


def as_cache(root: Path, repo: str, files: dict[str, bytes]) -> Path:
    """What huggingface_hub leaves: links to blobs, and the commit of a branch."""
    cache = root / f"models--{repo.replace('/', '--')}"
    (cache / "blobs").mkdir(parents=True)
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text("abc")
    snapshot = cache / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    for index, (name, content) in enumerate(files.items()):
        (cache / "blobs" / str(index)).write_bytes(content)
        (snapshot / name).symlink_to(f"../../blobs/{index}")
    return root


SAFE = {name: WEIGHTS[name] for name in ("config.json", "model.safetensors")}


@pytest.mark.parametrize("layout", [as_cache, lambda r, n, f: as_repository(r, "models", n, f)])
def test_models_in_a_shared_folder_are_linked_to(layout: Any, place: Place) -> None:
    root = layout(place.folder / "shared", "owner/model", SAFE)
    result = place.fetch({"local": str(root)}, section="model", **MODEL)
    assert result.returncode == 0, result.stdout
    for name, content in SAFE.items():
        assert (place.out / name).is_symlink()
        assert (place.out / name).read_bytes() == content
    assert f"2 from local {root}" in result.stdout


def test_rows_in_a_shared_folder_are_copied(place: Place) -> None:
    root = as_repository(place.folder / "shared", "datasets", REPO, FILES)
    result = place.fetch({"local": str(root)}, offline=True)
    assert place.is_complete(), result.stdout
    assert not any(path.is_symlink() for path in place.out.rglob("*"))


def test_a_shared_folder_with_wrong_bytes_is_passed_over(place: Place) -> None:
    wrong = {**FILES, "rows.jsonl": SMALL[::-1]}
    root = as_repository(place.folder / "shared", "datasets", REPO, wrong)
    with serve(good_hub()) as url:
        assert place.fetch(endpoint("huggingface", url)).returncode == 0
        (place.out / "rows.jsonl").unlink()
        result = place.fetch({"local": str(root)}, endpoint("huggingface", url))
    assert place.is_complete(), result.stdout
    assert "wrong bytes" in result.stdout


def test_offline_nothing_is_asked_of_a_network(tmp_path: Path, place: Place) -> None:
    with serve(good_hub()) as url:
        assert place.fetch(endpoint("huggingface", url)).returncode == 0
        environment, log = without_sockets(tmp_path / "refuse")
        online = endpoint("huggingface", url), endpoint("modelscope", url)
        result = place.fetch(*online, offline=True, environment=environment)
        assert result.returncode == 0, result.stdout
        (place.out / "rows.jsonl").unlink()
        result = place.fetch(*online, offline=True, environment=environment)
        assert result.returncode == 2
        assert "error: datasets.mine: " in result.stdout
        assert "`offline: true`" in result.stdout
        assert not log.exists(), log.read_text()
        # The same without `offline`: the refusal itself works.
        assert place.fetch(*online, environment=environment).returncode == 2
        assert log.exists()


def verify(place: Place) -> "subprocess.CompletedProcess[str]":
    options = ("--root", str(place.folder), "--lock", str(place.lock))
    command = [sys.executable, "-m", "r1zero", "sources", "verify", *options]
    return run(command, clean_environment())


class InRoot(Place):
    """A place as the workflow has it: `<root>/datasets/mine`."""

    @property
    def out(self) -> Path:
        return self.folder / "datasets" / "mine"


def test_verify_hashes_everything_again(tmp_path: Path) -> None:
    place = InRoot(tmp_path / "root")
    with serve(good_hub()) as url:
        assert place.fetch(endpoint("huggingface", url)).returncode == 0
    good = verify(place)
    assert good.returncode == 0
    assert good.stdout.split() == ["locked", "datasets.mine:", "2", "files,", "3.15", "MB"]
    path = place.out / "data" / "train.parquet"
    path.write_bytes(LARGE[:-1] + b"x")
    bad = verify(place)
    assert bad.returncode == 2
    assert f"{path}: sha256 is " in bad.stdout
    assert bad.stdout.splitlines()[-1].endswith(": datasets.mine")


def test_verify_holds_manifests_against_the_lock(tmp_path: Path) -> None:
    place = InRoot(tmp_path / "root")
    with serve(good_hub()) as url:
        assert place.fetch(endpoint("huggingface", url)).returncode == 0
    place.lock.write_text(place.lock.read_text().replace(SUMS["rows.jsonl"], "f" * 64))
    bad = verify(place)
    assert bad.returncode == 2
    for named in ("rows.jsonl", SUMS["rows.jsonl"], str(place.lock), "f" * 64):
        assert named in bad.stdout


def test_a_hub_source_that_the_lock_knows_nothing_of_is_wrong(tmp_path: Path) -> None:
    place = InRoot(tmp_path / "root")
    with serve(good_hub()) as url:
        assert place.fetch(endpoint("huggingface", url)).returncode == 0
    place.lock.unlink()
    result = verify(place)
    assert result.returncode == 2
    assert result.stdout.split()[:2] == ["WRONG", "datasets.mine:"]
    manifest = place.out / "manifest.json"
    with pytest.raises(UserError) as raised:  # before anything is trained on it
        check_lock(Lock(place.lock), "datasets", manifest)
    assert raised.value.where == str(manifest)
    assert str(place.lock) in raised.value.message
    assert str(raised.value) in result.stdout


def write_manifest(root: Path, name: str, content: str) -> Path:
    path = root / "datasets" / name / "manifest.json"
    path.parent.mkdir(parents=True)
    path.write_text(content)
    return path


@pytest.mark.parametrize(
    "content", ["{}", "[]", "3", "{", '{"name": "mine", "source": {"kind": "hub"}, "files": [3]}']
)
def test_a_manifest_that_is_none_is_wrong_and_the_rest_is_checked(
    tmp_path: Path, content: str
) -> None:
    place = InRoot(tmp_path / "root")
    path = write_manifest(place.folder, "bad", content)
    kept = {"name": "own", "source": {"kind": "local", "test": "a"}, "files": []}
    write_manifest(place.folder, "own", json.dumps(kept))
    with serve(good_hub()) as url:
        assert place.fetch(endpoint("huggingface", url)).returncode == 0
    result = verify(place)
    assert result.returncode == 2
    lines = result.stdout.splitlines()
    assert lines[0] == f"{'WRONG':15} datasets.bad: 0 files, 0 B"
    assert f"{path}: " in lines[1]
    assert lines[2].startswith(f"{'locked':15} datasets.mine: 2 files")
    assert lines[3] == f"{'not from a hub':15} datasets.own: 0 files, 0 B"
    assert lines[4].endswith(": datasets.bad")
    with pytest.raises(UserError) as raised:
        check_lock(Lock(place.lock), "datasets", path)
    assert raised.value.where == str(path)


def test_what_cannot_be_read_is_wrong_and_the_rest_is_checked(tmp_path: Path) -> None:
    place = InRoot(tmp_path / "root")
    path = place.folder / "datasets" / "bad" / "manifest.json"
    path.mkdir(parents=True)
    with serve(good_hub()) as url:
        assert place.fetch(endpoint("huggingface", url)).returncode == 0
    result = verify(place)
    assert f"{path}: Is a directory" in result.stdout
    assert "\nlocked " in result.stdout
    assert "Traceback" not in result.stdout


def test_a_source_may_want_fewer_files_than_are_locked_but_no_others(tmp_path: Path) -> None:
    place = InRoot(tmp_path / "root")
    fewer = {"test": {"files": ["rows.jsonl"]}}
    with serve(good_hub()) as url:
        assert place.fetch(endpoint("huggingface", url)).returncode == 0
        result = place.fetch(endpoint("huggingface", url), splits=fewer)
    assert result.returncode == 0, result.stdout
    assert verify(place).returncode == 0
    path = place.out / "manifest.json"
    manifest = json.loads(path.read_text())
    (place.out / "more.jsonl").write_bytes(SMALL)
    more = {**manifest["files"][0], "path": "more.jsonl"}
    path.write_text(json.dumps({**manifest, "files": [*manifest["files"], more]}))
    result = verify(place)
    assert result.returncode == 2
    assert f"{path}: more.jsonl is {SUMS['rows.jsonl']}" in result.stdout


def test_a_broken_lock_is_named(place: Place) -> None:
    place.folder.mkdir()
    place.lock.write_text("datasets: {mine: {files: {a: {bytes: 1, sha256: abc}}}}")
    with serve(good_hub()) as url:
        result = place.fetch(endpoint("huggingface", url))
    assert result.returncode == 2
    assert f"{place.lock}: datasets.mine.first_seen" in result.stdout


def test_in_a_log_progress_is_lines_with_rate_and_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LINES", 0.0)
    clock = iter(float(second) for second in range(100))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with progress.Progress("models.mine", 10_000_000) as shown:
        shown.has("weights", 4_000_000)
        shown.received("weights", 3_000_000)
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("models.mine: 4 MB of 10 MB, 0 B/s, ")
    assert second.startswith("models.mine: 7 MB of 10 MB, ")
    assert second.endswith(" left")


def test_on_a_terminal_there_is_a_bar(place: Place) -> None:
    hub = good_hub()
    hub.faults = [Fault("GET /content", stall=1.0)]
    with serve(hub) as url:
        command = place.command(endpoint("huggingface", url))
        terminal, end = pty.openpty()
        process = subprocess.Popen(
            command, env=clean_environment() | {"TERM": "xterm"}, stdout=end, stderr=end
        )
        os.close(end)
        shown = b""
        while True:
            try:
                block = os.read(terminal, 4096)
            except OSError:
                break
            if not block:
                break
            shown += block
        assert process.wait() == 0
    text = shown.decode()
    assert "━" in text
    assert "MB/s" in text or "kB/s" in text or "bytes/s" in text
