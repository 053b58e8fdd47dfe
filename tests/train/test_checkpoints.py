"""The folder of checkpoints: complete ones only, of one configuration, for one trainer."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from r1zero.core.errors import UserError
from r1zero.train.checkpoints import (
    bind_to_run,
    drop_incomplete,
    exclusive,
    last_intact,
    prune_optimizer_states,
    seal,
    sealed,
    verify,
    weights_hash_of,
)

STATES = ("optimizer.*", "rng_state*.pth", "global_step*")
HOLD = """
import sys
from pathlib import Path
from r1zero.train.checkpoints import exclusive
with exclusive(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def run_json(**changes: str) -> dict[str, Any]:
    hashes = {"config_hash": "c" * 64, "data_hash": "d" * 64, "base_model": "b" * 64, **changes}
    return {**hashes, "base_model": {"sha256": hashes["base_model"]}, "settings": {"seed": 0}}


def write_checkpoint(folder: Path, step: int, *, complete: bool = True) -> Path:
    path = folder / f"checkpoint-{step}"
    (path / "more").mkdir(parents=True)
    (path / "model.safetensors").write_text(f"weights of step {step}")
    (path / "more" / "optimizer.pt").write_text("moments")
    if complete:
        seal(path, "c" * 64)
    return path


def test_sealed_are_the_complete_ones_in_the_order_of_their_steps(tmp_path: Path) -> None:
    for step in (10, 2, 100):
        write_checkpoint(tmp_path, step)
    write_checkpoint(tmp_path, 4, complete=False)
    (tmp_path / "checkpoint-final").mkdir()
    assert list(sealed(tmp_path)) == [2, 10, 100]
    assert sealed(tmp_path)[10] == tmp_path / "checkpoint-10"
    assert sealed(tmp_path / "nowhere") == {}


def test_incomplete_ones_are_deleted_and_named(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, 2)
    write_checkpoint(tmp_path, 4, complete=False)
    (tmp_path / "checkpoint-6").mkdir()
    (tmp_path / "metrics.jsonl").touch()
    assert drop_incomplete(tmp_path) == ["checkpoint-4", "checkpoint-6"]
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint-2", "metrics.jsonl"}
    assert drop_incomplete(tmp_path) == []


def test_a_seal_lists_every_file_and_holds_while_none_changes(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, 2)
    content = json.loads((path / "checkpoint.json").read_text())
    assert content["config_hash"] == "c" * 64
    assert [entry["path"] for entry in content["files"]] == [
        "model.safetensors",
        "more/optimizer.pt",
    ]
    verify(path)


@pytest.mark.parametrize("name", ["model.safetensors", "more/optimizer.pt"])
def test_a_changed_or_missing_file_is_named(tmp_path: Path, name: str) -> None:
    path = write_checkpoint(tmp_path, 2)
    (path / name).write_text("other")
    with pytest.raises(UserError) as raised:
        verify(path)
    assert raised.value.where == str(path / name)
    (path / name).unlink()
    with pytest.raises(UserError) as raised:
        verify(path)
    assert raised.value.where == str(path / name)


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.pt", "checkpoint.json"])
@pytest.mark.parametrize("damage", [flip_a_bit, truncate, Path.unlink])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    tmp_path: Path, name: str, damage: Callable[[Path], None]
) -> None:
    for step in (2, 4, 6):
        path = write_checkpoint(tmp_path, step, complete=False)
        (path / "optimizer.pt").write_text("moments")
        seal(path, "c" * 64)
    damage(tmp_path / "checkpoint-6" / name)
    assert last_intact(tmp_path, STATES) == tmp_path / "checkpoint-4"
    drop_incomplete(tmp_path)  # as it is without its seal
    assert not (tmp_path / "checkpoint-6").exists()


def test_no_checkpoint_is_intact_where_all_are_damaged(tmp_path: Path) -> None:
    for step in (2, 4):
        truncate(write_checkpoint(tmp_path, step) / "model.safetensors")
    assert last_intact(tmp_path, STATES) is None
    assert last_intact(tmp_path / "nowhere", STATES) is None


def test_weights_without_optimizer_states_are_kept_and_not_gone_on_from(tmp_path: Path) -> None:
    for step in (2, 4):
        path = write_checkpoint(tmp_path, step, complete=False)
        (path / "optimizer.pt").write_text("moments")
        seal(path, "c" * 64)
    prune_optimizer_states(tmp_path, 1, STATES)
    truncate(tmp_path / "checkpoint-4" / "optimizer.pt")
    with pytest.raises(UserError) as raised:
        last_intact(tmp_path, STATES)
    assert raised.value.where == str(tmp_path / "checkpoint-2")
    verify(tmp_path / "checkpoint-2")


def test_identity_is_that_of_the_weights_alone(tmp_path: Path) -> None:
    first, second = write_checkpoint(tmp_path / "a", 2), write_checkpoint(tmp_path / "b", 2)
    (second / "more" / "optimizer.pt").write_text("others")
    seal(second, "c" * 64)
    assert weights_hash_of(first) == weights_hash_of(second)
    (second / "model.safetensors").write_text("others")
    seal(second, "c" * 64)
    assert weights_hash_of(first) != weights_hash_of(second)


@pytest.mark.parametrize("key", ["config_hash", "data_hash", "base_model"])
def test_checkpoints_of_another_run_are_refused_with_both_hashes(tmp_path: Path, key: str) -> None:
    bind_to_run(tmp_path, run_json())
    write_checkpoint(tmp_path, 2)
    owner = (tmp_path / "run.json").read_bytes()
    with pytest.raises(UserError) as raised:
        bind_to_run(tmp_path, run_json(**{key: "a" * 64}))
    assert str(raised.value).startswith(
        f"{tmp_path}: holds checkpoints of another run: their {key} is {key[0] * 12}, "
        f"this run's is {'a' * 12} ("
    )
    assert (tmp_path / "run.json").read_bytes() == owner


def test_a_run_may_claim_its_own_folder_again(tmp_path: Path) -> None:
    for _ in range(2):
        bind_to_run(tmp_path, run_json())
        if not sealed(tmp_path):
            write_checkpoint(tmp_path, 2)


def test_without_a_complete_checkpoint_a_folder_goes_to_whoever_comes(tmp_path: Path) -> None:
    bind_to_run(tmp_path, run_json())
    write_checkpoint(tmp_path, 2, complete=False)
    bind_to_run(tmp_path, run_json(config_hash="a" * 64))
    owner = json.loads((tmp_path / "run.json").read_text())
    assert owner["identity"]["config_hash"] == "a" * 64


def hold(folder: Path) -> "subprocess.Popen[str]":
    """Another process that has the folder's lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_process_is_refused_until_the_first_is_done(tmp_path: Path) -> None:
    with hold(tmp_path / "new") as process:
        with pytest.raises(UserError) as raised, exclusive(tmp_path / "new"):
            pass
        assert raised.value.where == str(tmp_path / "new")
        process.communicate("")
    with exclusive(tmp_path / "new"):
        pass


def test_a_killed_process_holds_no_lock(tmp_path: Path) -> None:
    with hold(tmp_path) as process:
        process.kill()
        process.wait()
    with exclusive(tmp_path):
        pass


def test_an_error_releases_the_lock(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), exclusive(tmp_path):
        raise ZeroDivisionError
    with exclusive(tmp_path):
        pass


def test_optimizer_states_stay_with_the_last_checkpoints_and_weights_with_all(
    tmp_path: Path,
) -> None:
    for step in (2, 4, 10, 12):
        path = write_checkpoint(tmp_path, step, complete=False)
        (path / "optimizer.pt").write_text("moments")
        (path / "rng_state_0.pth").write_text("random")
        (path / "global_step2").mkdir()
        (path / "global_step2" / "shard.pt").write_text("a shard")
        seal(path, "c" * 64)
    before = {step: weights_hash_of(path) for step, path in sealed(tmp_path).items()}
    assert prune_optimizer_states(tmp_path, 2, STATES) == ["checkpoint-2", "checkpoint-4"]
    assert prune_optimizer_states(tmp_path, 2, STATES) == []
    assert {step: weights_hash_of(path) for step, path in sealed(tmp_path).items()} == before
    for step, path in sealed(tmp_path).items():
        verify(path)
        assert (path / "optimizer.pt").exists() == (path / "global_step2").exists() == (step > 4)
    # A run must be able to resume.
    assert prune_optimizer_states(tmp_path, 0, STATES) == ["checkpoint-10"]
