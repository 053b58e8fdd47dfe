"""Tokenize prompts and decode completions, in the same way for every engine."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tokenizers import Tokenizer

from r1zero.core.files import read_json

# Tokenizers that transformers reads from tokenizer.json alone, such as those of mini bases. Without
# transformers, whose import takes longer than the evaluation of a small model, so do we.
_PLAIN = ("TokenizersBackend", "PreTrainedTokenizerFast")


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
        self._tokenizer, self.pad = _tokenizer(folder)
        vocabulary = self._tokenizer.get_vocab()
        named = {vocabulary[token] for token in stop_tokens if token in vocabulary}
        self.stop_token_ids: tuple[int, ...] = tuple(sorted(_eos(folder) | named))

    def encode(self, prompts: Sequence[str]) -> list[list[int]]:
        """Token ids of prompts, without a chat template."""
        return [encoding.ids for encoding in self._tokenizer.encode_batch(list(prompts))]

    def completion(self, tokens: Sequence[int]) -> Completion:
        """Decode the tokens of a completion."""
        text = self._tokenizer.decode(tokens, skip_special_tokens=True)
        return Completion(text, len(tokens), truncated=tokens[-1] not in self.stop_token_ids)


def _tokenizer(folder: Path) -> tuple[Tokenizer, int]:
    """The tokenizer of a model, and the id of its padding."""
    settings = read_json(folder / "tokenizer_config.json")
    if settings.get("tokenizer_class") in _PLAIN:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        padding = tokenizer.get_vocab()[settings["pad_token"]]
    else:
        from transformers import AutoTokenizer

        loaded = AutoTokenizer.from_pretrained(folder)
        tokenizer, padding = loaded.backend_tokenizer, loaded.pad_token_id
    # A trainer may have saved how it padded.
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer, padding


def _eos(folder: Path) -> set[int]:
    """Stop tokens that the files of a model name."""
    file = folder / "generation_config.json"
    if file.is_file():
        eos = read_json(file).get("eos_token_id")
    else:
        from transformers import AutoConfig

        eos = AutoConfig.from_pretrained(folder).eos_token_id
    return set(eos if isinstance(eos, list) else [eos])
