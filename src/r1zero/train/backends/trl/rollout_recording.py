"""TRL's GRPOTrainer with a record of every completion and of failures to score one."""

import math
from typing import Any

import polars as pl
import torch
from accelerate.utils import gather_object
from torch import Tensor

from r1zero.train.backends.trl.remote_reference import RemoteReferenceTrainer
from r1zero.train.recording import Recorder


class RolloutRecordingTrainer(RemoteReferenceTrainer):
    """Trainer that knows the completions of its last draw as rows, and records them.

    `r1zero.train.backends.trl` lists the members of TRL that are overridden.

    Args:
        recorder: Writes rollouts and failures; only the main process has it.

    The other arguments are those of `RemoteReferenceTrainer`.
    """

    def __init__(self, *args: Any, recorder: Recorder | None = None, **kwargs: Any) -> None:
        self.recorder = recorder
        super().__init__(*args, **kwargs)

    def record(self, rollouts: pl.DataFrame, in_loss: Tensor) -> None:
        """Write the rollouts of a step.

        Args:
            rollouts: Draws of the step, one row a completion.
            in_loss: Mask `[n]` of the rows that the loss is computed on.

        """
        if self.recorder is not None:
            rows = rollouts.with_columns(in_loss=pl.Series(in_loss.tolist()))
            self.recorder.rollouts.write(rows)

    def _generate(self, prompts: list[Any]) -> Any:
        result = super()._generate(prompts)
        stop = {*self.eos_token_ids, self.processing_class.pad_token_id}
        self._log_completion_extra("length", [len(ids) for ids in result[1]])
        self._log_completion_extra("truncated", [ids[-1] not in stop for ids in result[1]])
        return result

    def _calculate_rewards(
        self,
        inputs: list[dict[str, Any]],
        prompts: list[Any],
        completions: list[Any],
        completion_ids: list[list[int]],
    ) -> Tensor:
        rewards: Tensor = super()._calculate_rewards(inputs, prompts, completions, completion_ids)
        ids = [row.get("problem_id") for row in inputs]
        self._log_completion_extra("problem_id", ids)
        failed = [
            {
                "step": self.state.global_step + 1,
                "reward_function": function.__name__,
                "problem": problem,
                "problem_id": ids[place],
                "completion": completions[place],
            }
            for function in self.reward_funcs
            for place, problem in getattr(function, "failed", {}).items()
        ]
        everywhere = gather_object(failed)
        if self.recorder is not None:
            self.recorder.failures.add(everywhere)
        return rewards

    def last_rewards(self, size: int) -> Tensor:
        """Rewards `[size]` of the last draw of all processes; NaN without any reward."""
        scores = [last_of(self._logs["rewards"][name], size) for name in self.reward_func_names]
        values = torch.tensor(scores).T
        rewards: Tensor = (values * self.reward_weights).nansum(dim=1)
        return rewards.masked_fill(values.isnan().all(dim=1), math.nan)

    def last_rollouts(self, size: int, draw: int) -> pl.DataFrame:
        """The last draw of all processes, as rows for `RolloutFolder.write`."""
        extra, rewards = self._logs["extra"], self._logs["rewards"]
        columns = {
            "problem_id": extra["problem_id"],
            "prompt": self._logs["prompt"],
            "completion": self._logs["completion"],
            "length": extra["length"],
            "truncated": extra["truncated"],
            **{f"rewards/{name}": rewards[name] for name in self.reward_func_names},
            "advantage": self._logs["advantages"],
        }
        return pl.DataFrame(
            {
                "step": [self.state.global_step + 1] * size,
                "draw": [draw] * size,
                **{name: last_of(values, size) for name, values in columns.items()},
                "reward": self.last_rewards(size).tolist(),
            },
            schema_overrides={"problem_id": pl.String},
        )


def last_of(logged: Any, size: int) -> list[Any]:
    """The last values of one of TRL's logs, which are queues over several steps."""
    return list(logged)[-size:]
