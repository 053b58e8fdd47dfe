"""Sampling from a transformers model without a server: the rollouts and evaluations on a CPU.

`model.generate` carries finished sequences along until the longest one ends. Lengths in these tasks
differ tenfold, so most of its work is on padding. This loop drops sequences as they finish. Each
token comes from the same distribution; a test compares it with `generate`.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Union

import torch
from torch import Tensor

from r1zero.sampling.decoders import Decoder, TransformersDecoder
from r1zero.sampling.qwen3 import Qwen3, Qwen3Decoder

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CausalModel = Union["PreTrainedModel", Qwen3]
"""A causal language model of transformers, or the weights of a mini model."""

Warper = Callable[[Tensor | None, Tensor], Tensor]

# Finished share of the rows at which they are dropped. Dropping copies the cache of the others.
_DROP_AT = 0.15


def sample(
    model: CausalModel,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    eos: Sequence[int],
    pad: int,
    temperature: float = 1.0,
    top_p: float = 1.0,
    top_k: int = 0,
) -> list[list[int]]:
    """Continue each prompt once, by ancestral sampling from torch's global generator.

    Args:
        model: A causal language model of transformers, whose mode (train or eval) is left as it is,
            or the weights of a mini model. Its weights are read anew in each call.
        prompts: Token ids, of any lengths.
        max_new_tokens: Length at which a completion is cut off.
        eos: Tokens that end a completion; the one drawn is kept as its last token.
        pad: Token that fills the rows; masked, so any will do.
        temperature: 0 takes the likeliest token.
        top_p: Nucleus; 1 for none.
        top_k: Likeliest tokens kept; 0 for none.

    Returns:
        Token ids of each completion, in the order of the prompts. One that was cut off does not end
        in a token of `eos`.
    """
    warpers = _warpers(top_p, top_k)
    with _no_gradients():
        decoder = _open_decoder(model, pad, max_new_tokens)
        return _drawn(decoder, prompts, max_new_tokens, eos, temperature, warpers)


def _no_gradients() -> AbstractContextManager[None]:
    """The faster inference mode, but not with autocast, which keeps no copies of weights in it."""
    cast = any(torch.is_autocast_enabled(device) for device in ("cpu", "cuda"))
    return torch.no_grad() if cast else torch.inference_mode()


def _drawn(
    decoder: Decoder,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    eos: Sequence[int],
    temperature: float,
    warpers: Sequence[Warper],
) -> list[list[int]]:
    logits = decoder.start(prompts)
    ends = torch.tensor(list(eos), device=logits.device)
    completions: list[list[int]] = [[] for _ in prompts]
    rows = torch.arange(len(prompts), device=logits.device)  # rows of the decoder -> prompts
    open_rows = torch.ones_like(rows, dtype=torch.bool)
    for left_to_draw in reversed(range(max_new_tokens)):
        drawn = _draw(logits.float(), temperature, warpers)
        for row, token in zip(rows[open_rows].tolist(), drawn[open_rows].tolist(), strict=True):
            completions[row].append(token)
        open_rows &= ~torch.isin(drawn, ends)
        left = int(open_rows.sum())
        if left == 0 or left_to_draw == 0:
            break
        if left <= (1 - _DROP_AT) * len(rows):
            decoder.keep(open_rows.nonzero()[:, 0])
            rows, drawn = rows[open_rows], drawn[open_rows]
            open_rows = open_rows[open_rows]
        logits = decoder.step(drawn)
    return completions


def _open_decoder(model: CausalModel, pad: int, max_new_tokens: int) -> Decoder:
    """The fastest decoder for a model."""
    plain = model if isinstance(model, Qwen3) else Qwen3.of(model)
    if plain is not None:
        return Qwen3Decoder(plain, pad=pad, max_new_tokens=max_new_tokens)
    assert not isinstance(model, Qwen3)
    return TransformersDecoder(model, pad=pad)


def _warpers(top_p: float, top_k: int) -> list[Warper]:
    """What changes the scores `[n, vocabulary]` before a token is drawn."""
    if top_k == 0 and top_p >= 1:
        return []
    from transformers.generation import TopKLogitsWarper, TopPLogitsWarper

    warpers: list[Warper] = []
    if top_k > 0:
        warpers.append(TopKLogitsWarper(top_k))
    if top_p < 1:
        warpers.append(TopPLogitsWarper(top_p))
    return warpers


def _draw(logits: Tensor, temperature: float, warpers: Sequence[Warper]) -> Tensor:
    """One token for each row of logits `[n, vocabulary]`."""
    if temperature == 0:
        return logits.argmax(dim=-1)
    scores = logits / temperature
    for warper in warpers:
        scores = warper(None, scores)
    # The first token at which the cumulative probability reaches a uniform number of (0, 1];
    # its own is not 0. `multinomial` takes a random number for each token of the vocabulary.
    reached = scores.softmax(dim=-1).cumsum(dim=-1)
    aimed = (1 - torch.rand(len(reached), 1, device=reached.device)) * reached[:, -1:]
    return torch.searchsorted(reached, aimed)[:, 0]
