"""Evaluations side by side take GPUs of their own."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from r1zero.plan.gpu_lock import locked_gpus

HOLDER = """
import os, sys
from pathlib import Path
from r1zero.plan.gpu_lock import locked_gpus
with locked_gpus(1, Path(sys.argv[1])):
    print(os.environ["CUDA_VISIBLE_DEVICES"], flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,GPU-7/0")


def holder(folder: Path) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    return process, process.stdout.readline().strip()


def test_each_process_takes_another_gpu_and_a_killed_one_gives_its_back(tmp_path: Path) -> None:
    first, gpu = holder(tmp_path)
    with locked_gpus(1, tmp_path):
        assert {gpu, os.environ["CUDA_VISIBLE_DEVICES"]} == {"4", "GPU-7/0"}
        os.environ["CUDA_VISIBLE_DEVICES"] = "4,GPU-7/0"
        waiting = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(tmp_path)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        time.sleep(1)
        assert waiting.poll() is None
        first.kill()
        first.communicate()
        assert waiting.communicate(timeout=30)[0].strip() == gpu
        assert waiting.returncode == 0


def test_several_gpus_are_taken_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2")
    other, gpu = holder(tmp_path)
    with locked_gpus(2, tmp_path) as taken:
        assert {gpu, *taken} == {"0", "1", "2"}
        assert os.environ["CUDA_VISIBLE_DEVICES"] == ",".join(taken)
    other.kill()
    other.communicate()


@pytest.mark.parametrize(("gpus", "seen"), [(0, ""), (None, "4,GPU-7/0")])
def test_without_a_gpu_to_take_none_is_locked(tmp_path: Path, gpus: int | None, seen: str) -> None:
    with locked_gpus(gpus, tmp_path / "locks"):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == seen
    assert not (tmp_path / "locks").exists()


def test_the_one_gpu_of_a_job_is_taken_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    with locked_gpus(1, tmp_path / "locks"), locked_gpus(1, tmp_path / "locks"):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "3"
