"""Loss and gradient of ms-swift are those of the papers' formulas, and where not, by how much.

`pytest -s` prints the table. The batch is that of `split` and TRL (`fixed_batches.py`).
"""

import pytest

from fixed_batches import MAX_LENGTH
from oracle_losses import TOLERANCE
from r1zero.train import formulas
from swift_losses import AGREEING, DIFFERENT, Case
from swift_oracle import Oracle

pytestmark = pytest.mark.swift

# ms-swift 4.6, grpo_trainer.py: `per_token_kl = torch.clamp(..., min=-10, max=10)`.
CLAMP = 10


@pytest.mark.parametrize("case", AGREEING, ids=lambda case: case.name)
def test_the_loss_is_that_of_the_formulas(oracle: Oracle, case: Case) -> None:
    assert max(oracle.errors(case)) < TOLERANCE


def test_every_case_is_another_one(oracle: Oracle) -> None:
    # The cut changes bnpo alone; the truncated and the off-policy change every loss.
    norms = {round(oracle.by_swift(case)[1].norm().item(), 6) for case in AGREEING}
    assert len(norms) > len(AGREEING) // 2


@pytest.mark.parametrize(
    "case", [case for case in DIFFERENT if case.reference == "far_logps"], ids=lambda c: c.name
)
def test_the_kl_estimate_of_a_token_is_clamped(
    oracle: Oracle, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert max(oracle.errors(case)) > 100 * TOLERANCE
    k3 = formulas.k3
    monkeypatch.setattr(formulas, "k3", lambda *logps: k3(*logps).clamp(max=CLAMP))
    assert max(oracle.errors(case)) < TOLERANCE


@pytest.mark.parametrize(
    "case", [case for case in DIFFERENT if case.truncated_masked], ids=lambda c: c.name
)
def test_dapo_counts_the_tokens_of_masked_completions(oracle: Oracle, case: Case) -> None:
    lengths = oracle.mask.sum(dim=1)
    kept = lengths[lengths < MAX_LENGTH].sum() / lengths.sum()
    assert max(oracle.errors(case)) > 100 * TOLERANCE
    assert max(oracle.errors(case, float(1 / kept))) < TOLERANCE


@pytest.mark.parametrize(
    "case", [case for case in DIFFERENT if case.updates > 1], ids=lambda c: c.name
)
def test_of_steps_that_share_rollouts_dapo_alone_is_another(oracle: Oracle, case: Case) -> None:
    lengths = oracle.mask.sum(dim=1)
    share = lengths[: len(lengths) // case.updates].sum() / lengths.sum()
    factor = float(1 / share) if case.loss_type == "dapo" else 1.0
    assert max(oracle.errors(case, factor)) < TOLERANCE
