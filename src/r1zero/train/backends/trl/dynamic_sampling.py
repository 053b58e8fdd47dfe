"""TRL's GRPOTrainer with zero-variance groups as the recipe says: DAPO's dynamic sampling."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl
import torch
from torch import Tensor

from r1zero.train import zero_variance
from r1zero.train.backends.trl import batches
from r1zero.train.backends.trl.rollout_recording import last_of
from r1zero.train.backends.trl.weight_sync import WeightSyncTrainer


@dataclass
class Drawn:
    """Rollouts of a step: the batch of this process, everything else of all processes."""

    batch: batches.Batch
    rewards: Tensor
    """`[n]`, in the order of the rows."""
    places: Tensor
    """`[n]`, index of each row among the rollouts."""
    rollouts: list[pl.DataFrame]
    """One frame per draw."""


class DynamicSamplingTrainer(WeightSyncTrainer):
    """Trainer that keeps, drops or resamples zero-variance groups, and records every draw.

    `r1zero.train.backends.trl` lists the members of TRL that are overridden.

    Args:
        zero_variance_groups: `keep`, `drop` or `resample`, as in the recipe.
        max_resamples: Draws after which groups that still have no variance are dropped.

    The other arguments are those of `WeightSyncTrainer`.
    """

    def __init__(
        self,
        *args: Any,
        zero_variance_groups: Literal["keep", "drop", "resample"] = "keep",
        max_resamples: int = 8,
        **kwargs: Any,
    ) -> None:
        self.zero_variance_groups, self.max_resamples = zero_variance_groups, max_resamples
        super().__init__(*args, **kwargs)

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> batches.Batch:
        """As in TRL, then treat zero-variance groups as in the recipe."""
        batch: batches.Batch = super()._generate_and_score_completions(inputs)
        if not self.model.training:
            return batch
        size = len(inputs) * self.accelerator.num_processes
        rollouts = [self.last_rollouts(size, draw=0)]
        drawn = Drawn(batch, self.last_rewards(size), torch.arange(size), rollouts)
        self._count(drawn.rewards)
        if self.zero_variance_groups == "resample":
            self._resample(drawn)
        # Of all draws; the other metrics are of the first one.
        tokens = sum(int(rows["length"].sum()) for rows in drawn.rollouts)
        self._metrics["train"]["completions/tokens_of_all_draws"].append(tokens / size)
        gone = torch.zeros(size, dtype=torch.bool)
        if self.zero_variance_groups != "keep":
            gone = self._drop(drawn)
        in_loss = torch.zeros(sum(map(len, drawn.rollouts)), dtype=torch.bool)
        in_loss[drawn.places[~gone]] = True
        self.record(pl.concat(drawn.rollouts), in_loss)
        return drawn.batch

    def _count(self, rewards: Tensor) -> None:
        """Log the shares of zero-variance groups of the first draw."""
        right = None
        for term in self.reward_funcs:
            if getattr(term, "__name__", "") == "correct":
                worth = getattr(term, "options", {}).get("right", 1.0)
                right = torch.tensor(last_of(self._logs["rewards"]["correct"], len(rewards)))
                right = right == worth
        same = zero_variance.has_zero_variance(rewards, self.num_generations)
        shares = zero_variance.shares(same, right, self.num_generations)
        for name, share in shares._asdict().items():
            if share is not None:
                self._metrics["train"][f"groups/{name}"].append(share)

    def _resample(self, drawn: Drawn) -> None:
        """Replace zero-variance groups by other problems, until none is left or draws run out."""
        size = len(drawn.rewards)
        used, redrawn = set(last_of(self._logs["prompt"], size)), 0
        for draw in range(1, self.max_resamples + 1):
            same = zero_variance.has_zero_variance(drawn.rewards, self.num_generations)
            if not same.any():
                break
            problems = zero_variance.other_problems(
                self.train_dataset["prompt"],
                used,
                seed=self.args.seed,
                step=self.state.global_step,
                draw=draw,
                count=len(same),
            )
            wanted = same.nonzero()[:, 0].tolist()
            used |= {self.train_dataset[problems[place]]["prompt"] for place in wanted}
            redrawn += len(wanted)
            # Several processes draw the whole batch again, because their collectives must match.
            again = list(range(len(same))) if self.accelerator.num_processes > 1 else wanted
            other = self._redrawn([problems[place] for place in again])
            self._take(drawn, other, wanted, [again.index(place) for place in wanted])
            drawn.rollouts.append(self.last_rollouts(len(again) * self.num_generations, draw))
        share = redrawn * self.num_generations / size
        self._metrics["train"]["groups/redrawn"].append(share)

    def _redrawn(self, problems: Sequence[int]) -> batches.Batch:
        """Rollouts of this process's share of some problems."""
        count = len(problems) * self.num_generations // self.accelerator.num_processes
        first = self.accelerator.process_index * count
        inputs = [
            dict(self.train_dataset[problems[row // self.num_generations]])
            for row in range(first, first + count)
        ]
        # Metrics are those of the first draw, whose problems were not selected by their rewards.
        logged = {name: list(values) for name, values in self._metrics["train"].items()}
        batch: batches.Batch = super()._generate_and_score_completions(inputs)
        after = self._metrics["train"]
        logged["num_tokens"] = after["num_tokens"]
        logged["time/rollout"][-1] += after["time/rollout"][-1]
        self._metrics["train"] = defaultdict(list, logged)
        return batch

    def _take(
        self, drawn: Drawn, other: batches.Batch, wanted: Sequence[int], found: Sequence[int]
    ) -> None:
        """Replace groups by groups of the last draw.

        Args:
            drawn: Rollouts of the step so far.
            other: The last draw of this process.
            wanted: Groups to replace, of all processes.
            found: Indices of their replacements among the groups of the last draw.
        """
        index, rank = torch.arange(self.num_generations), self.accelerator.process_index
        to = (torch.tensor(wanted)[:, None] * self.num_generations + index).flatten()
        of = (torch.tensor(found)[:, None] * self.num_generations + index).flatten()
        size = len(other["advantages"])
        new = self.last_rewards(size * self.accelerator.num_processes)
        drawn.rewards = drawn.rewards.index_copy(0, to, new[of])
        drawn.places = drawn.places.index_copy(0, to, of + sum(map(len, drawn.rollouts)))
        # From here on, rows of this process.
        to, of = to - rank * len(drawn.batch["advantages"]), of - rank * size
        here = (of >= 0) & (of < size)
        device = self.accelerator.device
        drawn.batch = batches.replaced(
            drawn.batch,
            to[here].to(device),
            other,
            of[here].to(device),
            self.processing_class.pad_token_id,
        )

    def _drop(self, drawn: Drawn) -> Tensor:
        """Drop zero-variance groups from the loss; return the mask of their rows."""
        same = zero_variance.has_zero_variance(drawn.rewards, self.num_generations)
        self._metrics["train"]["groups/dropped"].append(same.float().mean().item())
        gone = same.repeat_interleave(self.num_generations)
        factor = 1.0
        if self.scale_rewards == "batch":
            factor = zero_variance.rescaling(drawn.rewards, gone)
            drawn.rollouts[0] = drawn.rollouts[0].with_columns(pl.col("advantage") * factor)
        size = len(drawn.batch["advantages"])
        first = self.accelerator.process_index * size
        batch = batches.dropped(
            drawn.batch | {"advantages": drawn.batch["advantages"] * factor},
            gone[first : first + size].to(self.accelerator.device),
        )
        drawn.batch = batches.scaled(
            batch,
            self.loss_type,
            everything=len(gone),
            kept=int((~gone).sum()),
            tokens=self.accelerator.gather(batches.tokens_in_loss(batch)).sum(),
        )
        return gone

    def _compute_loss(self, model: torch.nn.Module, inputs: batches.Batch) -> Tensor:
        loss: Tensor = super()._compute_loss(model, inputs)
        return loss * inputs["loss_scale"] if "loss_scale" in inputs else loss
