"""What generates completions: tokens in, tokens out, so that only the drawing of them differs."""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from r1zero.core.errors import UserError

EngineName = Literal["transformers", "vllm"]


class Decoding(NamedTuple):
    """How completions are drawn."""

    n_samples: int
    """Completions of each prompt."""
    temperature: float
    """0 takes the likeliest token."""
    top_p: float
    """Nucleus; 1 for none."""
    max_new_tokens: int
    """Length at which a completion is cut off."""

    @property
    def greedy(self) -> "Decoding":
        """One completion of the likeliest tokens."""
        return Decoding(1, 0.0, 1.0, self.max_new_tokens)


@dataclass(frozen=True)
class Model:
    """A model on disk, and what its engine has to know of the work."""

    folder: Path
    """Weights, configuration and tokenizer."""
    stop_token_ids: tuple[int, ...]
    """Tokens that end a completion."""
    pad: int
    """Token that fills rows of unlike lengths."""
    max_length: int
    """Most tokens of a prompt and its completion."""


class Engine(Protocol):
    """A model behind what generates."""

    version: str
    """Name and version."""
    batch: int
    """Completions that it is best asked for at once."""
    device: str
    """Where it computes, and in which type."""

    def load(self) -> None:
        """Load the model, unless it is loaded. To be called before `generate`."""
        ...

    def generate(
        self, prompts: Sequence[Sequence[int]], decoding: Decoding, seed: int
    ) -> list[list[list[int]]]:
        """Complete prompts.

        Args:
            prompts: Token ids.
            decoding: How.
            seed: Of the draws. With the same seed the same prompts get the same completions.

        Returns:
            Token ids of the completions of each prompt. A completion that was not cut off ends in
            one of the model's `stop_token_ids`.

        """
        ...


def open_engine(model: Model, name: EngineName | None = None) -> Engine:
    """An engine for a model: vLLM where there are a GPU and vLLM, else transformers.

    Args:
        model: The model.
        name: Take this one in any case.

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
                hint="pip install 'r1zero[vllm]' in this environment, or take transformers",
            )
        from r1zero.evaluate.vllm_engine import VllmEngine

        return VllmEngine(model)
    from r1zero.evaluate.transformers_engine import TransformersEngine

    return TransformersEngine(model)


def _has_vllm() -> bool:
    return importlib.util.find_spec("vllm") is not None
