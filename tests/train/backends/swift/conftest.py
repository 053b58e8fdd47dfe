"""The environment with ms-swift, made by the rule of the workflow when a test first needs it."""

import json
from pathlib import Path

import pytest

from r1zero.core.environments import STAMP
from r1zero.core.files import sha256_file
from tiny import REPOSITORY
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
