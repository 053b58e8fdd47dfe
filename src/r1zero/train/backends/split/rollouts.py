"""Rollouts: the problems of a batch, their groups of completions, and rewards."""

import hashlib
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from r1zero.rewards.build import RewardFunction, RewardFunctions
from r1zero.rewards.functions import Completion
from r1zero.sampling import sample
from r1zero.settings.recipe import Algorithm
from r1zero.settings.run import RunSettings
from r1zero.tasks.prompts import load_prompt


@dataclass
class Group:
    """The completions of one problem; `G` of them, scored by `F` reward functions."""

    problem: Mapping[str, Any]
    """Its row of the training problems."""
    draw: int
    """0, or the number of the draw that replaced zero-variance groups."""
    prompt_ids: list[int]
    completion_ids: list[list[int]]
    completions: list[str]
    truncated: list[bool]
    scores: Tensor
    """`[G, F]`, NaN where a reward function does not apply."""
    rewards: Tensor
    """`[G]`, the weighted sum; NaN where no reward function applies."""
    advantages: Tensor
    """`[G]`, known once the whole batch is."""
    in_loss: bool = True


class RolloutWorker:
    """Draws and scores the groups of one process.

    The random stream of a draw is made from the seed, the step, the draw and the process, so that
    a run that resumes draws the same completions.

    Args:
        run: Settings of the run.
        model: The model; it is read anew in each draw.
        tokenizer: Its tokenizer.
        process: Number of this process.

    """

    def __init__(
        self,
        run: RunSettings,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        process: int,
    ) -> None:
        self.algorithm, self.sizes, self.seed = run.algorithm, run.sizes, run.seed
        self.model, self.tokenizer, self.process = model, tokenizer, process
        functions = RewardFunctions.of(run)
        self.functions: list[RewardFunction] = [functions.build(each) for each in run.rewards]
        self.weights = torch.tensor([each.weight for each in run.rewards])
        self.eos = stop_tokens(model, tokenizer, load_prompt(run.prompt).stop_tokens)
        self.failures: list[dict[str, Any]] = []
        """Completions that a reward function could not score, since they were last taken."""

    def draw(self, problems: Sequence[Mapping[str, Any]], *, step: int, draw: int) -> list[Group]:
        """Draw and score a group for each problem.

        Args:
            problems: Rows of the training problems.
            step: Optimizer steps so far.
            draw: Number of the draw within the step.

        """
        if not problems:
            return []
        size = self.algorithm.num_generations
        rows = [problem for problem in problems for _ in range(size)]
        prompt_ids = self.tokenizer([row["prompt"] for row in rows])["input_ids"]
        torch.manual_seed(_seed(self.seed, step, draw, self.process))
        completion_ids = self.generate(prompt_ids)
        completions = self.tokenizer.batch_decode(completion_ids, skip_special_tokens=True)
        scores = self._score(rows, completions, completion_ids, step)
        rewards = (scores * self.weights).nansum(dim=1)
        rewards = rewards.masked_fill(scores.isnan().all(dim=1), torch.nan)
        stop = {*self.eos, self.tokenizer.pad_token_id}
        return [
            Group(
                problem=problem,
                draw=draw,
                prompt_ids=prompt_ids[first],
                completion_ids=completion_ids[first : first + size],
                completions=completions[first : first + size],
                truncated=[ids[-1] not in stop for ids in completion_ids[first : first + size]],
                scores=scores[first : first + size],
                rewards=rewards[first : first + size],
                advantages=torch.zeros(size),
            )
            for first, problem in zip(range(0, len(rows), size), problems, strict=True)
        ]

    def generate(self, prompts: list[list[int]]) -> list[list[int]]:
        """Continue each prompt once."""
        return sample(
            self.model,
            prompts,
            max_new_tokens=self.sizes.max_completion_length,
            eos=self.eos,
            pad=self.tokenizer.pad_token_id,
            temperature=self.algorithm.temperature,
            top_p=self.algorithm.top_p,
            top_k=self.algorithm.top_k,
        )

    def _score(
        self,
        rows: Sequence[Mapping[str, Any]],
        completions: list[str],
        completion_ids: list[list[int]],
        step: int,
    ) -> Tensor:
        """Scores `[n, F]`; NaN where a reward function does not apply."""
        columns: dict[str, Any] = {
            name: [row[name] for row in rows] for name in rows[0] if name != "prompt"
        }
        # One list: the reward functions share their verdicts on a batch by the object.
        texts: list[Completion] = [*completions]
        scores = []
        for function in self.functions:
            given = function(
                prompts=[row["prompt"] for row in rows],
                completions=texts,
                completion_ids=completion_ids,
                trainer_state=_TrainerState(step),
                **columns,
            )
            scores.append([torch.nan if score is None else float(score) for score in given])
            self.failures += [
                {
                    "step": step + 1,
                    "reward_function": function.__name__,
                    "problem": problem,
                    "problem_id": rows[place].get("problem_id"),
                    "completion": completions[place],
                }
                for place, problem in function.failed.items()
            ]
        return torch.tensor(scores).T


@dataclass
class _TrainerState:
    """What a reward function of TRL's signature sees of the trainer."""

    global_step: int


def stop_tokens(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, more: Sequence[str]
) -> list[int]:
    """Ids of the tokens that end a completion: the tokenizer's, the model's, the prompt's."""
    of_model = model.generation_config.eos_token_id if model.generation_config else None
    listed = of_model if isinstance(of_model, list) else [of_model]
    vocabulary = tokenizer.get_vocab()
    found = [tokenizer.eos_token_id, *listed, *(vocabulary.get(token) for token in more)]
    return list(dict.fromkeys(token for token in found if token is not None))


def problem_order(count: int, seed: int, first: int, number: int) -> list[int]:
    """Indices of the problems from place `first` of the training on.

    Every epoch is a permutation of its own of all `count` problems.
    """
    found: list[int] = []
    while len(found) < number:
        epoch, place = divmod(first + len(found), count)
        order = list(range(count))
        random.Random(f"{seed} epoch {epoch}").shuffle(order)
        found += order[place : place + number - len(found)]
    return found


def as_rows(groups: Sequence[Group], names: Sequence[str], step: int) -> list[dict[str, Any]]:
    """Rows of groups for `RolloutFolder.write`.

    Args:
        groups: The groups.
        names: Names of the reward functions.
        step: The optimizer step that they were drawn for, from 1.

    """
    return [
        {
            "step": step,
            "draw": group.draw,
            "problem_id": group.problem.get("problem_id"),
            "prompt": group.problem["prompt"],
            "completion": group.completions[place],
            "length": len(group.completion_ids[place]),
            "truncated": group.truncated[place],
            **{
                f"rewards/{name}": None if math.isnan(score) else score
                for name, score in zip(names, group.scores[place].tolist(), strict=True)
            },
            "advantage": group.advantages[place].item(),
            "reward": group.rewards[place].item(),
            "in_loss": group.in_loss,
        }
        for group in groups
        for place in range(len(group.completions))
    ]


def as_frame(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """The rows of all processes as a table."""
    return pl.DataFrame(rows, schema_overrides={"problem_id": pl.String}, infer_schema_length=None)


def shared_out(
    problems: Sequence[Any], algorithm: Algorithm, processes: int, process: int
) -> list[Any]:
    """The problems of one process, of each of the optimizer steps that share a batch.

    Args:
        problems: Problems of the whole batch.
        algorithm: Says how many steps share it.
        processes: Number of processes.
        process: Number of the process.

    """
    each = len(problems) // algorithm.updates_per_rollout
    share = each // processes
    return [
        problem
        for first in range(process * share, len(problems), each)
        for problem in problems[first : first + share]
    ]


def _seed(*parts: int) -> int:
    digest = hashlib.sha256(" ".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
