"""The training loop: rollouts, advantages, the loss of the papers, optimizer steps, checkpoints."""

import math
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import polars as pl
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase, get_scheduler

from r1zero.reference.client import ReferenceClient
from r1zero.train import zero_variance
from r1zero.train.backends.split.config import SplitConfig
from r1zero.train.backends.split.loss import (
    Row,
    micro_batches,
    old_logps,
    padded,
    pass_loss,
    token_logps,
)
from r1zero.train.backends.split.rollouts import (
    Group,
    RolloutWorker,
    as_frame,
    as_rows,
    problem_order,
    shared_out,
)
from r1zero.train.backends.split.scoring import as_request, rows_logps
from r1zero.train.checkpoints import step_of
from r1zero.train.formulas import advantages, k3, token_ratio
from r1zero.train.guards import shared
from r1zero.train.recording import Recorder

STATES = "optimizer.pt"


class Trainer:
    """GRPO on the CPU, in one or several processes.

    Args:
        config: The rendered settings.
        accelerator: Of accelerate.
        model: The model to train.
        reference: The reference model, or a server that has it; None without a KL penalty.
        tokenizer: Saved with each checkpoint.
        worker: Draws and scores groups with `model`.
        problems: Training problems, with a column `prompt`.
        recorder: Only the main process has one.

    """

    def __init__(
        self,
        config: SplitConfig,
        accelerator: Accelerator,
        model: PreTrainedModel,
        reference: PreTrainedModel | ReferenceClient | None,
        tokenizer: PreTrainedTokenizerBase,
        worker: RolloutWorker,
        problems: pl.DataFrame,
        recorder: Recorder | None,
    ) -> None:
        self.config, self.algorithm, self.sizes = config, config.algorithm, config.sizes
        self.accelerator, self.tokenizer, self.worker = accelerator, tokenizer, worker
        self.reference, self.recorder = reference, recorder
        # Rows whose reference log-probabilities a server was asked for, with its answer.
        self._asked: tuple[list[Row], Future[Tensor]] | None = None
        self.problems = problems.to_dicts()
        self.prompts = problems["prompt"].to_list()
        self.plain_model = model.train()
        self.model = accelerator.prepare(model)
        self.optimizer = torch.optim.AdamW(
            _decayed(model, self.algorithm.weight_decay),
            lr=self.sizes.learning_rate,
            betas=(self.algorithm.adam_beta1, self.algorithm.adam_beta2),
            eps=config.adam_epsilon,
            fused=self.algorithm.optimizer == "adamw_torch_fused",
        )
        self.scheduler = get_scheduler(
            self.algorithm.lr_scheduler_type,
            self.optimizer,
            num_warmup_steps=math.ceil(self.algorithm.warmup_ratio * self.sizes.max_steps),
            num_training_steps=self.sizes.max_steps,
        )

    def train(self, resume: Path | None = None) -> None:
        """Train to the end, from a checkpoint if one is given.

        The weights are those of `model` already; its folder has the states of the optimizer. The
        rollouts of a checkpoint between steps that share them are drawn anew.
        """
        step = 0
        if resume:
            step = step_of(resume)
            states = torch.load(resume / STATES, weights_only=True)
            self.optimizer.load_state_dict(states["optimizer"])
            self.scheduler.load_state_dict(states["scheduler"])
        if self.recorder:
            self.recorder.start()
        while step < self.sizes.max_steps:
            began = time.perf_counter()
            groups, metrics = self.rollout(step)
            steps = self._steps(groups)
            for age in range(min(self.config.gen_update_steps, self.sizes.max_steps - step)):
                row = metrics if age == 0 else {}
                row |= self.update(steps[age % len(steps)]) | {"rollouts/age": age}
                step += 1
                row["step_time"] = time.perf_counter() - began
                saves = step % self.sizes.save_steps == 0 or step == self.sizes.max_steps
                row = {"step": step, **row}
                verdict = shared(self.recorder.step(row, saves=saves) if self.recorder else None)
                if verdict.save:
                    self.save(step)
                if verdict.stop:
                    return
                began = time.perf_counter()

    def rollout(self, step: int) -> tuple[list[Group], dict[str, float]]:
        """Draw the groups of this process for the next steps; their metrics, of all processes."""
        began = time.perf_counter()
        batch = step // self.config.gen_update_steps
        number = self.sizes.prompts_per_step * self.algorithm.updates_per_rollout
        places = problem_order(len(self.problems), self.config.seed, batch * number, number)
        mine = self._mine(places)
        groups = self.worker.draw([self.problems[place] for place in mine], step=step, draw=0)
        rewards = self._gathered(torch.stack([group.rewards for group in groups]))
        metrics = self._metrics(groups, rewards)
        drawn = list(groups)
        if self.algorithm.zero_variance_groups == "resample":
            redrawn = self._resample(groups, rewards, places, step, drawn)
            metrics["groups/redrawn"] = redrawn / number
            rewards = self._gathered(torch.stack([group.rewards for group in groups]))
        self._set_advantages(groups, rewards, metrics)
        for group in drawn:
            group.in_loss = group.in_loss and any(group is each for each in groups)
        tokens = sum(len(ids) for group in drawn for ids in group.completion_ids)
        completions = number * self.algorithm.num_generations
        total = self._gathered(torch.tensor([[float(tokens)]])).sum().item()
        metrics["completions/tokens_of_all_draws"] = total / completions
        metrics["time/rollout"] = time.perf_counter() - began
        self._record(drawn, step + 1)
        return groups, metrics

    def _mine(self, problems: Sequence[int]) -> list[int]:
        """The problems of this process."""
        accelerator = self.accelerator
        return shared_out(
            problems, self.algorithm, accelerator.num_processes, accelerator.process_index
        )

    def _resample(
        self,
        groups: list[Group],
        rewards: Tensor,
        places: Sequence[int],
        step: int,
        drawn: list[Group],
    ) -> int:
        """Replace zero-variance groups by other problems, until none is left or draws run out.

        Args:
            groups: Groups of this process, which are replaced in place.
            rewards: Rewards `[g, G]` of all processes.
            places: Problems of the batch.
            step: Optimizer steps so far.
            drawn: All groups of this process, to which the new ones are added.

        Returns:
            How many groups were drawn anew, of all processes.

        """
        used, redrawn = {self.prompts[place] for place in places}, 0
        first = self.accelerator.process_index * len(groups)
        for draw in range(1, self.algorithm.max_resamples + 1):
            same = zero_variance.has_zero_variance(rewards, rewards.shape[1])
            wanted = same.nonzero()[:, 0].tolist()
            if not wanted:
                break
            others = zero_variance.other_problems(
                self.prompts, used, seed=self.config.seed, step=step, draw=draw, count=len(wanted)
            )
            used |= {self.prompts[place] for place in others}
            redrawn += len(wanted)
            mine = {
                place - first: other
                for place, other in zip(wanted, others, strict=True)
                if 0 <= place - first < len(groups)
            }
            problems = [self.problems[other] for other in mine.values()]
            new = self.worker.draw(problems, step=step, draw=draw)
            for place, group in zip(mine, new, strict=True):
                groups[place] = group
            drawn += new
            rewards = self._gathered(torch.stack([group.rewards for group in groups]))
        return redrawn

    def _set_advantages(
        self, groups: Sequence[Group], rewards: Tensor, metrics: dict[str, float]
    ) -> None:
        """Set the advantages of the groups of this process, and drop those without variance.

        Args:
            groups: The groups.
            rewards: Rewards `[g, G]` of all processes.
            metrics: The share of dropped groups is added.

        """
        algorithm, size = self.algorithm, rewards.shape[1]
        values = advantages(rewards.flatten(), size, algorithm.scale_rewards).view(-1, size)
        dropped = torch.zeros(len(rewards), dtype=torch.bool)
        if algorithm.zero_variance_groups != "keep":
            dropped = zero_variance.has_zero_variance(rewards, size)
            metrics["groups/dropped"] = dropped.float().mean().item()
            if algorithm.scale_rewards == "batch":
                gone = dropped.repeat_interleave(size)
                values = values * zero_variance.rescaling(rewards.flatten(), gone)
        first = self.accelerator.process_index * len(groups)
        for place, group in enumerate(groups, first):
            group.advantages, group.in_loss = values[place], not dropped[place].item()

    def _metrics(self, groups: Sequence[Group], rewards: Tensor) -> dict[str, float]:
        """Metrics of the first draw, of all processes."""
        scores = self._gathered(torch.stack([group.scores for group in groups]))
        lengths = torch.tensor([[float(len(c)) for c in g.completion_ids] for g in groups])
        truncated = torch.tensor([[float(each) for each in g.truncated] for g in groups])
        same = zero_variance.has_zero_variance(rewards, rewards.shape[1])
        metrics: dict[str, float] = {
            "reward": rewards.nanmean().item(),
            "reward_std": rewards[~rewards.isnan()].std().item(),
            "frac_reward_zero_std": same.float().mean().item(),
            "completions/mean_length": self._gathered(lengths).mean().item(),
            "completions/clipped_ratio": self._gathered(truncated).mean().item(),
        }
        right = None
        for index, function in enumerate(self.worker.functions):
            metrics[f"rewards/{function.__name__}/mean"] = scores[..., index].nanmean().item()
            if function.__name__ == "correct":
                right = (scores[..., index] == function.options.get("right", 1.0)).flatten()
        shares = zero_variance.shares(same, right, rewards.shape[1])
        return metrics | {
            f"groups/{name}": share for name, share in shares._asdict().items() if share is not None
        }

    def _record(self, drawn: Sequence[Group], step: int) -> None:
        """Write rollouts and failures of all processes."""
        names = [function.__name__ for function in self.worker.functions]
        rows = gather_object(as_rows(drawn, names, step))
        failures = gather_object(self.worker.failures)
        self.worker.failures = []
        if self.recorder:
            # Draws follow each other, as they were made.
            self.recorder.rollouts.write(as_frame(sorted(rows, key=lambda row: row["draw"])))
            self.recorder.failures.add(failures)

    def _steps(self, groups: Sequence[Group]) -> list[list[Row]]:
        """Rows of each optimizer step that shares the groups, with what other policies say."""
        share = len(groups) // self.algorithm.updates_per_rollout
        steps = [
            [
                Row(
                    group.prompt_ids,
                    ids,
                    advantage,
                    self.algorithm.mask_truncated_completions and truncated,
                )
                for group in groups[first : first + share]
                if group.in_loss
                for ids, advantage, truncated in zip(
                    group.completion_ids, group.advantages.tolist(), group.truncated, strict=True
                )
            ]
            for first in range(0, len(groups), share)
        ]
        rows = [row for step in steps for row in step]
        if isinstance(self.reference, ReferenceClient) and rows:
            answer = self.reference.ask(*as_request(rows), self.config.micro_batch)
            self._asked = rows, answer
        if self.config.gen_update_steps > 1:
            for row, logps in self._logps(self.plain_model, rows):
                row.old = logps
        if isinstance(self.reference, PreTrainedModel):
            for row, logps in self._logps(self.reference, rows):
                row.reference = logps
        return steps

    def _logps(self, model: PreTrainedModel, rows: Sequence[Row]) -> Iterator[tuple[Row, Tensor]]:
        """Log-probabilities `[T]` of the tokens of each row."""
        return rows_logps(model, rows, self.algorithm.temperature, self.config.micro_batch)

    def _take_answer(self) -> None:
        """Wait for the log-probabilities that the reference server was asked for, if any."""
        if self._asked:
            rows, answer = self._asked
            for row, logps in zip(rows, answer.result(), strict=True):
                row.reference = logps[: len(row.completion_ids)]
            self._asked = None

    def update(self, rows: list[Row]) -> dict[str, float]:
        """One optimizer step on the rows of all processes; its metrics."""
        kept = [row for row in rows if not row.is_masked]
        tokens = sum(len(row.completion_ids) for row in kept)
        counts = self._gathered(torch.tensor([[len(rows), tokens]]))
        completions, tokens = counts.sum(dim=0).tolist()
        processes = self.accelerator.num_processes
        # A wrapper for several processes wants a backward pass of each.
        parts = list(micro_batches(kept, self.config.micro_batch)) or [[_NOTHING]]
        # Sums over tokens: loss, KL estimate, entropy, clipped tokens.
        sums = torch.zeros(4)
        for number, part in enumerate(parts, 1):
            last = number == len(parts)
            with nullcontext() if last else self.accelerator.no_sync(self.model):
                logps, mask, entropy = token_logps(self.model, part, self.algorithm.temperature)
                self._take_answer()
                loss = pass_loss(
                    logps,
                    mask,
                    part,
                    self.algorithm,
                    self.sizes.max_completion_length,
                    completions=completions,
                    tokens=tokens,
                )
                # Gradients are averaged over processes; the loss is the sum of theirs.
                self.accelerator.backward(loss * processes)
            if part[0] is not _NOTHING:
                sums += torch.stack([loss.detach(), *self._sums(logps, mask, part, entropy)])
        norm = self.accelerator.clip_grad_norm_(
            self.plain_model.parameters(), self.algorithm.max_grad_norm
        )
        rate = self.scheduler.get_last_lr()[0]
        self.optimizer.step()
        self.scheduler.step()
        self.optimizer.zero_grad()
        loss_sum, *of_tokens = self._gathered(sums[None]).sum(dim=0).tolist()
        names = ("kl", "entropy", "clip_ratio/region_mean")
        means = dict(zip(names, (value / max(tokens, 1) for value in of_tokens), strict=True))
        if self.reference is None:
            del means["kl"]
        return {"loss": loss_sum, "grad_norm": float(norm), "learning_rate": rate, **means}

    @torch.no_grad()
    def _sums(
        self, logps: Tensor, mask: Tensor, rows: Sequence[Row], entropy: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Sums over the tokens of a pass: KL estimate, entropy, clipped tokens."""
        algorithm = self.algorithm
        reference = padded([row.reference for row in rows])
        kl = torch.zeros(()) if reference is None else (k3(logps, reference) * mask).sum()
        ratio = token_ratio(logps, old_logps(logps, rows))
        advantage = torch.tensor([row.advantage for row in rows])[:, None]
        high = algorithm.epsilon_high or algorithm.epsilon
        flat = ((ratio < 1 - algorithm.epsilon) & (advantage < 0)) | (
            (ratio > 1 + high) & (advantage > 0)
        )
        return kl, entropy, (flat & mask).sum().float()

    def _gathered(self, values: Tensor) -> Tensor:
        """Values `[n, ...]` of all processes, in the order of the processes."""
        gathered: Tensor = self.accelerator.gather(values)
        return gathered

    def save(self, step: int) -> None:
        """Write and seal `checkpoint-<step>`."""
        if self.recorder:
            folder = Path(self.config.output) / f"checkpoint-{step}"
            self.plain_model.save_pretrained(folder)
            self.tokenizer.save_pretrained(folder)
            states = {
                "optimizer": self.optimizer.state_dict(),
                "scheduler": self.scheduler.state_dict(),
            }
            torch.save(states, folder / STATES)
            self.recorder.checkpoint(step)
        self.accelerator.wait_for_everyone()


# Of a process whose completions have all left the loss.
_NOTHING = Row(prompt_ids=[0], completion_ids=[0], advantage=0.0, is_masked=True)


def _decayed(model: PreTrainedModel, decay: float) -> list[dict[str, Any]]:
    """Parameters in two groups: matrices decay, biases and norms do not, as in transformers."""
    parameters = [each for each in model.parameters() if each.requires_grad]
    return [
        {"params": [each for each in parameters if each.ndim >= 2], "weight_decay": decay},
        {"params": [each for each in parameters if each.ndim < 2], "weight_decay": 0.0},
    ]
