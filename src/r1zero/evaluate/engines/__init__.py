"""Engines that generate completions: tokens in, tokens out, so that only the sampling differs."""

import importlib.util

from r1zero.core.errors import UserError
from r1zero.evaluate.engines.base import Engine, EngineName, Model
from r1zero.plan.machine import count_gpus


def open_engine(model: Model, name: EngineName | None = None) -> Engine:
    """An engine for a model: vLLM if there are a GPU and vLLM, else transformers.

    Args:
        model: The model.
        name: The engine to use instead.

    Raises:
        UserError: vLLM is asked for and not installed, torch cannot use the GPU that there is, or
            the engine cannot use as many as the model is given.

    """
    # The GPUs are asked of the driver: once torch has looked for them, the processes that vLLM
    # forks can no longer use CUDA.
    has_gpu = count_gpus("auto") > 0
    if name is None:
        name = "vllm" if has_gpu and _has_vllm() else "transformers"
        if has_gpu and name == "transformers":
            print("vLLM is not installed: transformers generates on the GPU, which takes longer")
    if name == "vllm":
        if not _has_vllm():
            raise UserError(
                "vLLM is not installed",
                where="--engine vllm",
                hint="make install TORCH=cuda VLLM=1, or use transformers",
            )
        from r1zero.evaluate.engines.vllm import VllmEngine

        return VllmEngine(model)
    import torch

    from r1zero.evaluate.engines.transformers import TransformersEngine

    if has_gpu and not torch.cuda.is_available():
        raise UserError(
            f"torch {torch.__version__} cannot use the GPU of this machine",
            where="--gpus",
            hint="install a newer driver or a torch for this one, or evaluate with --gpus 0",
        )
    if model.tensor_parallel > 1:
        raise UserError(
            f"the transformers engine uses one GPU, not {model.tensor_parallel}",
            where="--processes",
            hint="a model that fits on one GPU can have a process for each; a larger one needs "
            "vLLM: make install TORCH=cuda VLLM=1",
        )
    return TransformersEngine(model)


def _has_vllm() -> bool:
    return importlib.util.find_spec("vllm") is not None
