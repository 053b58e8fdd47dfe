"""What TRL calls for a term of the reward; one that fails never stops a training.

A completion that a term can't score counts 0, and the reason is told to whoever asks
(`RewardFunction.failed`).

A dotted path names a function of the user's in TRL's signature. It runs in a process that can be
killed, with prompts, completions, their tokens, the columns of the data set, the options of the
recipe, and `trainer_state`, which has the `global_step` alone.
"""

import asyncio
import inspect
import math
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from r1zero.core.errors import redact
from r1zero.rewards.functions import REWARD_FUNCTIONS, Batch, Completion, Scores, check, load
from r1zero.rewards.workers import Result, Workers
from r1zero.settings.recipe import Reward
from r1zero.settings.run import RunSettings
from r1zero.tasks.prompts import Style, load_prompt

# Seconds that a function of the user's has for a batch, and twice that for its completions one by
# one where the batch failed.
DEADLINE = 30.0


class RewardFunctions:
    """The terms of one run, which share the verdicts on each batch."""

    def __init__(self, *, task: str, style: Style, seed: int, max_completion_length: int) -> None:
        self._run: dict[str, Any] = {
            "task": task,
            "style": style,
            "seed": seed,
            "max_completion_length": max_completion_length,
        }
        self._last: Batch | None = None

    @classmethod
    def of(cls, run: RunSettings) -> "RewardFunctions":
        """The terms of a run, with the format that its prompt asks for."""
        return cls(
            task=run.task,
            style=load_prompt(run.prompt),
            seed=run.seed,
            max_completion_length=run.sizes.max_completion_length,
        )

    def build(self, reward: Reward) -> "RewardFunction":
        """A term of the reward; raises what `check` raises."""
        options = check(reward, max_completion_length=self._run["max_completion_length"])
        score = (
            _apart(reward.name, options)
            if "." in reward.name
            else _here(REWARD_FUNCTIONS[reward.name], options)
        )
        return RewardFunction(reward.name, options, self, score)

    def batch(self, completions: list[Completion], **content: Any) -> Batch:
        """The batch of these completions: the one before if they are the very same list."""
        if self._last is None or self._last.completions is not completions:
            self._last = Batch(**self._run, completions=completions, **content)
        return self._last


class RewardFunction:
    """A term in TRL's signature; its name is what TRL logs it under."""

    def __init__(
        self,
        name: str,
        options: dict[str, Any],
        terms: RewardFunctions,
        score: Callable[[list[Batch]], list[Result]],
    ) -> None:
        self.__name__ = name
        self.options = options
        self.failed: dict[int, str] = {}
        """Of the last batch: completions, by place, that could not be scored, and why."""
        self._terms, self._score = terms, score

    def __call__(
        self,
        prompts: list[str],
        completions: list[Completion],
        completion_ids: list[list[int]],
        log_metric: Callable[[str, float], None] | None = None,
        trainer_state: Any = None,
        **columns: Any,
    ) -> Scores:
        """Rewards of a batch; None where the term says that it does not apply."""
        batch = self._terms.batch(
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
        """A score or a problem for each completion: of all at once, or else one by one."""
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
    """Why a score doesn't count, or nothing if it does."""
    if score.problem or score.value is None:
        return score.problem
    return "" if math.isfinite(score.value) else f"the reward is {score.value}"


def _here(
    term: Callable[..., Scores], options: dict[str, Any]
) -> Callable[[list[Batch]], list[Result]]:
    """Score batches by a term of this module."""

    def score(batch: Batch) -> Result:
        try:
            return Result(term(batch, **options), "")
        except Exception as error:  # a flaw of ours must not cost a run of days
            return Result(None, redact(f"{type(error).__name__}: {error}"))

    return lambda batches: [score(batch) for batch in batches]


def _apart(path: str, options: dict[str, Any]) -> Callable[[list[Batch]], list[Result]]:
    """Score batches by a function of the user's, in another process, in bounded time."""
    workers = Workers(f"{__name__}.call", deadline=DEADLINE, count=1)

    def score(batches: list[Batch]) -> list[Result]:
        end = time.monotonic() + 2 * DEADLINE
        results = []
        for batch in batches:
            if time.monotonic() > end:
                results.append(Result(None, f"not scored within {2 * DEADLINE:g} s"))
                continue
            content = {
                "prompts": batch.prompts,
                "completions": batch.completions,
                "completion_ids": batch.completion_ids,
                **batch.columns,
                **options,
            }
            results += workers.map([(path, batch.step, content)])
        return results

    return score


def call(item: tuple[str, int, dict[str, Any]]) -> Scores:
    """Call a function of the user's: its path, the step, its keywords."""
    path, step, content = item
    scores = load(path)(**content, trainer_state=SimpleNamespace(global_step=step))
    if inspect.isawaitable(scores):
        scores = asyncio.run(_awaited(scores))
    return [None if score is None else float(score) for score in scores]


async def _awaited(value: Any) -> Any:
    return await value
