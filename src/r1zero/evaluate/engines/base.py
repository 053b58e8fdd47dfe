"""The interface of engines."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

EngineName = Literal["transformers", "vllm"]


class Decoding(NamedTuple):
    """How completions are sampled."""

    n_samples: int
    """Completions of each prompt."""
    temperature: float
    """0 for the most likely token."""
    top_p: float
    """Nucleus sampling; 1 for none."""
    max_new_tokens: int
    """Length at which a completion is cut off."""

    @property
    def greedy(self) -> "Decoding":
        """One completion of the most likely tokens."""
        return Decoding(1, 0.0, 1.0, self.max_new_tokens)


@dataclass(frozen=True)
class Model:
    """A model on disk, and what an engine needs to know to use it."""

    folder: Path
    """Weights, configuration and tokenizer."""
    stop_token_ids: tuple[int, ...]
    """Tokens that end a completion."""
    pad: int
    """Token that pads rows of different lengths."""
    max_length: int
    """Most tokens of a prompt together with its completion."""
    threads: int = 1
    """Threads of the computation on a CPU."""
    tensor_parallel: int = 1
    """GPUs that share one copy of the weights."""


class Engine(Protocol):
    """A model that completes prompts."""

    version: str
    """Name and version."""
    batch: int
    """Number of completions to ask for at once."""
    device: str
    """Device and data type of the computation."""

    def load(self) -> None:
        """Load the model unless it is loaded. Must be called before `generate`."""
        ...

    def generate(
        self, prompts: Sequence[Sequence[int]], decoding: Decoding, seed: int
    ) -> list[list[list[int]]]:
        """Complete prompts.

        Args:
            prompts: Token ids.
            decoding: How to sample.
            seed: Seed of the sampling. The same seed and prompts give the same completions.

        Returns:
            Token ids of the completions of each prompt. A completion that was not cut off ends with
            one of the model's `stop_token_ids`.

        """
        ...
