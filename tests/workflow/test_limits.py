"""Requests cut down to what the partitions of a cluster allow."""

from pathlib import Path

import pytest
import yaml

from r1zero.core.errors import UserError
from r1zero.workflow.limits import Limits

PARTITIONS = {
    "cpu": {"max_runtime": 600, "max_mem_mb": 64_000},
    "gpu": {"max_runtime": 120, "max_mem_mb": 500_000, "max_gpu": 8},
}


@pytest.fixture
def limits(tmp_path: Path) -> Limits:
    path = tmp_path / "partitions.yaml"
    path.write_text(yaml.safe_dump({"partitions": PARTITIONS}))
    return Limits(path)


@pytest.mark.parametrize(
    ("resource", "wanted", "gpus", "granted"),
    [
        ("runtime", 60, 0, 60),
        ("runtime", 1440, 0, 600),
        # Only one partition has GPUs.
        ("runtime", 1440, 2, 120),
        ("mem_mb", 100_000, 0, 100_000),
        ("mem_mb", 900_000, 8, 500_000),
        # No partition has so many: sbatch refuses it.
        ("runtime", 1440, 16, 1440),
    ],
)
def test_a_request_is_cut_to_the_largest_limit_of_the_partitions_that_fit(
    limits: Limits,
    capsys: pytest.CaptureFixture[str],
    resource: str,
    wanted: int,
    gpus: int,
    granted: int,
) -> None:
    for _ in range(2):
        assert limits.cut(resource, wanted, gpus=gpus) == granted
    # It is said once.
    assert capsys.readouterr().err.count(f"{resource}={wanted}") == (granted != wanted)


def test_without_a_cluster_nothing_is_cut() -> None:
    assert Limits(None).cut("runtime", 10**6, gpus=8) == 10**6


def test_a_partition_without_a_sensible_limit_is_named(tmp_path: Path) -> None:
    path = tmp_path / "partitions.yaml"
    path.write_text(yaml.safe_dump({"partitions": {"cpu": {"max_runtime": 0}}}))
    with pytest.raises(UserError) as raised:
        Limits(path)
    assert "max_runtime" in str(raised.value)
