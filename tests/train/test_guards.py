"""Guards: when a training saves and ends, and what it says."""

import json
import shutil
import time
from collections import namedtuple
from pathlib import Path

import pytest

from r1zero.core.errors import UserError
from r1zero.train import attempts, checkpoints, guards, metrics
from r1zero.train.guards import Guards, Limits, Verdict
from r1zero.train.recording import Recorder

ON, SAVE, END = Verdict(False, False), Verdict(True, False), Verdict(True, True)


def row(step: int, **values: float) -> dict[str, float]:
    return {"step": step, "loss": 0.1, "step_time": 0.1, **values}


def test_without_limits_it_saves_when_a_checkpoint_is_due(tmp_path: Path) -> None:
    guard = Guards(tmp_path, max_steps=4)
    guard.start()
    assert [guard.after_step(row(n), saves=n % 2 == 0) for n in range(1, 5)] == [ON, SAVE] * 2


def test_it_saves_and_ends_ahead_of_the_limit_between_shared_steps_never(tmp_path: Path) -> None:
    Limits(ends_at=time.time() + 3, cause="the night").write(tmp_path)
    guard = Guards(tmp_path, max_steps=8, shared_steps=2)
    guard.start()
    # Saving alone may take longer than the three seconds.
    assert guard.after_step(row(1), saves=False) == ON
    assert guard.after_step(row(2), saves=False) == END
    assert guards.heartbeat(tmp_path)["stopped"] == "the night"
    with pytest.raises(UserError) as raised:
        guards.check_it_finished(tmp_path, 2, 8)
    assert "the night" in raised.value.message


def test_the_last_step_is_the_end_whatever_the_limit(tmp_path: Path) -> None:
    Limits(ends_at=time.time() - 9).write(tmp_path)
    guard = Guards(tmp_path, max_steps=2)
    assert guard.after_step(row(1), saves=False) == END
    assert guard.after_step(row(2), saves=True) == SAVE
    guards.check_it_finished(tmp_path, 2, 2)


def test_a_limit_far_away_ends_nothing_and_one_that_moves_to_now_does(tmp_path: Path) -> None:
    limits = Limits(ends_at=time.time() + 3600)
    limits.write(tmp_path)
    guard = Guards(tmp_path, max_steps=8)
    assert guards.ask_to_end(tmp_path, limits, "SIGTERM", 60.0) == 0  # it is loading
    guard.start()
    assert guard.after_step(row(1), saves=False) == ON
    assert guards.ask_to_end(tmp_path, limits, "SIGTERM", 0.0) == 0  # there is no time
    assert guard.after_step(row(2), saves=False) == ON
    assert guards.ask_to_end(tmp_path, limits, "SIGTERM", 60.0) == 60
    assert guard.after_step(row(3), saves=False) == END
    guards.forget(tmp_path)
    assert guards.heartbeat(tmp_path) == {}


def test_a_disk_without_room_for_a_checkpoint_ends_it_before_saving(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, 1_500_000))
    Limits(checkpoint_bytes=1_000_000).write(tmp_path)
    guard = Guards(tmp_path, max_steps=8)
    guard.start()
    assert guard.after_step(row(1), saves=True) == SAVE
    # It was larger than planned.
    checkpoint = tmp_path / "checkpoint-1"
    checkpoint.mkdir()
    (checkpoint / "model.safetensors").write_bytes(bytes(1_400_000))
    guard.saved(checkpoint)
    assert guard.after_step(row(2), saves=False) == ON
    assert guard.after_step(row(3), saves=True) == Verdict(save=False, stop=True)
    assert "1.5 MB" in guards.heartbeat(tmp_path)["stopped"]


@pytest.mark.parametrize(
    ("on_collapse", "verdict"), [("warn", SAVE), ("stop", Verdict(save=False, stop=True))]
)
def test_a_loss_that_is_no_number_warns_or_ends_without_saving(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], on_collapse: str, verdict: Verdict
) -> None:
    Limits(on_collapse=on_collapse).write(tmp_path)
    guard = Guards(tmp_path, max_steps=8)
    assert guard.after_step(row(1, loss=float("nan")), saves=True) == verdict
    assert "step 1: loss" in capsys.readouterr().out


def test_a_checkpoint_that_was_not_due_goes_when_the_next_is_there(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, config_hash="any", optimizer_states=(), max_steps=8, save_steps=4)
    for step in (3, 4, 8):
        (tmp_path / f"checkpoint-{step}").mkdir()
        recorder.checkpoint(step)
        assert list(checkpoints.sealed(tmp_path)) == {3: [3], 4: [4], 8: [4, 8]}[step]


def test_attempts_say_how_each_ended(tmp_path: Path) -> None:
    def trained(step: int, error: BaseException | None = None) -> None:
        metrics.append(tmp_path / "metrics.jsonl", {"step": step})
        if error:
            raise error

    failure = UserError("the trainer ended with status 1", where="console.log")
    with pytest.raises(UserError), attempts.recorded(tmp_path, "hash", 0):
        trained(1, failure)
    with pytest.raises(SystemExit), attempts.recorded(tmp_path, "hash", 1):
        trained(2, SystemExit(143))
    # Killed: nothing was recorded at its end.
    with attempts.recorded(tmp_path, "hash", 2):
        before = (tmp_path / "attempts.jsonl").read_bytes()
        trained(3)
    (tmp_path / "attempts.jsonl").write_bytes(before)
    with attempts.recorded(tmp_path, "hash", 2):
        trained(4)
    found = attempts.described(tmp_path)
    assert [(each["from"], each["trained"], each["cause"]) for each in found] == [
        (0, 1, "the trainer ended with status 1"),
        (1, 2, "SIGTERM"),
        (2, 3, "killed"),
        (2, 4, "finished"),
    ]
    with attempts.recorded(tmp_path, "other", 0):
        pass
    assert len(attempts.described(tmp_path)) == 1
    assert json.loads((tmp_path / "attempts.jsonl").read_text())["config_hash"] == "other"
