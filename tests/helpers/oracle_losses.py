"""Loss and gradient of a fixed batch: the papers' formulas, TRL, and the backend `split`."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

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
from tiny_trainer import build_trainer, padded

TOLERANCE = 1e-5
TEMPERATURE, LOW, HIGH = 0.9, 0.2, 0.28


class Case(NamedTuple):
    """What of a batch counts, and how."""

    off_policy: bool = False
    """Whether another policy drew the completions, as in later iterations."""
    truncated_masked: bool = False
    dropped: bool = False
    """Whether groups without variance are left out."""
    passes: int = 1
    """Passes of the step."""
    updates: int = 1
    """Steps that share the batch; the loss is that of the first."""


CASES = [Case(*(bool(n & bit) for bit in (1, 2, 4))) for n in range(8)]


class Batch:
    """A fixed batch in torch.

    Args:
        prompts: Token ids of the prompt of each group; those of the batch if None.

    """

    def __init__(self, prompts: Sequence[Sequence[int]] | None = None) -> None:
        numbers = {name: torch.from_numpy(value) for name, value in fixed_batch().items()}
        self.prompt_ids, self.prompt_mask = numbers["prompt_ids"], numbers["prompt_mask"]
        if prompts is not None:
            rows = [list(prompt) for prompt in prompts for _ in range(GROUP)]
            self.prompt_mask = padded([len(row) for row in rows], left=True)
            self.prompt_ids = torch.zeros_like(self.prompt_mask).masked_scatter(
                self.prompt_mask == 1, torch.tensor([token for row in rows for token in row])
            )
        self.ids, self.mask = numbers["completion_ids"], numbers["completion_mask"]
        self.rewards = numbers["rewards"]
        self.old, self.reference = numbers["old_logps"], numbers["reference_logps"]
        self.advantages = formulas.advantages(self.rewards, GROUP, "group")
        self.truncated = self.mask.sum(dim=1) == MAX_LENGTH
        self.flat = has_zero_variance(self.rewards, GROUP).repeat_interleave(GROUP)

    def rows(self, case: Case) -> list[int]:
        """Places of the completions that are in the loss of the step."""
        step = range(len(self.ids) // case.updates)
        return [place for place in step if not (case.dropped and self.flat[place])]

    def in_split(self, case: Case) -> list[Row]:
        """These completions as the backend `split` has them."""
        return [
            Row(
                prompt_ids=self.prompt_ids[place][self.prompt_mask[place] == 1].tolist(),
                completion_ids=self.ids[place][: self.mask[place].sum()].tolist(),
                advantage=self.advantages[place].item(),
                is_masked=case.truncated_masked and bool(self.truncated[place]),
                old=self.old[place][self.mask[place] == 1] if case.off_policy else None,
                reference=self.reference[place][self.mask[place] == 1],
            )
            for place in self.rows(case)
        ]


def algorithm_of(loss_type: formulas.LossType, beta: float) -> Algorithm:
    """The settings of all these losses."""
    return Algorithm(
        loss_type=loss_type,
        scale_rewards="group",
        beta=beta,
        num_generations=GROUP,
        epsilon=LOW,
        epsilon_high=HIGH,
        temperature=TEMPERATURE,
        lr_scheduler_type="constant",
    )


def trl_trainer(base: Path, out: Path, loss_type: str, beta: float) -> GRPOTrainer:
    """The trainer of TRL with the same settings, as the backend `trl` renders them."""
    trainer = build_trainer(
        GRPOTrainer,
        base,
        out,
        loss_type=loss_type,
        beta=beta,
        use_bias_correction_kl=False,  # as rendered; TRL's default multiplies k3 by the ratio
        epsilon=LOW,
        epsilon_high=HIGH,
        temperature=TEMPERATURE,
        max_completion_length=MAX_LENGTH,
        per_device_train_batch_size=16,
        gradient_accumulation_steps=1,
        steps_per_generation=1,
    )
    trainer.model.train()
    return trainer


def of_formula(model: PreTrainedModel, batch: Batch, case: Case, algorithm: Algorithm) -> Tensor:
    """The loss by the formulas, in one pass over the whole step."""
    rows, places = batch.in_split(case), batch.rows(case)
    logps, mask, _ = token_logps(model, rows, algorithm.temperature)
    width = mask.shape[1]
    if case.truncated_masked:
        mask = mask * (~batch.truncated[places])[:, None]
    return formulas.loss(
        logps,
        old=batch.old[places, :width] if case.off_policy else logps.detach(),
        advantage=batch.advantages[places],
        mask=mask,
        reference=batch.reference[places, :width],
        beta=algorithm.beta,
        low=LOW,
        high=HIGH,
        loss_type=algorithm.loss_type,
        max_length=MAX_LENGTH,
    )


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
    trainer.current_gradient_accumulation_steps = case.passes
    trainer.args.steps_per_generation = case.passes * case.updates
    losses = []
    for rows in torch.arange(len(batch.ids)).chunk(case.passes * case.updates)[: case.passes]:
        part = {name: value[rows] if value.ndim else value for name, value in inputs.items()}
        losses.append(trainer.compute_loss(trainer.model, part))
    loss: Tensor = torch.stack(losses).sum()
    return loss * inputs.get("loss_scale", 1.0)


def of_split(model: PreTrainedModel, batch: Batch, case: Case, algorithm: Algorithm) -> Tensor:
    """The loss by the backend `split`, in passes of three completions."""
    rows = batch.in_split(case)
    tokens = sum(len(row.completion_ids) for row in rows if not row.is_masked)
    parts = []
    for part in micro_batches(rows, 3):
        logps, mask, _ = token_logps(model, part, algorithm.temperature)
        totals = {"completions": len(rows), "tokens": tokens}
        parts.append(pass_loss(logps, mask, part, algorithm, MAX_LENGTH, **totals))
    assert len(parts) > 2
    return torch.stack(parts).sum()


def gradient(loss: Tensor, model: PreTrainedModel) -> Tensor:
    """Gradient of all weights in one vector."""
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))])


class Measured(NamedTuple):
    """A loss and its gradient, without a graph."""

    loss: float
    gradient: Tensor

    @classmethod
    def of(cls, loss: Tensor, model: PreTrainedModel) -> "Measured":
        """Measure a loss of a model."""
        return cls(loss.item(), gradient(loss, model))

    def errors(self, wanted: "Measured", batch: Batch) -> tuple[float, float]:
        """Relative differences of loss and gradient from others."""
        # On policy the loss is a difference of advantages, so it is measured on their scale.
        scale = max(abs(wanted.loss), batch.advantages.abs().mean().item())
        distance = (self.gradient - wanted.gradient).norm() / wanted.gradient.norm()
        return abs(self.loss - wanted.loss) / scale, distance.item()
