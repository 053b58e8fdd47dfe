"""The loss and gradient of `split` are those of TRL, on batches that are given.

`pytest -s` prints the table.
"""

from pathlib import Path
from typing import get_args

import pytest

from oracle_losses import (
    CASES,
    TOLERANCE,
    Batch,
    Measured,
    algorithm_of,
    of_split,
    of_trl,
    trl_trainer,
)
from r1zero.train import formulas


@pytest.mark.parametrize("beta", [0.0, 0.04])
@pytest.mark.parametrize("loss_type", get_args(formulas.LossType))
def test_loss_and_gradient_are_those_of_trl(
    base: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    loss_type: formulas.LossType,
    beta: float,
) -> None:
    monkeypatch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")  # rollout_func
    trainer = trl_trainer(base, tmp_path, loss_type, beta)
    algorithm = algorithm_of(loss_type, beta)
    batch, seen = Batch(), set()
    print(f"\n{'loss':8} {'beta':5} off-policy truncated dropped {'loss':>11} {'gradient':>9}")
    for case in CASES:
        theirs = Measured.of(of_trl(trainer, batch, case, loss_type), trainer.model)
        mine = Measured.of(of_split(trainer.model, batch, case, algorithm), trainer.model)
        errors = mine.errors(theirs, batch)
        print(
            f"{loss_type:8} {beta:<5} {case.off_policy!s:10} {case.truncated_masked!s:9} "
            f"{case.dropped!s:7} {errors[0]:11.1e} {errors[1]:9.1e}"
        )
        assert max(errors) < TOLERANCE
        seen.add(round(theirs.gradient.norm().item(), 7))
    # Or the cases would not test what they are called.
    assert len(seen) >= len(CASES) - (2 if beta == 0 else 0)
