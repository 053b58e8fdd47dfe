"""Tokenize prompts and decode completions, in the same way for every engine."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from transformers import AutoConfig, AutoTokenizer, GenerationConfig


class Completion(NamedTuple):
    """One completion."""

    text: str
    length: int
    """Number of tokens, including the stop token."""
    truncated: bool
    """Whether it was cut off at the length limit."""


class Tokens:
    """The tokenizer of a model, and its stop tokens.

    Args:
        folder: Folder of model and tokenizer.
        stop_tokens: Further stop tokens, in addition to those that the model's files name.

    """

    def __init__(self, folder: Path, stop_tokens: Sequence[str] = ()) -> None:
        self._tokenizer = AutoTokenizer.from_pretrained(folder)
        vocabulary = self._tokenizer.get_vocab()
        named = {vocabulary[token] for token in stop_tokens if token in vocabulary}
        self.stop_token_ids: tuple[int, ...] = tuple(sorted(_eos(folder) | named))
        self.pad: int = self._tokenizer.pad_token_id

    def encode(self, prompts: Sequence[str]) -> list[list[int]]:
        """Token ids of prompts, without a chat template."""
        ids: list[list[int]] = self._tokenizer(list(prompts))["input_ids"]
        return ids

    def completion(self, tokens: Sequence[int]) -> Completion:
        """Decode the tokens of a completion."""
        text = self._tokenizer.decode(tokens, skip_special_tokens=True)
        return Completion(text, len(tokens), truncated=tokens[-1] not in self.stop_token_ids)


def _eos(folder: Path) -> set[int]:
    """Stop tokens that the files of a model name."""
    if (folder / "generation_config.json").is_file():
        config = GenerationConfig.from_pretrained(folder)
    else:
        config = GenerationConfig.from_model_config(AutoConfig.from_pretrained(folder))
    eos = config.eos_token_id
    return set(eos if isinstance(eos, list) else [eos])
