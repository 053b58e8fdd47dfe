"""What computes the logits of the next token for a batch of rows."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Decoder(Protocol):
    """A batch of rows of tokens, each of which `step` makes one longer."""

    def start(self, prompts: Sequence[Sequence[int]]) -> Tensor:
        """Logits `[n, vocabulary]` of the tokens that follow `n` prompts."""
        ...

    def step(self, tokens: Tensor) -> Tensor:
        """Append a token `[n]` to each row; logits `[n, vocabulary]` of the tokens that follow."""
        ...

    def keep(self, rows: Tensor) -> None:
        """Drop all rows but these, given by ascending numbers."""
        ...


class TransformersDecoder:
    """The forward pass of transformers, which any causal language model has."""

    def __init__(self, model: "PreTrainedModel", *, pad: int) -> None:
        from transformers import DynamicCache

        self._model, self._pad = model, pad
        self._cache = DynamicCache(config=model.config)
        self._mask = self._positions = torch.empty(0)

    def start(self, prompts: Sequence[Sequence[int]]) -> Tensor:
        """See `Decoder`."""
        ids, self._mask = left_padded(prompts, self._pad, self._model.device)
        self._positions = (self._mask.cumsum(dim=1) - 1).clamp(min=0)
        return self._logits(ids)

    def step(self, tokens: Tensor) -> Tensor:
        """See `Decoder`."""
        self._mask = torch.cat([self._mask, self._mask.new_ones(len(self._mask), 1)], dim=1)
        self._positions = self._positions[:, -1:] + 1
        return self._logits(tokens[:, None])

    def keep(self, rows: Tensor) -> None:
        """See `Decoder`."""
        self._cache.batch_select_indices(rows)
        self._mask, self._positions = self._mask[rows], self._positions[rows]

    def _logits(self, ids: Tensor) -> Tensor:
        logits: Tensor = self._model(
            input_ids=ids,
            attention_mask=self._mask,
            position_ids=self._positions,
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits
        return logits[:, -1]


def left_padded(
    prompts: Sequence[Sequence[int]], pad: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Token ids and attention mask, both `[n, longest]`."""
    longest = max(map(len, prompts))
    ids = torch.full((len(prompts), longest), pad)
    mask = torch.zeros_like(ids)
    for i, prompt in enumerate(prompts):
        ids[i, longest - len(prompt) :] = torch.tensor(prompt)
        mask[i, longest - len(prompt) :] = 1
    return ids.to(device), mask.to(device)
