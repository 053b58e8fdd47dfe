import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import settings

import tiny

# No deadlines: how long an example takes says more about the machine than about the code.
settings.register_profile("default", deadline=None)
# The same examples each time, so that a change is judged by what it changed.
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("default")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real data beside the repository; it is not part of it."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} does not exist")
    return folder


@pytest.fixture(scope="session")
def tiny_config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a configuration with the smallest sizes; copy it to change it."""
    return tiny.write_config(tmp_path_factory.mktemp("tiny") / "config")


@pytest.fixture(scope="session")
def tiny_task(tiny_config: Path) -> Path:
    """Manifest of its problems."""
    return tiny.make_task(tiny_config.parent, tiny_config)


@pytest.fixture(scope="session")
def tiny_base(tiny_config: Path, tiny_task: Path) -> Path:
    """Manifest of its base model."""
    return tiny.make_base(tiny_config.parent / "base", tiny_config, tiny_task)


@pytest.fixture(scope="session")
def slow_config(tiny_config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with a base that knows some of the format, and so gets some rewards, and six steps.

    They are slow enough to be cut off between two of them.
    """
    folder = tmp_path_factory.mktemp("slow") / "config"
    shutil.copytree(tiny_config, folder)
    with tiny.edited(folder / "scales" / "mini.yaml") as scale:
        scale["bases"][tiny.BASE] |= {
            "hidden_size": 32,
            "intermediate_size": 32,
            "steps": 60,
            "tokens_per_step": 2048,
            "adam_learning_rate": 0.01,
        }
        scale["tasks"]["countdown"]["sizes"] |= {
            "max_steps": 6,
            "save_steps": 2,
            "prompts_per_step": 8,
            "max_completion_length": 200,
        }
    return folder


@pytest.fixture(scope="session")
def slow_base(slow_config: Path, tiny_task: Path) -> Path:
    """Manifest of its base model."""
    return tiny.make_base(slow_config.parent / "base", slow_config, tiny_task)


@pytest.fixture(scope="session")
def unbroken_run(slow_config: Path, tiny_task: Path, slow_base: Path) -> tiny.Run:
    """A run that was trained without a break: six steps, three checkpoints."""
    run = tiny.make_run(slow_config.parent / "run", slow_config, tiny_task, slow_base)
    command = [sys.executable, "-m", "r1zero", "train", *map(str, run.options)]
    subprocess.run(command, check=True, env=tiny.ENVIRONMENT)
    return run
