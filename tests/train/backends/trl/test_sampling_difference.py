"""How far vLLM's log-probabilities are from the trainer's is logged without a correction too."""

from pathlib import Path

import pytest
import torch

from r1zero.train.backends.trl.sampling_difference import (
    DIFFERENCE,
    RATIO,
    SamplingDifferenceTrainer,
)
from tiny_trainer import batch, build_trainer


@pytest.fixture
def trainer(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> SamplingDifferenceTrainer:
    monkeypatch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")  # rollout_func
    changes = {"vllm_importance_sampling_correction": False, "num_iterations": 2}
    return build_trainer(SamplingDifferenceTrainer, base, tmp_path, **changes)


def test_the_difference_of_a_batch_is_logged_at_its_first_step(
    trainer: SamplingDifferenceTrainer,
) -> None:
    inputs = batch()
    trainer._compute_loss(trainer.model, inputs)
    own = trainer._own
    assert own is not None
    assert not any(name.startswith("sampling/") for name in trainer._metrics["train"])
    mask = inputs["completion_mask"].bool()
    offsets = torch.linspace(-0.3, 0.5, own.numel()).view_as(own)
    theirs = own - offsets
    row, column = mask.nonzero()[0].tolist()
    theirs[row, column] = torch.nan
    seen = offsets[mask & ~theirs.isnan()]
    losses = []
    for step in range(4):  # two passes of the first step, two of the second
        trainer._step = step
        losses.append(trainer._compute_loss(trainer.model, inputs))
        losses.append(
            trainer._compute_loss(trainer.model, inputs | {"sampling_per_token_logps": theirs})
        )
    assert all(torch.equal(loss, losses[0]) for loss in losses)
    found = {
        name: values
        for name, values in trainer._metrics["train"].items()
        if name.startswith("sampling/")
    }
    assert found == {
        f"{DIFFERENCE}/mean": [pytest.approx(seen.abs().mean().item(), abs=1e-5)],
        f"{DIFFERENCE}/max": [pytest.approx(seen.abs().max().item(), abs=1e-5)],
        f"{RATIO}/mean": [pytest.approx(seen.exp().mean().item(), abs=1e-5)],
        f"{RATIO}/max": [pytest.approx(seen.exp().max().item(), abs=1e-5)],
        f"{RATIO}/min": [pytest.approx(seen.exp().min().item(), abs=1e-5)],
    }
