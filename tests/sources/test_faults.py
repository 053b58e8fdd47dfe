"""A misbehaving hub: the next endpoint serves, or the error is one line."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fetching import (
    FILES,
    KINDS,
    LARGE,
    REPO,
    SUMS,
    Place,
    clean_environment,
    dead_address,
    good_hub,
)
from fetching import endpoint as endpoint_of
from hub import Fault, Hub, serve

pytestmark = pytest.mark.slow

LARGE_FILE = r"GET .*train\.parquet"
CONTENT = r"GET .*(train\.parquet|rows\.jsonl)"

# Faults, what a user reads where there is no other endpoint, and None where one hub gets over it.
FAULTS: dict[str, tuple[list[Fault], str | None]] = {
    "status 500 for ever": ([Fault("GET", status=500)], "HTTP status 500"),
    "status 503 once": ([Fault(CONTENT, status=503, times=1)], None),
    "status 429, try later": (
        [Fault(CONTENT, status=429, times=1, headers={"Retry-After": "1"})],
        None,
    ),
    "no such repository": (
        [Fault("GET .*/api/", status=404, headers={"X-Error-Code": "RepoNotFound"})],
        "no (such )?repository",
    ),
    "no access": ([Fault("GET", status=403)], "HTTP status 403"),
    "stall for ever": ([Fault(LARGE_FILE, stall=30)], "[Tt]ime(d )?out"),
    "stall once": ([Fault(LARGE_FILE, stall=30, times=1)], None),
    "truncated body, ranges": ([Fault(LARGE_FILE, truncate=1_500_000)], None),
    "truncated body, no ranges": (
        [Fault(LARGE_FILE, truncate=1_500_000, no_ranges=True)],
        "closed|broken|Incomplete|IncompleteRead|peer",
    ),
    "short body that looks whole": (
        [Fault(LARGE_FILE, short=1_000_000, no_ranges=True)],
        "1000000 bytes, not 3145728",
    ),
    "wrong bytes, right length": (
        [Fault(LARGE_FILE, corrupt=True)],
        f"wrong bytes: .*{SUMS['data/train.parquet']}.*[0-9a-f]{{64}}",
    ),
    "wrong bytes of a small file": (
        [Fault(r"GET .*rows\.jsonl", corrupt=True)],
        "wrong bytes",
    ),
    "wrong ETag": ([Fault(CONTENT, headers={"ETag": '"beef"', "X-Linked-Etag": '"beef"'})], None),
    "redirect to a dead host": (
        [Fault(CONTENT, redirect=dead_address() + "/x")],
        "[Cc]onnect",
    ),
}


def settled(place: Place, result: "subprocess.CompletedProcess[str]") -> None:
    """Whatever happened: only right bytes have a name, and errors are one line."""
    assert "Traceback" not in result.stdout, result.stdout
    found = place.files()
    assert found.items() <= SUMS.items(), "wrong bytes under a right name"
    if result.returncode:
        assert not (place.out / "manifest.json").exists()
        assert result.stdout.splitlines()[-1].startswith("error: datasets.mine")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", FAULTS)
def test_fault(name: str, kind: str, tmp_path: Path) -> None:
    faults, message = FAULTS[name]
    # One that goes on must go on on a loaded machine too.
    patience = {"timeout": 5 if message is None else 2}
    hub, other = good_hub(), good_hub()
    with serve(hub) as url, serve(other) as good:
        hub.faults = [fault.again() for fault in faults]
        alone = Place(tmp_path / "alone")
        result = alone.fetch(endpoint_of(kind, url) | patience)
        settled(alone, result)
        if message is None:
            assert result.returncode == 0, result.stdout
            assert alone.is_complete()
        else:
            assert result.returncode == 2, result.stdout
            assert re.search(message, result.stdout.splitlines()[-1]), result.stdout
            assert f"{kind} {url}" in result.stdout.splitlines()[-1]
        hub.faults = [fault.again() for fault in faults]
        chained = Place(tmp_path / "chained")
        second = chained.fetch(endpoint_of(kind, url) | patience, endpoint_of(kind, good))
        settled(chained, second)
        assert second.returncode == 0, second.stdout
        assert chained.is_complete()
        assert bool(other.requests) == (message is not None)


@pytest.mark.parametrize("kind", KINDS)
def test_connection_refused(kind: str, tmp_path: Path) -> None:
    alone, chained = Place(tmp_path / "alone"), Place(tmp_path / "chained")
    result = alone.fetch(endpoint_of(kind, dead_address()))
    settled(alone, result)
    assert result.returncode == 2
    other = "modelscope" if kind == "huggingface" else "huggingface"
    with serve(good_hub()) as good:
        second = chained.fetch(endpoint_of(kind, dead_address()), endpoint_of(other, good))
    assert chained.is_complete(), second.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_an_endpoint_that_is_down_is_left_alone_for_the_other_files(
    kind: str, tmp_path: Path
) -> None:
    place, hub = Place(tmp_path / "place"), good_hub()
    many = {f"data/part{i}.parquet": bytes([i]) * 1000 for i in range(30)} | FILES
    other = Hub()
    for each in (hub, other):
        each.put("datasets", REPO, many)
    with serve(hub) as url, serve(other) as good:
        hub.faults = [Fault(CONTENT.replace("train", r"\w+"), status=500)]
        result = place.fetch(endpoint_of(kind, url), endpoint_of(kind, good))
    assert result.returncode == 0, result.stdout
    # Four at once, two attempts each.
    assert len(hub.downloads("")) <= 4 * 2 + 8


def test_a_file_that_one_endpoint_began_another_goes_on_with(tmp_path: Path) -> None:
    place, hub, other = Place(tmp_path), good_hub(), good_hub()
    with serve(hub) as url, serve(other) as good:
        hub.faults = [
            Fault(r"GET .*train\.parquet.*", truncate=2_000_000, times=1),
            Fault(r"GET .*train\.parquet.*", status=500),
        ]
        # Without LFS redirects, so that the first fault meets the body.
        result = place.fetch(endpoint_of("modelscope", url), endpoint_of("huggingface", good))
    assert place.is_complete(), result.stdout
    redirect, content = (request.range for request in other.downloads("train.parquet"))
    assert redirect == content
    start = int(content.removeprefix("bytes=").rstrip("-"))
    assert 2_000_000 - (1 << 16) <= start <= 2_000_000


def test_a_first_part_of_wrong_bytes_costs_no_good_endpoint(tmp_path: Path) -> None:
    place, hub, other = Place(tmp_path), good_hub(), good_hub()
    with serve(hub) as url, serve(other) as good:
        hub.faults = [Fault("GET .*train", corrupt=True, short=2_000_000, times=1)]
        hub.faults += [Fault("GET .*train", status=500)]
        result = place.fetch(endpoint_of("modelscope", url), endpoint_of("huggingface", good))
    assert place.is_complete(), result.stdout
    assert [r.range for r in other.downloads("train.parquet")][-1] == "", "once more, as a whole"


@pytest.mark.parametrize("kind", KINDS)
def test_killed_in_the_middle(kind: str, tmp_path: Path) -> None:
    place, hub = Place(tmp_path / "place"), good_hub()
    with serve(hub) as url:
        pausing = Fault("GET .*(content|repo).*train", pause_at=2 << 20, times=1)
        hub.faults = [pausing]
        process = subprocess.Popen(
            place.command(endpoint_of(kind, url, timeout=60)),
            env=clean_environment(),
            stdout=subprocess.DEVNULL,
        )
        assert pausing.paused.wait(60)
        partial = place.out / ".partial"
        while not any(path.stat().st_size >= 2 << 20 for path in partial.iterdir()):
            assert process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
        pausing.go_on.set()
        assert "data/train.parquet" not in place.files()
        hub.requests.clear()
        result = place.fetch(endpoint_of(kind, url))
        assert place.is_complete(), result.stdout
        assert hub.downloads("train.parquet")[-1].range == f"bytes={2 << 20}-"


@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_at_once(kind: str, tmp_path: Path) -> None:
    place, hub = Place(tmp_path / "place"), good_hub()
    with serve(hub) as url:
        hub.faults = [Fault("GET .*(content|repo).*train", stall=1.0)]
        command = place.command(endpoint_of(kind, url, timeout=60))
        both = [
            subprocess.Popen(command, env=clean_environment(), stdout=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        printed = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], printed
    assert place.is_complete()
    contents = [r for r in hub.downloads("train.parquet") if "/resolve/" not in r.line]
    assert len(contents) == 1, "one of them waited"
    assert any("another process" in text for text in printed)


def locked_place(folder: Path, kind: str) -> Place:
    """A place whose lock knows the files, with nothing fetched."""
    place = Place(folder)
    with serve(good_hub()) as url:
        assert place.fetch(endpoint_of(kind, url)).returncode == 0
    shutil.rmtree(place.out)
    return place


@pytest.mark.parametrize("kind", KINDS)
def test_a_branch_that_moved(kind: str, tmp_path: Path) -> None:
    place, hub = locked_place(tmp_path / "place", kind), good_hub()
    hub.put("datasets", REPO, {**FILES, "data/train.parquet": LARGE[::-1]})
    with serve(hub) as url:
        result = place.fetch(endpoint_of(kind, url))
    settled(place, result)
    if kind == "huggingface":  # the lock knows the commit, which is asked for
        assert place.is_complete(), result.stdout
    else:
        assert result.returncode == 2
        assert SUMS["data/train.parquet"] in result.stdout


def test_a_commit_that_is_gone(tmp_path: Path) -> None:
    place, hub = locked_place(tmp_path / "place", "huggingface"), good_hub()
    commit = hub.branch["datasets", REPO]
    hub.put("datasets", REPO, {**FILES, "data/train.parquet": LARGE[::-1]})
    hub.forget("datasets", REPO, commit)
    with serve(hub) as url:
        result = place.fetch(endpoint_of("huggingface", url))
    settled(place, result)
    assert commit in result.stdout.splitlines()[-1]


@pytest.mark.parametrize("kind", KINDS)
def test_the_good_copy_stays_when_a_mirror_has_wrong_bytes(kind: str, tmp_path: Path) -> None:
    place, hub = Place(tmp_path / "place"), good_hub()
    with serve(hub) as url:
        assert place.fetch(endpoint_of(kind, url)).returncode == 0
        (place.out / "rows.jsonl").unlink()
        hub.faults = [Fault(CONTENT, corrupt=True)]
        result = place.fetch(endpoint_of(kind, url))
    assert result.returncode == 2
    assert place.files() == {"data/train.parquet": SUMS["data/train.parquet"]}
    assert (place.out / "manifest.json").is_file()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 80 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=80m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("no right to mount a small disk here")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def fill(path: Path) -> None:
    """Write until the disk has no block left."""
    with path.open("wb", buffering=0) as stream, contextlib.suppress(OSError):
        while stream.write(bytes(1 << 12)):
            pass


@pytest.mark.parametrize("kind", KINDS)
def test_no_room(kind: str, tmp_path: Path, small_disk: Path) -> None:
    place, hub = Place(small_disk / "place"), Hub()
    hub.put("datasets", REPO, {**FILES, "data/train.parquet": bytes(30 << 20)})
    with serve(hub) as url:
        result = place.fetch(endpoint_of(kind, url))
    assert result.returncode == 2
    assert "31.5 MB" in result.stdout
    assert not hub.downloads("train.parquet"), "not one byte"


@pytest.mark.parametrize("kind", KINDS)
def test_the_disk_fills_up(kind: str, tmp_path: Path, small_disk: Path) -> None:
    place, hub = Place(small_disk / "place"), good_hub()
    with serve(hub) as url:
        pausing = Fault("GET .*(content|repo).*train", pause_at=1 << 20, times=1)
        hub.faults = [pausing]
        process = subprocess.Popen(
            place.command(endpoint_of(kind, url, timeout=60)),
            env=clean_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert pausing.paused.wait(60)
        fill(small_disk / "other")
        pausing.go_on.set()
        printed = process.communicate(timeout=60)[0]
        assert process.returncode == 2
        assert "the disk is full" in printed.splitlines()[-1]
        assert "Traceback" not in printed
        (small_disk / "other").unlink()
        result = place.fetch(endpoint_of(kind, url))
        assert place.is_complete(), result.stdout


def test_the_wrong_kind_of_endpoint_is_named(tmp_path: Path) -> None:
    wrong: list[dict[str, Any]] = [{"ftp": "x"}, {"huggingface": "hf-mirror.com"}]
    for given in wrong:
        result = Place(tmp_path).fetch(given)
        assert result.returncode == 2
        assert "endpoints.0" in result.stdout.splitlines()[-1]
        assert "Traceback" not in result.stdout
