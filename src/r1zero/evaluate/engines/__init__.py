"""Engines that generate completions: tokens in, tokens out, so that only the sampling differs."""

import importlib.util

from r1zero.core.errors import UserError
from r1zero.evaluate.engines.base import Engine, EngineName, Model


def open_engine(model: Model, name: EngineName | None = None) -> Engine:
    """An engine for a model: vLLM if there are a GPU and vLLM, else transformers.

    Args:
        model: The model.
        name: The engine to use instead.

    Raises:
        UserError: vLLM is asked for and not installed.

    """
    import torch

    if name is None:
        name = "vllm" if torch.cuda.is_available() and _has_vllm() else "transformers"
    if name == "vllm":
        if not _has_vllm():
            raise UserError(
                "vLLM is not installed",
                where="--engine vllm",
                hint="pip install 'r1zero[vllm]' in this environment, or use transformers",
            )
        from r1zero.evaluate.engines.vllm import VllmEngine

        return VllmEngine(model)
    from r1zero.evaluate.engines.transformers import TransformersEngine

    return TransformersEngine(model)


def _has_vllm() -> bool:
    return importlib.util.find_spec("vllm") is not None
