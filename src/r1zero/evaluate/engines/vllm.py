"""Generation with vLLM, on GPUs."""

import os
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

from r1zero.evaluate.engines.base import Decoding, Model
from r1zero.plan.evaluation import CHUNK_ON_GPUS
from r1zero.plan.machine import count_gpus

_DTYPE = "bfloat16"
_MEMORY = 0.9


class VllmEngine:
    """The same seed gives the same random numbers, but vLLM may round differently from run to run.

    Input and output are tokens, so that tokenizer, stop tokens and text are the same as for the
    other engine.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self.version = f"vllm {version('vllm')}"
        # The CPU build of vLLM is for tests. The GPUs are asked of the driver, as in `open_engine`.
        kind = "cuda" if count_gpus("auto") else "cpu"
        several = f"{model.tensor_parallel} x " if model.tensor_parallel > 1 else ""
        self.device = f"{several}{kind}, {_DTYPE}"
        # vLLM makes batches itself. So many keep it busy, and little is lost if it is killed.
        self.batch = CHUNK_ON_GPUS
        self._loaded: Any = None

    def load(self) -> None:
        """See `Engine`."""
        if self._loaded is not None:
            return
        # A worker that is forked from a process with CUDA cannot use it.
        os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = "spawn"
        os.environ["VLLM_NO_USAGE_STATS"] = "1"
        from vllm import LLM

        self._loaded = LLM(
            model=str(self._model.folder),
            dtype=_DTYPE,
            tensor_parallel_size=self._model.tensor_parallel,
            max_model_len=self._model.max_length,
            gpu_memory_utilization=_MEMORY,
            # The samples of a problem share its prompt.
            enable_prefix_caching=True,
            # Ignore the sampling defaults and stop tokens of the model's files: ours are complete.
            generation_config="vllm",
            seed=0,
        )

    def generate(
        self, prompts: Sequence[Sequence[int]], decoding: Decoding, seed: int
    ) -> list[list[list[int]]]:
        """See `Engine`. Every completion is sampled with a seed of its own."""
        params = [sampling_params(self._model, decoding, own) for own in _seeds(seed, len(prompts))]
        answers = self._loaded.generate(
            [{"prompt_token_ids": list(prompt)} for prompt in prompts], params, use_tqdm=False
        )
        return [
            [list(output.token_ids) for output in sorted(answer.outputs, key=lambda o: o.index)]
            for answer in answers
        ]


def sampling_params(model: Model, decoding: Decoding, seed: int) -> Any:
    """Sampling parameters for vLLM; every parameter that matters is set explicitly."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    return SamplingParams(
        n=decoding.n_samples,
        temperature=decoding.temperature,
        top_p=decoding.top_p,
        top_k=0,
        min_p=0.0,
        presence_penalty=0.0,
        frequency_penalty=0.0,
        repetition_penalty=1.0,
        max_tokens=decoding.max_new_tokens,
        min_tokens=0,
        seed=seed,
        stop_token_ids=list(model.stop_token_ids),
        # Otherwise the end token of the model's files would stop completions, too.
        ignore_eos=True,
        detokenize=False,
        skip_special_tokens=False,
        output_kind=RequestOutputKind.FINAL_ONLY,
    )


def _seeds(seed: int, count: int) -> list[int]:
    """One seed per prompt. vLLM increments it for each further sample of a prompt."""
    drawn = np.random.SeedSequence(seed).generate_state(count, dtype=np.uint64)
    # Below 2^62, so that the incremented seed stays a signed integer of 64 bits.
    return [int(each >> 2) for each in drawn]
