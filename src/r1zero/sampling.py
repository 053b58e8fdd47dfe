"""Sampling from a transformers model without a server: the rollouts and evaluations on a CPU.

`model.generate` carries finished sequences along until the longest one ends. Lengths in these tasks
differ tenfold, so most of its work is on padding. This loop drops sequences as they finish. Each
token comes from the same distribution; a test holds it against `generate`.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel
from transformers.generation import LogitsProcessorList, TopKLogitsWarper, TopPLogitsWarper

# Finished share of the rows at which they are dropped. Dropping copies the cache of the others.
_DROP_AT = 0.15


@torch.inference_mode()
def sample(
    model: PreTrainedModel,
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
        model: A causal language model; its mode (train or eval) is left as it is.
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
    device = model.device
    ids, mask = _left_pad(prompts, pad, device)
    warpers = _warpers(top_p, top_k)
    ends = torch.tensor(list(eos), device=device)
    completions: list[list[int]] = [[] for _ in prompts]
    rows = torch.arange(len(prompts), device=device)  # rows of the cache -> prompts
    open_rows = torch.ones(len(prompts), dtype=torch.bool, device=device)
    positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
    cache = DynamicCache(config=model.config)
    for _ in range(max_new_tokens):
        logits = model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]
        drawn = _draw(logits.float(), temperature, warpers)
        for row, token in zip(rows[open_rows].tolist(), drawn[open_rows].tolist(), strict=True):
            completions[row].append(token)
        open_rows &= ~torch.isin(drawn, ends)
        left = int(open_rows.sum())
        if left == 0:
            break
        positions = positions[:, -1:] + 1
        ids = drawn[:, None]
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
        if left <= (1 - _DROP_AT) * len(rows):
            cache.batch_select_indices(open_rows.nonzero()[:, 0])
            rows, ids, mask, positions = (x[open_rows] for x in (rows, ids, mask, positions))
            open_rows = open_rows[open_rows]
    return completions


def _left_pad(
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


def _warpers(top_p: float, top_k: int) -> LogitsProcessorList:
    warpers = LogitsProcessorList()
    if top_k > 0:
        warpers.append(TopKLogitsWarper(top_k))
    if top_p < 1:
        warpers.append(TopPLogitsWarper(top_p))
    return warpers


def _draw(logits: Tensor, temperature: float, warpers: LogitsProcessorList) -> Tensor:
    """One token for each row of logits `[n, vocabulary]`."""
    if temperature == 0:
        return logits.argmax(dim=-1)
    scores = warpers(None, logits / temperature)
    return torch.multinomial(scores.softmax(dim=-1), 1)[:, 0]
