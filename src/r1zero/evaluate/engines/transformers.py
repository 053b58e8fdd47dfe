"""Generation with transformers and the sampler of this project."""

from collections.abc import Sequence
from importlib.metadata import version

import torch

from r1zero.core.errors import UserError
from r1zero.evaluate.engines.base import Decoding, Model
from r1zero.plan.architectures import read_architecture
from r1zero.plan.generation import EVALUATION_BATCH, evaluation_sequences
from r1zero.sampling import CausalModel, sample
from r1zero.sampling.qwen3 import Qwen3

# On a CPU, a decoding step of many completions costs little more than one of few.
BATCH = {"cpu": 256, "cuda": EVALUATION_BATCH}
_DTYPE = {"cpu": torch.float32, "cuda": torch.bfloat16}


class TransformersEngine:
    """Bit-for-bit reproducible on a CPU, whose number of threads is the model's."""

    def __init__(self, model: Model) -> None:
        self._on = "cuda" if torch.cuda.is_available() else "cpu"
        self._model = model
        self.version = f"transformers {version('transformers')}"
        self.device = f"{self._on}, {str(_DTYPE[self._on]).removeprefix('torch.')}"
        self.batch = BATCH[self._on]
        self._loaded: CausalModel | None = None

    def load(self) -> None:
        """See `Engine`."""
        if self._loaded is not None:
            return
        if self._on == "cpu":
            torch.set_num_threads(self._model.threads)
            # Importing transformers takes longer than the evaluation of a small model.
            self._loaded = Qwen3.read(self._model.folder)
        if self._loaded is None:
            from transformers import AutoModelForCausalLM

            dtype = _DTYPE[self._on]
            loaded = AutoModelForCausalLM.from_pretrained(self._model.folder, dtype=dtype)
            self._loaded = loaded.to(self._on).eval()

    def generate(
        self, prompts: Sequence[Sequence[int]], decoding: Decoding, seed: int
    ) -> list[list[list[int]]]:
        """See `Engine`. The seed is that of torch's global generator."""
        assert self._loaded is not None
        n = decoding.n_samples
        torch.manual_seed(seed)
        every = [prompt for prompt in prompts for _ in range(n)]
        most = self._sequences(max(map(len, prompts)), decoding.max_new_tokens) or len(every)
        drawn: list[list[int]] = []
        for first in range(0, len(every), most):
            drawn += sample(
                self._loaded,
                every[first : first + most],
                max_new_tokens=decoding.max_new_tokens,
                eos=self._model.stop_token_ids,
                pad=self._model.pad,
                temperature=decoding.temperature,
                top_p=decoding.top_p,
            )
        return [drawn[first : first + n] for first in range(0, len(drawn), n)]

    def _sequences(self, prompt_length: int, completion_length: int) -> int | None:
        """Completions that the memory of the GPU has room for at once; None if that is not known.

        The whole memory of the GPU counts, not what is free of it, so that the same GPU always
        makes the same batches.

        Raises:
            UserError: Not even one fits.

        """
        architecture = read_architecture(self._model.folder) if self._on == "cuda" else None
        if architecture is None:
            return None
        gpu = torch.cuda.get_device_properties(0).total_memory
        fitting = evaluation_sequences(
            architecture, gpu, prompt_length=prompt_length, completion_length=completion_length
        )
        if fitting == 0:
            raise UserError(
                f"{self._model.folder} does not fit on a GPU of {gpu / 2**30:.0f} GiB",
                where="--engine transformers",
                hint="vLLM divides a model over several GPUs: make install TORCH=cuda VLLM=1",
            )
        return fitting
