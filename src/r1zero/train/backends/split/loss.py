"""The loss of one pass: log-probabilities of completions, and the papers' formulas on them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from r1zero.settings.recipe import Algorithm
from r1zero.train.formulas import token_losses, token_weights

# Tokens in one forward pass, with padding: on a CPU small ones stay in its caches.
_TOKENS_PER_PASS = 4096


@dataclass
class Row:
    """One completion in the loss, of `T` tokens."""

    prompt_ids: list[int]
    completion_ids: list[int]
    advantage: float
    is_masked: bool
    """Whether it is left out of the sum, though it counts as a completion."""
    old: Tensor | None = None
    """`[T]`, log-probabilities under the policy that drew it; None if that is the current one."""
    reference: Tensor | None = None
    """`[T]`, log-probabilities under the reference model."""


def micro_batches(rows: Sequence[Row], most: int) -> Iterator[list[Row]]:
    """Cut rows into passes of similar lengths, each of at most `most` rows."""
    order = sorted(rows, key=lambda row: len(row.prompt_ids) + len(row.completion_ids))
    while order:
        size = 1
        while size < min(most, len(order)):
            longest = len(order[size].prompt_ids) + len(order[size].completion_ids)
            if (size + 1) * longest > _TOKENS_PER_PASS:
                break
            size += 1
        yield order[:size]
        order = order[size:]


def token_logps(
    model: torch.nn.Module, rows: Sequence[Row], temperature: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Log-probabilities of the tokens of completions of at most `T` tokens.

    Rows are padded on the right, so that under causal attention they need no mask.

    Returns:
        Log-probabilities and mask, both `[n, T]`, and the sum of the entropies of the masked-in
        positions, which has no gradient.

    """
    sequences = [torch.tensor(row.prompt_ids + row.completion_ids) for row in rows]
    ids = pad_sequence(sequences, batch_first=True)
    starts = torch.tensor([len(row.prompt_ids) for row in rows])[:, None]
    lengths = torch.tensor([len(row.completion_ids) for row in rows])[:, None]
    # The logits of a position are those of the next token.
    positions = torch.arange(1, ids.shape[1])
    scored = (positions >= starts) & (positions < starts + lengths)
    logits = model(input_ids=ids, use_cache=False).logits[:, :-1][scored]
    log_p = (logits.float() / temperature).log_softmax(dim=-1)
    drawn = log_p.gather(-1, ids[:, 1:][scored][:, None])[:, 0]
    mask = torch.arange(int(lengths.max())) < lengths
    logps = torch.zeros(mask.shape).masked_scatter(mask, drawn)
    with torch.no_grad():
        entropy = -(log_p.exp() * log_p).sum()
    return logps, mask, entropy


def pass_loss(
    logps: Tensor,
    mask: Tensor,
    rows: Sequence[Row],
    algorithm: Algorithm,
    max_length: int,
    *,
    completions: int,
    tokens: int,
) -> Tensor:
    """The part of a step's loss that comes from the rows of one pass.

    Args:
        logps: `[n, T]`, from `token_logps`.
        mask: `[n, T]`, from `token_logps`.
        rows: The rows.
        algorithm: Loss, clipping and penalty.
        max_length: Longest completion allowed, in tokens.
        completions: Completions of the whole step.
        tokens: Unmasked tokens of the whole step.

    """
    kept = mask * (~torch.tensor([row.is_masked for row in rows]))[:, None]
    per_token = token_losses(
        logps,
        old=old_logps(logps, rows),
        advantage=torch.tensor([row.advantage for row in rows]),
        mask=kept,
        reference=padded([row.reference for row in rows]),
        beta=algorithm.beta,
        low=algorithm.epsilon,
        high=algorithm.epsilon_high or algorithm.epsilon,
    )
    weights = token_weights(
        kept, algorithm.loss_type, max_length, completions=completions, tokens=tokens
    )
    return (per_token * weights).sum()


def old_logps(logps: Tensor, rows: Sequence[Row]) -> Tensor:
    """Log-probabilities `[n, T]` under the policy that drew the rows."""
    old = padded([row.old for row in rows])
    return logps.detach() if old is None else old


def padded(parts: Sequence[Tensor | None]) -> Tensor | None:
    """One tensor `[n, T]` of several `[T_i]`; None where they are."""
    found = [part for part in parts if part is not None]
    return pad_sequence(found, batch_first=True) if found else None
