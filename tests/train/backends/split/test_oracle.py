"""The loss and gradient of `split` are those of TRL, on batches that are given.

`pytest -s` prints the table.
"""

from pathlib import Path
from typing import NamedTuple, get_args

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel
from trl import GRPOTrainer

from fixed_batches import GROUP, MAX_LENGTH, fixed_batch
from r1zero.settings.recipe import Algorithm
from r1zero.train import formulas
from r1zero.train.backends.split.loss import Row, micro_batches, pass_loss, token_logps
from r1zero.train.backends.trl import batches
from r1zero.train.zero_variance import has_zero_variance
from tiny_trainer import build_trainer

TOLERANCE = 1e-5


class Case(NamedTuple):
    """What of a batch counts, and how."""

    off_policy: bool
    truncated_masked: bool
    dropped: bool


CASES = [Case(*(bool(n & bit) for bit in (1, 2, 4))) for n in range(8)]


class Batch:
    """A fixed batch in torch."""

    def __init__(self) -> None:
        numbers = {name: torch.from_numpy(value) for name, value in fixed_batch().items()}
        self.prompt_ids, self.prompt_mask = numbers["prompt_ids"], numbers["prompt_mask"]
        self.ids, self.mask = numbers["completion_ids"], numbers["completion_mask"]
        self.rewards = numbers["rewards"]
        self.old, self.reference = numbers["old_logps"], numbers["reference_logps"]
        self.advantages = formulas.advantages(self.rewards, GROUP, "group")
        self.truncated = self.mask.sum(dim=1) == MAX_LENGTH
        self.flat = has_zero_variance(self.rewards, GROUP).repeat_interleave(GROUP)


def of_trl(trainer: GRPOTrainer, batch: Batch, case: Case, loss_type: str) -> Tensor:
    """The loss by TRL, and by the layer of the backend `trl` where groups are dropped."""
    mask = batch.mask * (~batch.truncated)[:, None] if case.truncated_masked else batch.mask
    inputs = {
        "prompt_ids": batch.prompt_ids,
        "prompt_mask": batch.prompt_mask,
        "completion_ids": batch.ids,
        "completion_mask": mask,
        "advantages": batch.advantages,
        "ref_per_token_logps": batch.reference,
        "num_items_in_batch": mask.sum(),
    }
    if case.off_policy:
        inputs["old_per_token_logps"] = batch.old
    if case.dropped:
        inputs = batches.dropped(inputs, batch.flat)
        inputs = batches.scaled(
            inputs,
            loss_type,
            everything=len(batch.flat),
            kept=int((~batch.flat).sum()),
            tokens=batches.tokens_in_loss(inputs),
        )
    loss: Tensor = trainer.compute_loss(trainer.model, inputs)
    return loss * inputs.get("loss_scale", 1.0)


def of_split(model: PreTrainedModel, batch: Batch, case: Case, algorithm: Algorithm) -> Tensor:
    """The loss by the backend `split`, in passes of three completions."""
    rows = [
        Row(
            prompt_ids=batch.prompt_ids[place][batch.prompt_mask[place] == 1].tolist(),
            completion_ids=batch.ids[place][: batch.mask[place].sum()].tolist(),
            advantage=batch.advantages[place].item(),
            is_masked=case.truncated_masked and bool(batch.truncated[place]),
            old=batch.old[place][batch.mask[place] == 1] if case.off_policy else None,
            reference=batch.reference[place][batch.mask[place] == 1],
        )
        for place in range(len(batch.ids))
        if not (case.dropped and batch.flat[place])
    ]
    tokens = sum(len(row.completion_ids) for row in rows if not row.is_masked)
    parts = []
    for part in micro_batches(rows, 3):
        logps, mask, _ = token_logps(model, part, algorithm.temperature)
        totals = {"completions": len(rows), "tokens": tokens}
        parts.append(pass_loss(logps, mask, part, algorithm, MAX_LENGTH, **totals))
    assert len(parts) > 3
    return torch.stack(parts).sum()


def gradient(loss: Tensor, model: PreTrainedModel) -> Tensor:
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))])


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
    trainer = build_trainer(
        GRPOTrainer,
        base,
        tmp_path,
        loss_type=loss_type,
        beta=beta,
        use_bias_correction_kl=False,  # as rendered; TRL's default multiplies k3 by the ratio
        epsilon=0.2,
        epsilon_high=0.28,
        temperature=0.9,
        max_completion_length=MAX_LENGTH,
        per_device_train_batch_size=16,
        gradient_accumulation_steps=1,
        steps_per_generation=1,
    )
    trainer.model.train()
    algorithm = Algorithm(
        loss_type=loss_type,
        scale_rewards="group",
        beta=beta,
        num_generations=GROUP,
        epsilon=0.2,
        epsilon_high=0.28,
        temperature=0.9,
        lr_scheduler_type="constant",
    )
    batch, seen = Batch(), set()
    print(f"\n{'loss':8} {'beta':5} off-policy truncated dropped {'loss':>11} {'gradient':>9}")
    for case in CASES:
        theirs = of_trl(trainer, batch, case, loss_type)
        mine = of_split(trainer.model, batch, case, algorithm)
        # On policy the loss is a difference of advantages, so it is measured on their scale.
        scale = max(abs(theirs.item()), batch.advantages.abs().mean().item())
        wanted = gradient(theirs, trainer.model)
        errors = (
            abs(mine.item() - theirs.item()) / scale,
            ((gradient(mine, trainer.model) - wanted).norm() / wanted.norm()).item(),
        )
        print(
            f"{loss_type:8} {beta:<5} {case.off_policy!s:10} {case.truncated_masked!s:9} "
            f"{case.dropped!s:7} {errors[0]:11.1e} {errors[1]:9.1e}"
        )
        assert max(errors) < TOLERANCE
        seen.add(round(wanted.norm().item(), 7))
    # Or the cases would not test what they are called.
    assert len(seen) >= len(CASES) - (2 if beta == 0 else 0)
