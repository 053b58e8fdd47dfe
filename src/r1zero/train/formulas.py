r"""The formulas of the GRPO papers, as code that can be read next to them.

The backend `split` trains with them. TRL computes its own loss: tests hold the two against each
other. `n` completions of a batch stand in groups of `G` in a row, one group for each problem; `T`
is the number of tokens of the longest completion; `mask [n, T]` is 1 where a completion has a token
that counts.

The objective (DeepSeekMath, arXiv 2402.03300, eq. 3, for completions o_i of one problem q):

    J = E[ 1/G sum_i 1/|o_i| sum_t { min(r_it A_i, clip(r_it, 1 - e, 1 + e) A_i) - beta k3_it } ]
    r_it = pi(o_it | q, o_i,<t) / pi_old(o_it | q, o_i,<t)

The loss is -J. The papers that came after differ in the advantage A_i, in the ratio r, in the range
of the clip, and in what the sum over tokens is divided by.
"""

from typing import Any, Literal

import torch
from torch import Tensor

Scale = Literal["group", "batch", "none"]
LossType = Literal["grpo", "dr_grpo", "dapo", "bnpo"]

# TRL's; it keeps groups of nearly equal rewards from being blown up.
EPSILON = 1e-4


def advantages(rewards: Tensor, group: int, scale: Scale) -> Tensor:
    r"""Group-normalised advantages `[n]` of rewards `[n]` (DeepSeekMath, section 4.1.2).

        A_i = (R_i - mean(R)) / std(R)

    with mean and standard deviation (unbiased, as TRL has it) over the group. The mean is a
    baseline: for any b that does not depend on the action, E[b grad log pi] = b grad sum_o pi(o) =
    b grad 1 = 0, so the gradient's expectation stays and its variance falls. It does depend on the
    action here, as one of G: R_i - mean(R) = (G-1)/G (R_i - mean of the others), so the expected
    gradient is (G-1)/G of the unbiased one, which is a smaller learning rate and no other
    direction.

    Dividing by the standard deviation does change the direction: it gives problems that are nearly
    always or never solved the largest weights. Dr. GRPO (arXiv 2503.20783, section 3.1) leaves it
    out (`none`). `batch` divides by that of the whole batch, which weighs all problems alike.

    A reward of NaN is that of a completion that no reward function applies to. It counts in no
    mean, and its advantage is 0.
    """
    groups = rewards.view(-1, group)
    centred = (groups - groups.nanmean(dim=1, keepdim=True)).flatten()
    match scale:
        case "group":
            centred = centred / (_std(groups).repeat_interleave(group) + EPSILON)
        case "batch":
            centred = centred / (_std(rewards[None]) + EPSILON)
    return centred.nan_to_num(nan=0.0)


def _std(values: Tensor) -> Tensor:
    """Unbiased standard deviation `[n]` of the numbers of each row `[n, m]`; NaN of less than 2."""
    centred = values - values.nanmean(dim=1, keepdim=True)
    degrees = (~values.isnan()).sum(dim=1) - 1
    return (centred.square().nansum(dim=1) / degrees.where(degrees > 0, torch.nan)).sqrt()


def k3(logps: Tensor, reference: Tensor) -> Tensor:
    r"""Schulman's third estimate of KL(pi || ref), from tokens that pi drew.

        k3 = x - 1 - log x,   x = ref(o) / pi(o)        (joschu.net/blog/kl-approx.html)

    Unbiased: E_pi[x] = sum_o pi(o) ref(o) / pi(o) = 1, so x - 1 adds nothing to E_pi[-log x], which
    is the KL divergence; it is a control variate. Nonnegative: log x <= x - 1, with equality at
    x = 1 alone. -log x by itself (k1) is unbiased too, but negative wherever pi(o) < ref(o).

    Its gradient with respect to log pi(o) is 1 - x: it draws the probability of a token towards the
    reference's, from either side. (That is the gradient of the estimate, the tokens being given.
    Which tokens are drawn depends on pi too, so it is no estimate of the gradient of KL(pi || ref).
    Its expectation E_pi[(1 - x) grad log pi] = -sum_o ref(o) grad log pi(o) is the gradient of
    KL(ref || pi).)

    DeepSeek-V3.2 (arXiv 2512.02556) multiplies it by the ratio r = pi / pi_old, which is TRL's
    `use_bias_correction_kl`. On policy that adds k3 grad log pi to the gradient and makes it
    -log x grad log pi, whose expectation is the gradient of KL(pi || ref). The GRPO paper does not.
    """
    log_x = reference - logps
    return log_x.exp() - log_x - 1


def token_ratio(logps: Tensor, old: Tensor) -> Tensor:
    r"""Probability ratios `[n, T]` of each token, r_it = pi / pi_old (PPO, arXiv 1707.06347).

    For E_old[r A] = E_pi[A], it weighs what the old policy drew as the new one would have drawn it.
    """
    return (logps - old).exp()


def sequence_ratio(logps: Tensor, old: Tensor, mask: Tensor) -> Tensor:
    r"""One ratio for each completion `[n, 1]`, by GSPO (arXiv 2507.18071, eq. 7).

        s_i = (pi(o_i) / pi_old(o_i)) ^ (1 / |o_i|) = exp(1/|o_i| sum_t log r_it)

    The reward is that of a completion, so its weight is that of a completion. The length's root
    keeps ratios of completions of any length in one range, which a clip needs.
    """
    lengths = mask.sum(dim=1, keepdim=True).clamp(min=1)
    return (((logps - old) * mask).sum(dim=1, keepdim=True) / lengths).exp()


def clipped_surrogate(ratio: Tensor, advantage: Tensor, low: float, high: float) -> Tensor:
    r"""PPO's pessimistic surrogate, min(r A, clip(r, 1 - low, 1 + high) A), shaped like `ratio`.

    With A > 0 it is flat above 1 + high, with A < 0 below 1 - low: there a token has no gradient,
    for it has moved far enough. Where a step would make things worse it is never flat. DAPO (arXiv
    2503.14476, section 3.1) takes high > low, so that unlikely tokens may become likelier.

    Args:
        ratio: `[n, T]` or `[n, 1]`.
        advantage: `[n, 1]`.
        low: How far a ratio may fall below 1.
        high: How far it may rise above.
    """
    return torch.min(ratio * advantage, ratio.clamp(1 - low, 1 + high) * advantage)


def token_weights(
    mask: Tensor, loss_type: LossType, max_length: int, *, completions: int, tokens: int
) -> Tensor:
    r"""Weight of each token `[n, T]` in the loss, which is the weighted sum of theirs.

    - grpo: 1/n sum_i 1/|o_i| sum_t l_it. Each completion weighs the same, so a token of a long one
      weighs less: long wrong completions are punished less than short ones.
    - dapo, bnpo: sum_it l_it / sum_i |o_i|. Each token weighs the same. dapo counts the tokens of
      the whole step, bnpo those of one pass, so bnpo's loss depends on how a step is cut up.
    - dr_grpo: sum_it l_it / (n max_length). As dapo, with a constant in place of a number that
      depends on what was drawn, so that the gradient is unbiased.

    Because the rows are added up, a batch may be cut into passes, and over processes, wherever its
    totals are those of the whole.

    Args:
        mask: `[n, T]`, rows of a batch or of a part of it.
        loss_type: What the sum is divided by.
        max_length: Longest completion allowed, in tokens.
        completions: Completions of the whole batch.
        tokens: Unmasked tokens of the whole batch.
    """
    match loss_type:
        case "grpo":
            return mask / mask.sum(dim=1, keepdim=True).clamp(min=1) / max(completions, 1)
        case "dapo" | "bnpo":
            return mask / max(tokens, 1)
        case "dr_grpo":
            return mask / (max(completions, 1) * max_length)


def token_losses(
    logps: Tensor,
    *,
    old: Tensor,
    advantage: Tensor,
    mask: Tensor,
    reference: Tensor | None,
    beta: float,
    low: float,
    high: float,
    level: Literal["token", "sequence"] = "token",
    corrected: bool = False,
) -> Tensor:
    """Loss of each token `[n, T]`, before it is weighted.

    Args:
        logps: Log-probabilities `[n, T]` of the tokens drawn.
        old: Those under the policy that drew them.
        advantage: `[n]`.
        mask: `[n, T]`.
        reference: Log-probabilities under the reference model, where `beta` is not 0.
        beta: Weight of the KL penalty.
        low: How far a ratio may fall below 1.
        high: How far it may rise above.
        level: A ratio for each token, or for each completion (GSPO).
        corrected: Whether the KL estimate is multiplied by the ratio.
    """
    ratio = token_ratio(logps, old) if level == "token" else sequence_ratio(logps, old, mask)
    per_token = -clipped_surrogate(ratio, advantage[:, None], low, high)
    if beta and reference is not None:
        penalty = k3(logps, reference)
        per_token = per_token + beta * (penalty * ratio if corrected else penalty)
    return per_token


def loss(
    logps: Tensor,
    *,
    mask: Tensor,
    loss_type: LossType,
    max_length: int,
    **policy: Any,
) -> Tensor:
    """The loss of a batch in one pass.

    On policy (old = logps) its value is minus the mean advantage, by the weights of `loss_type`,
    plus beta times the KL estimate: 0 for `grpo` without a penalty, since the advantages of a group
    sum to 0. Its gradient is -A grad log pi, as of any policy gradient; that is not 0.

    Args:
        logps: Log-probabilities `[n, T]` of the tokens drawn.
        mask: `[n, T]`.
        loss_type: What the sum over tokens is divided by.
        max_length: Longest completion allowed, in tokens.
        policy: The other arguments of `token_losses`.
    """
    weights = token_weights(
        mask, loss_type, max_length, completions=len(mask), tokens=int(mask.sum())
    )
    return (token_losses(logps, mask=mask, **policy) * weights).sum()
