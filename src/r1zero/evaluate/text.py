"""Tokenize prompts and decode completions, in the same way for every engine."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, cast

from tokenizers import Tokenizer

from r1zero.core.files import read_json


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
        self._tokenizer: _Tokenizer = _plain(folder) or _of_transformers(folder)
        self.pad = self._tokenizer.pad_token_id
        vocabulary = self._tokenizer.get_vocab()
        named = {vocabulary[token] for token in stop_tokens if token in vocabulary}
        self.stop_token_ids: tuple[int, ...] = tuple(sorted(_eos(folder) | named))

    def encode(self, prompts: Sequence[str]) -> list[list[int]]:
        """Token ids of prompts, without a chat template."""
        return self._tokenizer(list(prompts))["input_ids"]

    def completion(self, tokens: Sequence[int]) -> Completion:
        """Decode the tokens of a completion."""
        text = self._tokenizer.decode(tokens, skip_special_tokens=True)
        return Completion(text, len(tokens), truncated=tokens[-1] not in self.stop_token_ids)


class _Tokenizer(Protocol):
    """What is used of a tokenizer of transformers."""

    pad_token_id: int

    def __call__(self, texts: list[str]) -> dict[str, list[list[int]]]: ...

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool) -> str: ...

    def get_vocab(self) -> dict[str, int]: ...


def _of_transformers(folder: Path) -> _Tokenizer:
    from transformers import AutoTokenizer

    return cast(_Tokenizer, AutoTokenizer.from_pretrained(folder))


def _plain(folder: Path) -> "_Plain | None":
    """A tokenizer that is its tokenizer.json and nothing else, such as those of mini bases."""
    file = folder / "tokenizer_config.json"
    settings = read_json(file) if file.is_file() else {}
    is_plain = (
        settings.get("tokenizer_class") == "TokenizersBackend"
        and isinstance(settings.get("pad_token"), str)
        and not settings.get("clean_up_tokenization_spaces")
    )
    return _Plain(folder / "tokenizer.json", settings["pad_token"]) if is_plain else None


class _Plain:
    """A tokenizer without transformers, whose import takes longer than a mini evaluation."""

    def __init__(self, file: Path, pad_token: str) -> None:
        self._tokenizer = Tokenizer.from_file(str(file))
        # A trainer may have saved how it padded.
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self.pad_token_id = self.get_vocab()[pad_token]

    def __call__(self, texts: list[str]) -> dict[str, list[list[int]]]:
        return {"input_ids": [encoding.ids for encoding in self._tokenizer.encode_batch(texts)]}

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool) -> str:
        return self._tokenizer.decode(ids, skip_special_tokens=skip_special_tokens)

    def get_vocab(self) -> dict[str, int]:
        return self._tokenizer.get_vocab()


def _eos(folder: Path) -> set[int]:
    """Stop tokens that the files of a model name."""
    file = folder / "generation_config.json"
    if file.is_file():
        eos = read_json(file).get("eos_token_id")
    else:
        from transformers import AutoConfig

        eos = AutoConfig.from_pretrained(folder).eos_token_id
    return set(eos if isinstance(eos, list) else [eos])
