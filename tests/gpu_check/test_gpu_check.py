"""`make gpu-check`, rehearsed on a CPU with the smallest sizes: every part runs for real."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from r1zero.plan.gpus import GPUS, kind_of
from tiny import ENVIRONMENT, REPOSITORY

PARTS = ("doctor", "tiny", "mini", "base")


def gpu_check(*options: str) -> subprocess.CompletedProcess[str]:
    # The script and not the command, which it puts on the path.
    return subprocess.run(
        [sys.executable, REPOSITORY / "scripts" / "gpu_check.py", *options],
        env=ENVIRONMENT | {"CUDA_VISIBLE_DEVICES": ""},
        cwd=os.sep,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_a_rehearsal_runs_every_part(tmp_path: Path) -> None:
    result = gpu_check("--device", "cpu", "--minutes", "20", "--out", str(tmp_path))
    assert result.returncode == 0, result.stdout + result.stderr
    print(result.stdout)
    found = {path.stem: json.loads(path.read_text()) for path in tmp_path.glob("*.json")}
    assert set(found) == set(PARTS)
    for name, content in found.items():
        assert content["part"] == name
        hardware = content["hardware"]
        assert hardware["provenance"]["versions"]["torch"].startswith(hardware["pinned_torch"])
        assert name in result.stdout
    for way in ("generation", "update"):
        measured: dict[str, Any] = found["tiny"][way]
        assert measured["tokens_per_second"] > 0
        assert 0.5 < measured["said_bytes"] / measured["peak_bytes"] < 2
    assert found["mini"]["layout"]["compute_dtype"] == "float32"
    assert list(found["mini"]["accuracy"]) == ["0", "2"]
    assert found["base"]["parameters"] > 0


def test_parts_without_time_are_left_out_and_the_files_of_others_remain(tmp_path: Path) -> None:
    (tmp_path / "mini.json").write_text("{}")  # of an earlier check
    result = gpu_check("--device", "cpu", "--minutes", "0.1", "--out", str(tmp_path))
    assert result.returncode == 0, result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["doctor.json"]
    assert result.stdout.count("left out") == len(PARTS) - 1


def test_without_a_gpu_it_says_so_in_one_line(tmp_path: Path) -> None:
    result = gpu_check("--out", str(tmp_path / "out"))
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert "no GPU" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("NVIDIA A100-SXM4-80GB", "a100-80g"),
        ("NVIDIA A100-PCIE-40GB", "a100-40g"),
        ("NVIDIA GeForce RTX 4090", "4090"),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", None),
        ("NVIDIA H100 80GB HBM3", "h100-80g"),
        ("NVIDIA H200", "h200"),
        ("NVIDIA L40S", "l40s"),
        ("Tesla T4", None),
    ],
)
def test_a_gpu_is_known_by_the_name_of_its_driver(name: str, kind: str | None) -> None:
    assert kind_of(name) == (GPUS[kind] if kind else None)
