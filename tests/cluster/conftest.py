import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from slurm_cluster import CLIENTS, DAEMONS, SlurmCluster
from slurm_driver import Driver


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlurmCluster]:
    """A SLURM cluster of three nodes, each with four GPUs in name."""
    found = SlurmCluster(tmp_path_factory.mktemp("slurm"))
    missing = [
        name for name in (*DAEMONS, *CLIENTS) if not shutil.which(name, path=found.search_path)
    ]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    with found:
        yield found


@pytest.fixture
def drive(cluster: SlurmCluster) -> Iterator[Callable[..., Driver]]:
    """Start a driver in a folder; what is left of it is ended after the test."""
    started: list[Driver] = []

    def start(folder: Path, *arguments: str) -> Driver:
        started.append(Driver(folder, cluster, *arguments))
        return started[-1]

    yield start
    for driver in started:
        driver.kill()
    cluster.cancel_all()
