"""The environment with ms-swift, made by the rule of the workflow when a test first needs it."""

import json
from pathlib import Path

import pytest

from r1zero.core.environments import STAMP
from r1zero.core.files import read_json, sha256_file
from swift_oracle import Oracle
from tiny import REPOSITORY, make_run
from workflow_copy import copy_workflow, link_environments, snakemake

ENVIRONMENT = Path(".envs") / "swift"


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the environment."""
    lock, stamp = REPOSITORY / "envs" / "swift.lock", REPOSITORY / ENVIRONMENT / STAMP
    if not stamp.is_file() or json.loads(stamp.read_text())["lock"] != sha256_file(lock):
        workflow = link_environments(copy_workflow(tmp_path_factory.mktemp("rule") / "workflow"))
        target = (ENVIRONMENT / STAMP).as_posix()
        result = snakemake(workflow, target, "--cores", "1", "--force")
        assert result.returncode == 0, result.stdout
    return stamp.parent


@pytest.fixture(scope="session")
def oracle(
    environment: Path,
    tiny_config: Path,
    tiny_task: Path,
    tiny_base: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Oracle:
    """What ms-swift's trainer makes of the batch, with the model of a tiny run."""
    folder = tmp_path_factory.mktemp("oracle") / "run"
    run = make_run(folder, tiny_config, tiny_task, tiny_base, backend="swift")
    oracle = Oracle(Path(read_json(run.file)["base_model"]["path"]))
    oracle.measure(run, environment)
    return oracle
