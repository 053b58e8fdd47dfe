"""Build the reward functions of a run with TRL's signature.

A failing reward function never stops a training: a completion that cannot be scored gets 0, and
`RewardFunction.failed` has the reason.

A dotted path names a user's function with TRL's signature. It runs in a process that can be killed.
Its arguments are prompts, completions, their token ids, the columns of the data set, the options of
the recipe, and `trainer_state`, which only has `global_step`.
"""

import asyncio
import inspect
import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from r1zero.core.errors import redact
from r1zero.core.provenance import usable_cores
from r1zero.core.sandbox.workers import Result, Workers
from r1zero.rewards.functions import (
    REWARD_FUNCTIONS,
    Batch,
    Completion,
    Scores,
    check,
    load,
)
from r1zero.settings.recipe import Reward
from r1zero.settings.run import RunSettings
from r1zero.tasks.base import Options
from r1zero.tasks.prompts import Style, load_prompt

# Seconds of CPU time, on each core, for a user's function to score a batch.
DEADLINE = 30.0
# Seconds by the clock, for a function that waits; if the batch fails, twice as long to score its
# completions one by one. A step of training waits for them, and other ranks for that step.
PATIENCE = 120.0


class RewardFunctions:
    """Builds the reward functions of one run, which share the verdicts on each batch.

    Args:
        task: Name of the task.
        style: The format that the prompt asks for.
        seed: Seed of the run.
        max_completion_length: In tokens.
        rewards: Options of the run's reward functions, by name.

    """

    def __init__(
        self,
        *,
        task: str,
        style: Style,
        seed: int,
        max_completion_length: int,
        rewards: Options,
    ) -> None:
        self._run: dict[str, Any] = {
            "task": task,
            "style": style,
            "rewards": rewards,
            "seed": seed,
            "max_completion_length": max_completion_length,
        }
        self._last: Batch | None = None

    @classmethod
    def of(cls, run: RunSettings) -> "RewardFunctions":
        """The reward functions of a run, with the format that its prompt asks for."""
        return cls(
            task=run.task,
            style=load_prompt(run.prompt),
            seed=run.seed,
            max_completion_length=run.sizes.max_completion_length,
            rewards={reward.name: reward.options for reward in run.rewards},
        )

    def build(self, reward: Reward) -> "RewardFunction":
        """Build one reward function; raises what `check` raises."""
        options = check(reward, max_completion_length=self._run["max_completion_length"])
        score = (
            _apart(reward.name, options)
            if "." in reward.name
            else _here(REWARD_FUNCTIONS[reward.name], options)
        )
        return RewardFunction(reward.name, options, self, score)

    def batch(self, completions: list[Completion], **content: Any) -> Batch:
        """The batch of these completions; the previous one if they are the same list object."""
        if self._last is None or self._last.completions is not completions:
            self._last = Batch(**self._run, completions=completions, **content)
        return self._last


class RewardFunction:
    """A reward function with TRL's signature; TRL logs it under its name."""

    def __init__(
        self,
        name: str,
        options: dict[str, Any],
        run: RewardFunctions,
        score: Callable[[list[Batch]], list[Result]],
    ) -> None:
        self.__name__ = name
        self.options = options
        self.failed: dict[int, str] = {}
        """Why completions of the last batch could not be scored, by their index."""
        self._run, self._score = run, score

    def __call__(
        self,
        prompts: list[str],
        completions: list[Completion],
        completion_ids: list[list[int]],
        log_metric: Callable[[str, float], None] | None = None,
        trainer_state: Any = None,
        **columns: Any,
    ) -> Scores:
        """Rewards of a batch; None for a completion that the function does not apply to."""
        batch = self._run.batch(
            completions,
            prompts=prompts,
            completion_ids=completion_ids,
            step=getattr(trainer_state, "global_step", 0),
            columns={
                name: values
                for name, values in columns.items()
                if isinstance(values, list) and len(values) == len(completions)
            },
        )
        scores = self._scores(batch)
        problems = {place: _problem(score) for place, score in enumerate(scores)}
        self.failed = {place: problem for place, problem in problems.items() if problem}
        if log_metric is not None:
            log_metric(f"rewards/{self.__name__}/failed", len(self.failed) / len(scores))
        return [0.0 if place in self.failed else score.value for place, score in enumerate(scores)]

    def _scores(self, batch: Batch) -> list[Result]:
        """A score or a problem for each completion: scored together or, if that fails, singly."""
        size = len(batch.completions)
        (whole,) = self._score([batch])
        if not whole.problem and len(whole.value) == size:
            return [Result(value, "") for value in whole.value]
        return [
            Result(part.value[0], "")
            if not part.problem and len(part.value) == 1
            else Result(None, part.problem or f"gave {len(part.value)} rewards for one completion")
            for part in self._score([batch.only(place) for place in range(size)])
        ]


def _problem(score: Result) -> str:
    """Why a score is invalid; empty if it is valid."""
    if score.problem or score.value is None:
        return score.problem
    return "" if math.isfinite(score.value) else f"the reward is {score.value}"


def _here(
    function: Callable[..., Scores], options: dict[str, Any]
) -> Callable[[list[Batch]], list[Result]]:
    """Score batches by a function of `functions`, in this process."""

    def score(batch: Batch) -> Result:
        try:
            return Result(function(batch, **options), "")
        except Exception as error:  # a bug here must not stop a run of days
            return Result(None, redact(f"{type(error).__name__}: {error}"))

    return lambda batches: [score(batch) for batch in batches]


def _apart(path: str, options: dict[str, Any]) -> Callable[[list[Batch]], list[Result]]:
    """Score batches by a user's function, in another process and bounded time."""
    deadline = DEADLINE * usable_cores()
    workers = Workers(f"{__name__}.call", deadline=deadline, patience=PATIENCE, count=1)

    def score(batches: list[Batch]) -> list[Result]:
        # Without the start of processes, which says more of the machine than of the function.
        left = 2 * PATIENCE
        results: list[Result] = []
        for batch in batches:
            if left <= 0:
                results.append(Result(None, f"not scored within {2 * PATIENCE:g} s"))
                continue
            content = {
                "prompts": batch.prompts,
                "completions": batch.completions,
                "completion_ids": batch.completion_ids,
                **batch.columns,
                **options,
            }
            (result,) = workers.map([(path, batch.step, content)])
            left -= result.seconds
            results.append(result)
        return results

    return score


def call(item: tuple[str, int, dict[str, Any]]) -> Scores:
    """Call a user's function, given as its path, the step, and its keyword arguments."""
    path, step, content = item
    scores = load(path)(**content, trainer_state=SimpleNamespace(global_step=step))
    if inspect.isawaitable(scores):
        scores = asyncio.run(_awaited(scores))
    return [None if score is None else float(score) for score in scores]


async def _awaited(value: Any) -> Any:
    return await value
