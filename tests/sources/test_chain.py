"""What a chain of endpoints must not do: mix files, tell secrets, trust guesses, delete."""

from pathlib import Path

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
    dead_address,
    endpoint,
    good_hub,
)
from hub import Fault, Hub, serve

WHOLE = {name: content for name, content in FILES.items()}
OLD = {"rows.jsonl": SMALL, "data/train.parquet": LARGE[::-1]}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "place")


def test_a_listing_of_sizes_alone_mixes_no_endpoints(place: Place) -> None:
    """A folder lists no checksums; a hub with other bytes of the same sizes begins a file."""
    root = as_repository(place.folder / "shared", "datasets", REPO, FILES)
    hub = Hub()
    hub.put("datasets", REPO, OLD)
    hub.faults = [Fault("GET /api", status=500), Fault("GET .*train", truncate=2_000_000)]
    with serve(hub) as url:
        result = place.fetch(endpoint("huggingface", url), {"local": str(root)})
    assert place.is_complete(), result.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_a_hub_that_tells_no_sizes_is_no_hub(kind: str, place: Place) -> None:
    hub = good_hub()
    hub.without_sizes = True
    with serve(hub) as url:
        result = place.fetch(endpoint(kind, url))
    assert result.returncode == 2
    assert result.stdout.splitlines()[-1].startswith("error: datasets.mine: ")
    assert not place.lock.exists()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("page", [b"<html>log in</html>", b"[]", b"{}", b"3"])
def test_a_portal_is_no_hub_and_the_next_endpoint_serves(
    kind: str, page: bytes, place: Place
) -> None:
    hub = good_hub()
    hub.faults = [Fault("GET", page=page)]
    with serve(hub) as url, serve(good_hub()) as good:
        result = place.fetch(endpoint(kind, url), endpoint(kind, good))
    assert "Traceback" not in result.stdout
    assert place.is_complete(), result.stdout


def test_not_a_byte_of_a_portals_page_is_kept(place: Place) -> None:
    hub, other = good_hub(), good_hub()
    hub.faults = [Fault("GET /content", page=b"<html>log in</html>" * 50)]
    with serve(hub) as url, serve(other) as good:
        result = place.fetch(endpoint("huggingface", url), endpoint("huggingface", good))
    assert place.is_complete(), result.stdout
    assert [request.range for request in other.downloads("train.parquet")] == ["", ""]


@pytest.mark.parametrize("end", ["\r", "\n", " "])
@pytest.mark.parametrize("kind", KINDS)
def test_a_token_with_a_line_end_is_the_token(kind: str, end: str, place: Place) -> None:
    hub = good_hub()
    with serve(hub) as url:
        result = place.fetch(
            endpoint(kind, url, token_from="MINE"), environment={"MINE": "abcdef123456" + end}
        )
    assert place.is_complete(), result.stdout
    assert any("Bearer abcdef123456" in request.authorization for request in hub.requests)


def test_a_token_that_is_none_is_named_and_not_shown(place: Place) -> None:
    result = place.fetch(
        endpoint("huggingface", dead_address(), token_from="MINE"),
        environment={"MINE": "schlüssel-geheim"},
    )
    assert result.returncode == 2
    assert "error: environment: MINE: " in result.stdout
    assert "geheim" not in result.stdout


def test_a_login_in_netrc_is_not_told(place: Place, tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password hunter2secret\n")
    (tmp_path / ".netrc").chmod(0o600)
    for kind in KINDS:
        hub = good_hub()
        with serve(hub) as url:
            there = Place(tmp_path / kind)
            result = there.fetch(endpoint(kind, url), environment={"HOME": str(tmp_path)})
        assert there.is_complete(), result.stdout
        assert not any(request.authorization for request in hub.requests)


def test_a_guessed_name_is_not_trusted_on_first_use(place: Place) -> None:
    guess = {"modelscope": {"repo": REPO, "verified": False}}
    with serve(good_hub()) as url:
        first = place.fetch(endpoint("modelscope", url), **guess)
        assert first.returncode == 2
        assert "not trusted on first use" in first.stdout
        assert not place.lock.exists()
        assert place.fetch(endpoint("huggingface", url)).returncode == 0
        (place.out / "rows.jsonl").unlink()
        # What the lock knows it may serve.
        result = place.fetch(endpoint("modelscope", url), **guess)
    assert place.is_complete(), result.stdout


def test_a_folder_of_somebody_elses_is_left_alone(place: Place) -> None:
    place.out.mkdir(parents=True)
    (place.out / "thesis.txt").write_text("years of work")
    with serve(good_hub()) as url:
        result = place.fetch(endpoint("huggingface", url))
    assert result.returncode == 2
    assert f"error: datasets.mine: {place.out}: " in result.stdout
    assert (place.out / "thesis.txt").read_text() == "years of work"


def test_a_folder_never_holds_two_versions(place: Place) -> None:
    hub = Hub()
    hub.put("datasets", REPO, OLD)
    with serve(hub) as url:
        assert place.fetch(endpoint("huggingface", url)).returncode == 0
        before = place.files()
        place.lock.unlink()
        new = {"rows.jsonl": SMALL[::-1], "data/train.parquet": LARGE}
        hub.put("datasets", REPO, new)
        hub.faults = [Fault("GET .*train", status=404, headers={"X-Error-Code": "EntryNotFound"})]
        assert place.fetch(endpoint("huggingface", url)).returncode == 2
        assert place.files() == before
        hub.faults.clear()
        assert place.fetch(endpoint("huggingface", url)).returncode == 0
    assert place.files() != before


def test_a_link_that_a_killed_run_left_is_not_written_through(place: Place) -> None:
    shared = place.folder / "shared.bin"
    place.folder.mkdir(parents=True)
    shared.write_bytes(b"ours")
    with serve(good_hub()) as url:
        hub = Fault("GET .*train", status=500)
        first = good_hub()
        first.faults = [hub]
        with serve(first) as broken:
            assert place.fetch(endpoint("huggingface", broken)).returncode == 2
        for partial in (place.out / ".partial").iterdir():
            partial.unlink()
            partial.symlink_to(shared)
        result = place.fetch(endpoint("huggingface", url))
    assert place.is_complete(), result.stdout
    assert shared.read_bytes() == b"ours"


def test_a_server_that_knows_no_ranges_and_breaks_off_is_given_up(place: Place) -> None:
    hub = good_hub()
    hub.faults = [
        Fault("GET /content", truncate=length, no_ranges=True, times=1)
        for length in (900_000, 400_000) * 4
    ]
    with serve(hub) as url:
        result = place.fetch(endpoint("huggingface", url))
    assert result.returncode == 2
    contents = [r for r in hub.downloads("train.parquet") if "/content/" in r.line]
    assert len(contents) <= 4


def test_a_mirror_is_asked_for_the_commit_that_was_listed(place: Place) -> None:
    first, mirror = good_hub(), good_hub()
    mirror.put("datasets", REPO, OLD)  # its branch has moved on; the commit is still there
    first.faults = [Fault("GET .*(resolve|content)", status=500)]
    with serve(first) as url, serve(mirror) as other:
        result = place.fetch(endpoint("huggingface", url), endpoint("huggingface", other))
    assert place.is_complete(), result.stdout


def test_a_revision_that_the_table_now_names_is_not_the_locked_one(place: Place) -> None:
    with serve(good_hub()) as url:
        assert place.fetch(endpoint("huggingface", url)).returncode == 0
        other = {"huggingface": {"repo": REPO, "revision": "v2"}}
        result = place.fetch(endpoint("huggingface", url), **other)
    assert result.returncode == 2
    assert f"error: {place.lock}: datasets.mine: " in result.stdout
    assert f"{REPO} at v2" in result.stdout


def test_a_lock_without_entries_is_empty(place: Place) -> None:
    place.folder.mkdir()
    place.lock.write_text("datasets:\nmodels:\n")
    with serve(good_hub()) as url:
        assert place.fetch(endpoint("huggingface", url)).returncode == 0
    assert place.is_complete()
    entry = yaml.safe_load(place.lock.read_text())["datasets"]["mine"]
    assert {path: file["sha256"] for path, file in entry["files"].items()} == SUMS


def test_a_shared_file_that_we_may_not_read_is_passed_over(place: Place) -> None:
    root = as_repository(place.folder / "shared", "datasets", REPO, FILES)
    (root / "datasets" / REPO / "rows.jsonl").unlink()
    (root / "datasets" / REPO / "rows.jsonl").symlink_to("rows.jsonl")  # a loop
    with serve(good_hub()) as url:
        result = place.fetch({"local": str(root)}, endpoint("huggingface", url))
    assert "Traceback" not in result.stdout
    assert place.is_complete(), result.stdout


def test_hf_endpoint_is_an_address(place: Place) -> None:
    result = place.fetch({"huggingface": "auto"}, environment={"HF_ENDPOINT": "hf-mirror.example"})
    assert result.returncode == 2
    assert "error: environment: HF_ENDPOINT: " in result.stdout


def test_the_same_address_is_tried_once(place: Place) -> None:
    url = dead_address()
    result = place.fetch(
        endpoint("huggingface", "auto"),
        endpoint("huggingface", url),
        environment={"HF_ENDPOINT": url},
    )
    assert result.returncode == 2
    assert result.stdout.splitlines()[-1].count(url) == 1
