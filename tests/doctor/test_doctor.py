"""The page on this machine: a real run, and each failure through what really causes it."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from hub import Hub, serve
from r1zero.cli import app
from r1zero.core.errors import UserError
from r1zero.doctor import checks
from r1zero.plan.driver import Device, Driver, torch_problem
from r1zero.train import preflight
from r1zero.train.preflight import Needs, check_machine
from tiny import CONFIG

GIB = 1 << 30
SECRET = "hf_ThisIsNoRealToken123"


def driver(*free: float, cuda: tuple[int, int] = (13, 0)) -> Driver:
    return Driver("580.1", cuda, [Device("GPU", 80 * GIB, int(gib * GIB)) for gib in free])


@pytest.fixture
def silent() -> Iterator[str]:
    """An address at which nothing listens."""
    with socket.socket() as held:  # bound and not listening: refused, and taken by nobody else
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}"


def configured(folder: Path, *endpoints: dict[str, str]) -> Path:
    config = yaml.safe_load((CONFIG / "config.yaml").read_text(encoding="utf-8"))
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config | {"endpoints": list(endpoints)}), encoding="utf-8")
    return path


def examined(*options: object) -> tuple[int, dict[str, dict[str, Any]], str]:
    result = CliRunner().invoke(app, ["doctor", "--json", *map(str, options)])
    lines = json.loads(result.stdout)
    return result.exit_code, {line["check"]: line for line in lines}, result.output


def test_every_line_has_a_state_and_a_trouble_says_what_to_do(
    tmp_path: Path, silent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", SECRET)
    monkeypatch.setenv("R1ZERO_TEST_TOKEN", f"{SECRET}2")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serve(Hub()) as address:
        config = configured(
            tmp_path,
            {"huggingface": address, "token_from": "R1ZERO_TEST_TOKEN"},
            {"modelscope": silent},
            {"local": str(tmp_path)},
        )
        status, lines, output = examined(
            "--configfile", config, "--checkpoints", tmp_path / "later" / "checkpoints"
        )
    assert all(line["state"] == "ok" or line["todo"] for line in lines.values())
    assert status == any(line["state"] == "failure" for line in lines.values())
    assert lines[f"huggingface {address}"]["state"] == "ok"
    assert lines[f"modelscope {silent}"]["state"] == "warning"
    assert lines[f"local {tmp_path}"]["state"] == "ok"
    assert "HF_TOKEN" in lines["tokens"]["found"]
    assert "R1ZERO_TEST_TOKEN" in lines["tokens"]["found"]
    assert SECRET not in output


def test_the_table_has_the_same_lines(tmp_path: Path) -> None:
    config = configured(tmp_path, {"local": str(tmp_path)})
    result = CliRunner().invoke(app, ["doctor", "--configfile", str(config)])
    for check in ("GPUs", "torch", "vLLM", "DeepSpeed", "ports", "tokens", "SLURM"):
        assert check in result.stdout


def test_a_failure_ends_with_status_1(tmp_path: Path) -> None:
    file = tmp_path / "checkpoints"
    file.touch()
    config = configured(tmp_path, {"local": str(tmp_path)})
    status, lines, _ = examined("--configfile", config, "--checkpoints", file / "run")
    assert (status, lines[f"disk of {file / 'run'}"]["state"]) == (1, "failure")


def test_a_token_that_cannot_be_one_is_named_and_not_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret of two\nlines")
    line = checks.tokens(["HF_TOKEN"])
    assert line.state == "failure"
    assert "HF_TOKEN" in line.found
    assert "secret" not in line.found


def test_gpus_in_use_or_hidden_or_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert checks.gpus(driver(80, 79)).state == "ok"
    assert checks.gpus(driver(80, 20)).state == "warning"
    assert checks.gpus(driver()).state == "warning"
    for visible, state in (("1", "ok"), ("2", "failure"), ("", "warning")):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert checks.gpus(driver(80, 80)).state == state


@pytest.mark.parametrize(
    ("known", "built", "works"),
    [
        ((13, 0), (13, 0), True),
        ((13, 0), (13, 2), True),  # compatible within a major version
        ((14, 0), (13, 0), True),
        ((12, 9), (13, 0), False),
        ((13, 0), None, False),
    ],
)
def test_torch_needs_a_driver_that_knows_its_cuda(
    known: tuple[int, int], built: tuple[int, int] | None, works: bool
) -> None:
    assert (torch_problem(driver(80, cuda=known), built) is None) is works


def test_little_shared_memory_fails_with_several_gpus() -> None:
    free = 64 << 20
    assert checks.shared_memory(free, driver(80, 80)).state == "failure"
    assert checks.shared_memory(free, driver(80)).state == "warning"
    assert checks.shared_memory(free, None).state == "warning"
    assert checks.shared_memory(None, driver(80, 80)).state == "failure"


def test_training_does_not_start_with_a_driver_that_is_too_old(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setattr(preflight, "find_driver", lambda: driver(80, cuda=(12, 4)))
    monkeypatch.setattr(preflight, "cuda_of_torch", lambda: (13, 0))
    with pytest.raises(UserError) as raised:
        check_machine(Needs(gpus=1))
    assert raised.value.where == "hardware.gpus"
    assert "13.0" in raised.value.message
    assert "12.4" in raised.value.message


def test_deepspeed_needs_a_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(preflight, "find_driver", lambda: driver(80))
    monkeypatch.setattr(preflight, "cuda_of_torch", lambda: (13, 0))
    check_machine(Needs(gpus=1))
    with pytest.raises(UserError) as raised:
        check_machine(Needs(gpus=1, packages={"deepspeed": ""}))
    assert "C++" in raised.value.message


@pytest.mark.parametrize(
    ("sinfo", "state", "found"),
    [
        ("echo 'gpu* 2 gpu:h100:8'", "ok", "gpu* 2 gpu:h100:8"),
        ("printf 'error: first\\nfatal: last\\n' >&2; exit 1", "warning", "fatal: last"),
        ("exit 1", "warning", "no message"),
    ],
)
def test_slurm_answers_or_says_why_not(
    sinfo: str, state: str, found: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, script in (("sbatch", "exit 0"), ("sinfo", sinfo)):
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    line = checks.slurm()
    assert line.state == state
    assert line.found.endswith(found)
    assert "first" not in line.found


@pytest.mark.parametrize(("visible", "fails"), [("", True), ("0", False), ("1", True)])
def test_gpus_without_bfloat16_are_named_where_it_is_needed(
    monkeypatch: pytest.MonkeyPatch, visible: str, fails: bool
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    devices = [
        Device("A100", 80 * GIB, 80 * GIB, (8, 0)),
        Device("V100", 32 * GIB, 32 * GIB, (7, 0)),
    ]
    mixed = Driver("580.1", (13, 0), devices)
    assert (checks.gpus(mixed).state == "failure") == fails
    assert ("7.0" in checks.gpus(mixed).found) == fails
    monkeypatch.setattr(preflight, "find_driver", lambda: mixed)
    monkeypatch.setattr(preflight, "cuda_of_torch", lambda: (13, 0))
    monkeypatch.setattr(preflight, "count_gpus", lambda wanted: 2)
    check_machine(Needs(gpus=1))
    if not fails:
        check_machine(Needs(gpus=1, bfloat16=True))
        return
    with pytest.raises(UserError) as raised:
        check_machine(Needs(gpus=1, bfloat16=True))
    assert raised.value.where == "hardware.gpus"
    assert "V100" in raised.value.message
