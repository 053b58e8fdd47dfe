"""Which engine generates, and what vLLM is asked for."""

import ast
import importlib.util
import sys
from pathlib import Path

import pytest
import torch

from r1zero.core.errors import UserError
from r1zero.evaluate.engines import open_engine
from r1zero.evaluate.engines.base import Decoding, Model

HAS_VLLM = importlib.util.find_spec("vllm") is not None
MODEL = Model(Path("model"), stop_token_ids=(3, 7), pad=0, max_length=64)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)


def test_a_gpu_that_torch_cannot_use_is_no_reason_to_take_the_cpu(
    gpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError) as raised:
        open_engine(MODEL, "transformers")
    assert raised.value.where == "--gpus"
    assert torch.__version__ in raised.value.message


def test_vllm_may_fork_because_torch_was_not_asked_for_gpus(
    gpu: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: asked.append(True))
    if not HAS_VLLM:
        install_vllm(tmp_path, monkeypatch)
    assert open_engine(MODEL).version.startswith("vllm 0.")
    assert not asked


def install_vllm(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let it be found, as its metadata and an empty package."""
    metadata = folder / "vllm-0.30.0.dist-info" / "METADATA"
    for path, text in ((folder / "vllm" / "__init__.py", ""), (metadata, "Version: 0.30.0\n")):
        path.parent.mkdir()
        path.write_text(text)
    monkeypatch.syspath_prepend(folder)


def test_vllm_generates_where_there_are_a_gpu_and_vllm(
    gpu: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not HAS_VLLM:
        assert open_engine(MODEL).version.startswith("transformers ")
        install_vllm(tmp_path, monkeypatch)
    assert open_engine(MODEL).version.startswith("vllm 0.")
    assert open_engine(MODEL, "transformers").version.startswith("transformers ")


def test_on_a_cpu_transformers_generates_unless_vllm_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not HAS_VLLM:
        install_vllm(tmp_path, monkeypatch)
    assert open_engine(MODEL).version.startswith("transformers ")
    assert open_engine(MODEL, "vllm").version.startswith("vllm 0.")


@pytest.mark.skipif(HAS_VLLM, reason="vLLM is installed")
def test_vllm_does_not_report_its_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VLLM_NO_USAGE_STATS", raising=False)
    monkeypatch.setenv("VLLM_WORKER_MULTIPROC_METHOD", "fork")
    install_vllm(tmp_path, monkeypatch)
    # What vLLM finds in its environment when it is imported.
    seen = "import os; from pathlib import Path; Path('%s').write_text(str(dict(os.environ)))"
    path = tmp_path / "environment.txt"
    (tmp_path / "vllm" / "__init__.py").write_text(f"{seen % path}\nLLM = dict\n")
    # Forgotten again when the test ends.
    monkeypatch.setitem(sys.modules, "vllm", None)
    del sys.modules["vllm"]
    open_engine(MODEL, "vllm").load()
    environment = ast.literal_eval(path.read_text())
    assert environment["VLLM_NO_USAGE_STATS"] == "1"
    assert environment["VLLM_WORKER_MULTIPROC_METHOD"] == "spawn"


@pytest.mark.skipif(HAS_VLLM, reason="vLLM is installed")
def test_vllm_that_is_not_installed_is_named() -> None:
    with pytest.raises(UserError) as raised:
        open_engine(MODEL, "vllm")
    assert raised.value.where == "--engine vllm"
    assert "VLLM=1" in raised.value.hint


@pytest.mark.skipif(not HAS_VLLM, reason="needs vLLM")
def test_vllm_is_asked_for_just_the_decoding() -> None:
    from vllm import SamplingParams

    from r1zero.evaluate.engines.vllm import sampling_params

    params = sampling_params(MODEL, Decoding(4, 0.6, 0.95, 32), seed=11)
    assert isinstance(params, SamplingParams)
    assert (params.n, params.temperature, params.top_p, params.max_tokens) == (4, 0.6, 0.95, 32)
    assert (params.top_k, params.min_p, params.repetition_penalty, params.seed) == (0, 0, 1, 11)
    assert params.stop_token_ids == [3, 7]
    assert params.ignore_eos
    assert not params.detokenize
    # Greedy decoding admits one sample only.
    assert sampling_params(MODEL, Decoding(4, 0.6, 0.95, 32).greedy, seed=0).n == 1
