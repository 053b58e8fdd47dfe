"""Preflight: what the machine that trains must have, named before anything starts."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from torch.utils.file_baton import FileBaton

from r1zero.core.errors import UserError
from r1zero.settings.workflow import Tracking
from r1zero.train.preflight import Needs, check_machine
from tiny import stage


def missing(**needs: Any) -> UserError:
    with pytest.raises(UserError) as raised:
        check_machine(Needs(**needs))
    assert "\n" not in str(raised.value)
    return raised.value


def test_without_needs_any_machine_will_do() -> None:
    check_machine(Needs())


def test_gpus_that_are_not_there_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    check_machine(Needs(gpus=2))
    error = missing(gpus=4)
    assert error.where == "hardware.gpus"
    assert "4" in error.message
    assert "2" in error.message


def test_a_missing_package_is_named_with_its_installation() -> None:
    error = missing(packages={"json": "", "vllmm": "pip install vllmm"})
    assert (error.where, error.hint) == ("hardware.gpus", "pip install vllmm")
    assert "vllmm" in error.message


def test_a_killed_build_of_an_extension_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch holds the lock open while it builds, and a killed build leaves it."""
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    (tmp_path / "deepspeed.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / "cpu_adam" / "lock"
    path.parent.mkdir()
    baton = FileBaton(str(path))
    assert baton.try_acquire()
    check_machine(Needs(packages={"deepspeed": ""}))
    assert baton.fd is not None
    os.close(baton.fd)
    check_machine(Needs())
    assert missing(packages={"deepspeed": ""}).where == str(path)
    path.unlink()
    check_machine(Needs(packages={"deepspeed": ""}))


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("my_rewards.brevity", ""),
        ("my_rewards.brevitty", "brevitty"),
        ("my_rewards.os", ""),
        ("their_rewards.brevity", "their_rewards"),
        ("broken_rewards.brevity", "boom"),
    ],
)
def test_the_reward_functions_of_the_user_are_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, reason: str
) -> None:
    (tmp_path / "my_rewards.py").write_text("import os\ndef brevity(**_): return []\n")
    (tmp_path / "broken_rewards.py").write_text("raise OSError('boom')\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("my_rewards", "broken_rewards"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    if path == "my_rewards.brevity":
        check_machine(Needs(reward_functions={path: "mine"}))
        return
    error = missing(reward_functions={path: "mine"})
    assert "mine" in error.where
    assert path in error.where
    assert reason in error.message


def test_a_tracker_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    error = missing(tracking=Tracking(to=["wandb"]))
    assert error.where == "tracking.to"
    assert "wandb" in str(error)


def test_the_command_takes_what_the_workflow_computes() -> None:
    stage("preflight", Needs(packages={"json": ""}).model_dump_json())


@pytest.mark.parametrize("needs", ["{", '{"gpu": 1}'])
def test_the_command_refuses_what_it_does_not_know(needs: str) -> None:
    with pytest.raises(UserError) as raised:
        stage("preflight", needs)
    assert raised.value.where == "preflight"
