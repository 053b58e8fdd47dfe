"""TRL's GRPOTrainer with the difference between sampling and training logged in every run.

vLLM and the trainer compute slightly different log-probabilities from the same weights. TRL 1.16
logs the difference only where it corrects the loss for it.
"""

import math
from typing import Any

import torch
from torch import Tensor

from r1zero.train.backends.trl.rollout_recording import RolloutRecordingTrainer

DIFFERENCE = "sampling/sampling_logp_difference"
RATIO = "sampling/importance_sampling_ratio"


class SamplingDifferenceTrainer(RolloutRecordingTrainer):
    """Trainer that logs TRL's metrics of the importance sampling also where it is not corrected.

    The log-probabilities are those of the passes of a batch's first step, whose weights are the
    ones that generated it, so they cost no pass more. The ratios are those of tokens. With top-p or
    top-k, vLLM's log-probabilities are renormalised, and the difference is not only rounding.

    `r1zero.train.backends.trl` lists the members of TRL that are overridden. The arguments are
    those of `RolloutRecordingTrainer`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._own: Tensor | None = None
        self._differences: list[Tensor] = []

    def _get_per_token_logps_and_entropies(self, *args: Any, **kwargs: Any) -> Any:
        result = super()._get_per_token_logps_and_entropies(*args, **kwargs)
        self._own = result[0].detach()
        return result

    def _compute_loss(self, model: torch.nn.Module, inputs: dict[str, Tensor]) -> Tensor:
        loss: Tensor = super()._compute_loss(model, inputs)
        passes = self.args.gradient_accumulation_steps
        number = self._step % (self.args.steps_per_generation * self.num_iterations)
        theirs = inputs.get("sampling_per_token_logps")
        if theirs is None or self.vllm_importance_sampling_correction or number >= passes:
            return loss
        assert self._own is not None
        mask = inputs["completion_mask"].bool()
        if "tool_mask" in inputs:
            mask = mask & inputs["tool_mask"].bool()
        self._differences.append((self._own - theirs)[mask])
        if number == passes - 1:
            self._log_differences()
        return loss

    def _log_differences(self) -> None:
        """Log the differences of a step over all processes."""
        found = torch.cat(self._differences)
        self._differences = []
        # Tokens that vLLM could not score are NaN.
        found = found[~found.isnan()].float()
        counted = torch.stack([found.abs().sum(), found.exp().sum(), found.new_tensor(len(found))])
        # Without a token nothing is largest.
        least = found.new_full((1,), math.inf)
        extremes = torch.stack(
            [
                torch.cat([found.abs(), -least]).max(),
                torch.cat([found, -least]).max(),
                -torch.cat([found, least]).min(),
            ]
        )
        total, ratios, tokens = self.accelerator.gather(counted[None]).sum(0).tolist()
        worst, high, low = self.accelerator.gather(extremes[None]).max(0).values.tolist()
        if not tokens:
            return
        metrics = self._metrics["train"]
        metrics[f"{DIFFERENCE}/mean"].append(total / tokens)
        metrics[f"{DIFFERENCE}/max"].append(worst)
        metrics[f"{RATIO}/mean"].append(ratios / tokens)
        metrics[f"{RATIO}/max"].append(math.exp(high))
        metrics[f"{RATIO}/min"].append(math.exp(-low))
