"""Reward functions that a recipe selects by name, each with its options.

A reward function scores a batch of completions; its keyword arguments are the options that a recipe
may set. `build` wraps it in TRL's signature.
"""

import hashlib
import importlib
import inspect
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, create_model

from r1zero.core.errors import UserError, redact
from r1zero.core.validation import validate
from r1zero.settings.recipe import Reward
from r1zero.settings.run import RunSettings
from r1zero.tasks.base import Grade, Options
from r1zero.tasks.prompts import Style
from r1zero.tasks.registry import find_task
from r1zero.tasks.tldr.grader import DEFAULT_TARGET

Completion = str | Sequence[Mapping[str, str]]
Scores = Sequence[float | None]


@dataclass(frozen=True)
class Batch:
    """Completions to be scored."""

    task: str
    style: Style
    """The format that the prompt asks for."""
    rewards: Options
    """Options of the run's reward functions, by name."""
    seed: int
    """Seed of the run."""
    max_completion_length: int
    """In tokens."""
    step: int
    """Number of optimizer steps so far."""
    prompts: list[str]
    completions: list[Completion]
    """Plain texts, or conversations whose last message is the completion."""
    completion_ids: list[list[int]]
    columns: dict[str, list[Any]]
    """Columns of the problems, with one entry per completion."""

    @cached_property
    def texts(self) -> list[str]:
        """The completions as plain texts."""
        return [c if isinstance(c, str) else c[-1]["content"] for c in self.completions]

    @cached_property
    def grades(self) -> list[Grade]:
        """Verdicts on the completions, computed once for all reward functions."""
        rows = [
            {name: values[place] for name, values in self.columns.items()}
            for place in range(len(self.texts))
        ]
        return find_task(self.task).grade(self.texts, rows, self.style, self.rewards)

    def only(self, place: int) -> "Batch":
        """The batch of one of its completions."""
        part = slice(place, place + 1)
        return replace(
            self,
            prompts=self.prompts[part],
            completions=self.completions[part],
            completion_ids=self.completion_ids[part],
            columns={name: values[part] for name, values in self.columns.items()},
        )


def correct(
    batch: Batch, *, right: float = 1.0, wrong: float = 0.0, lenient: bool = False
) -> list[float]:
    """`right` for each right answer, `wrong` for each other.

    The answer has to stand where the prompt asks for it, unless `lenient`.
    """
    verdicts = (g.lenient if lenient else g.correct for g in batch.grades)
    return [right if verdict else wrong for verdict in verdicts]


def format(batch: Batch, *, right: float = 1.0, wrong: float = 0.0) -> list[float]:
    """`right` for each completion in the format that the prompt asks for, else `wrong`."""
    return [right if g.format else wrong for g in batch.grades]


def partial(batch: Batch, *, score: float = 0.1) -> list[float]:
    """`score` for each answer that is there but wrong, else 0.

    TinyZero's `format_score` (verl/utils/reward_score/countdown.py), as a function of its own.
    """
    return [score if g.extracted is not None and not g.correct else 0.0 for g in batch.grades]


def length(batch: Batch, *, target: Annotated[int, Field(ge=0)] = DEFAULT_TARGET) -> list[float]:
    """Minus the distance of the length in characters from `target` (TRL's quickstart)."""
    return [-float(abs(target - len(text))) for text in batch.texts]


def cosine_length(
    batch: Batch,
    *,
    min_value_wrong: float = -1.0,
    max_value_wrong: float = -0.5,
    min_value_correct: float = 0.5,
    max_value_correct: float = 1.0,
    max_len: Annotated[int, Field(ge=1)] = 1000,
) -> list[float]:
    """Reward right answers more if they are short, and wrong answers more if they are long.

    The reward follows half a cosine over the length in characters: from `max_value_correct` at 0 to
    `min_value_correct` at `max_len` for right answers, and from `min_value_wrong` to
    `max_value_wrong` for wrong ones. This is `get_cosine_scaled_reward` of open-r1
    (src/open_r1/rewards.py), after arXiv 2502.03373; there the cosine rises again beyond `max_len`,
    while here longer completions are rewarded like those of `max_len`.
    """
    scores = []
    for text, grade in zip(batch.texts, batch.grades, strict=True):
        if grade.correct:
            none, full = max_value_correct, min_value_correct
        else:
            none, full = min_value_wrong, max_value_wrong
        progress = min(len(text) / max_len, 1.0)
        scores.append(full + 0.5 * (none - full) * (1.0 + math.cos(progress * math.pi)))
    return scores


def repetition(
    batch: Batch,
    *,
    ngram_size: Annotated[int, Field(ge=1)] = 3,
    max_penalty: Annotated[float, Field(le=0)] = -1.0,
) -> list[float]:
    """`max_penalty` times the share of repeated n-grams of words.

    `get_repetition_penalty_reward` of open-r1 (src/open_r1/rewards.py), after arXiv 2502.03373,
    appendix C.2.
    """
    scores = []
    for text in batch.texts:
        words = text.lower().split()
        ngrams = list(zip(*(words[start:] for start in range(ngram_size)), strict=False))
        scores.append(max_penalty * (1 - len(set(ngrams)) / len(ngrams)) if ngrams else 0.0)
    return scores


def overlong(batch: Batch, *, cache: Annotated[float, Field(gt=0)]) -> list[float]:
    """DAPO's soft overlong punishment (arXiv 2503.14476, eq. 13).

    0 for completions that leave `cache` tokens of `max_completion_length` unused, then linear down
    to -1. A `cache` below 1 is a share of `max_completion_length`.
    """
    longest = batch.max_completion_length
    tokens = cache * longest if cache < 1 else cache
    over = (max(len(ids) - longest + tokens, 0.0) for ids in batch.completion_ids)
    return [-min(excess / tokens, 1.0) for excess in over]


def random(batch: Batch, *, probability: Annotated[float, Field(ge=0, le=1)] = 0.5) -> list[float]:
    """1 with a fixed probability for any completion: a control for spurious gains.

    Seed, step, prompt and completion determine the draw, so that a resumed run gets the same
    rewards.
    """
    scores = []
    for prompt, text in zip(batch.prompts, batch.texts, strict=True):
        key = json.dumps([batch.seed, batch.step, prompt, text]).encode()
        drawn = int.from_bytes(hashlib.sha256(key).digest()[:8]) / 2**64
        scores.append(float(drawn < probability))
    return scores


REWARD_FUNCTIONS: dict[str, Callable[..., Scores]] = {
    "correct": correct,
    "format": format,
    "partial": partial,
    "length": length,
    "cosine_length": cosine_length,
    "repetition": repetition,
    "overlong": overlong,
    "random": random,
}


def known_reward_functions() -> dict[str, dict[str, Any]]:
    """Options of each reward function with their defaults; a required option is `...`."""
    return {
        name: {
            key: ... if option.is_required() else option.default
            for key, option in _options_of(name).model_fields.items()
        }
        for name in REWARD_FUNCTIONS
    }


def check(reward: Reward, *, max_completion_length: int) -> dict[str, Any]:
    """Options of a reward function, completed by their defaults.

    Raises:
        UserError: The function or an option is unknown, or an option has an invalid value.

    """
    where = f"reward {reward.name}"
    if "." in reward.name:
        load(reward.name)
        return dict(reward.options)
    if reward.name not in REWARD_FUNCTIONS:
        known = ", ".join(REWARD_FUNCTIONS)
        raise UserError(
            "unknown reward function",
            where=where,
            hint=f"known: {known}, or the dotted path of your own function",
        )
    options = validate(reward.options, _options_of(reward.name), where).model_dump()
    if reward.name == "overlong" and options["cache"] > max_completion_length:
        raise UserError(
            f"cache: {options['cache']:g} is more than max_completion_length",
            where=where,
            hint=f"at most {max_completion_length}, or a share of it below 1",
        )
    return options


def check_reward_functions(run: RunSettings) -> None:
    """Raise `UserError`, with the recipe's name, if a reward function of a run is invalid.

    The user's own functions are not imported; `r1zero preflight` does so where a run trains.
    """
    for reward in run.rewards:
        if not reward.model and "." not in reward.name:
            try:
                check(reward, max_completion_length=run.sizes.max_completion_length)
            except UserError as error:
                where = f"recipe {run.recipe}: {error.where}"
                raise UserError(error.message, where=where, hint=error.hint) from None


def _options_of(name: str) -> type[BaseModel]:
    """Model of the options of a reward function, made from its signature."""
    fields: Any = {
        key: (option.annotation, ... if option.default is option.empty else option.default)
        for key, option in inspect.signature(REWARD_FUNCTIONS[name]).parameters.items()
        if option.kind is option.KEYWORD_ONLY
    }
    config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
    return create_model(name, __config__=config, **fields)


def load(path: str) -> Callable[..., Any]:
    """Import a user's function by its dotted path."""
    module, _, name = path.rpartition(".")
    try:
        function = getattr(importlib.import_module(module), name)
    except Exception as error:
        problem = redact(f"{type(error).__name__}: {error}")
        raise UserError(
            f"can't be imported: {problem}",
            where=f"reward {path}",
            hint="its folder must be on PYTHONPATH",
        ) from error
    if not callable(function):
        raise UserError("is not a function", where=f"reward {path}")
    return function  # type: ignore[no-any-return]
