"""What ms-swift needs of this project: prompts, reward functions, the sampler, and the records.

ms-swift 4.6 has registries for templates, reward functions and callbacks. It has no hook for the
sampler: its own engine drops every token whose id is that of the padding, and so the end of the
completion where that is the same token. `GRPOTrainer._engine_infer` is therefore replaced.
`GRPOTrainer._log_rollout` is extended, because the log of completions has neither their length nor
their problem.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import torch
from swift.callbacks import callbacks_map
from swift.callbacks.base import TrainerCallback
from swift.infer_engine.protocol import (
    ChatCompletionResponse,
    ChatCompletionResponseChoice,
    ChatMessage,
    RolloutOutput,
    UsageInfo,
)
from swift.rewards import orms, rm_plugins
from swift.rlhf_trainers.grpo_trainer import GRPOTrainer
from swift.template import TemplateMeta, register_template
from transformers import AutoTokenizer

from r1zero.rewards.build import RewardFunctions
from r1zero.sampling import sample
from r1zero.settings import RunSettings
from r1zero.train.backends.swift.rendering import RECORDER, REWARD_MODEL, TEMPLATE, reward_name
from r1zero.train.guards import Verdict, shared
from r1zero.train.recording import Recorder

# Arguments of ms-swift for a reward function that are no columns of the data.
_NO_COLUMNS = {"messages", "prompt_text", "prompt_id", "request_id", "finish_reason"}
_NO_COLUMNS |= {"is_truncated", "rollout_infos"}
# Keys that are written under other names, or not at all.
_RENAMED = {"frac_reward_zero_std": "groups/zero_variance", "clip_ratio/region_mean": "clip_ratio"}


def install(
    run: RunSettings, model: Path, recorder: Recorder | None, *, use_vllm: bool = False
) -> None:
    """Register all of it for one run.

    Args:
        run: The run.
        model: Folder of the model, with its tokenizer.
        recorder: Writes what the training leaves; None in all processes but the main one.
        use_vllm: Whether vLLM generates, and not the trainer.

    """
    install_template()
    functions = RewardFunctions.of(run)
    texts = _Texts(AutoTokenizer.from_pretrained(model))
    for reward in run.rewards:
        if not reward.model:
            score = functions.build(reward)
            orms[reward_name(reward.name)] = _factory(score, texts, recorder)
    rm_plugins[REWARD_MODEL] = lambda model, template: _RewardModel(model, template, texts)
    # ms-swift has the models last, named after their folders.
    names = [reward.name for reward in sorted(run.rewards, key=lambda each: bool(each.model))]
    callbacks_map[RECORDER] = lambda args, trainer: _RecorderCallback(
        args, trainer, recorder, names
    )
    if not use_vllm:
        GRPOTrainer._engine_infer = _sampled
    GRPOTrainer._log_rollout = _with_more_columns(GRPOTrainer._log_rollout)


def install_template() -> None:
    """Register the prompt as it stands: no system message, no markup, BOS only as tokenizers do."""
    register_template(
        TemplateMeta(
            TEMPLATE,
            prefix=[],
            prompt=["{{QUERY}}"],
            chat_sep=None,
            suffix=[["eos_token_id"]],
            auto_add_bos=True,
        )
    )


class _RewardModel:
    """A reward model that reads prompt and completion as one text, as in TRL.

    Args:
        model: A sequence classifier with one output.
        template: Its template, for the tokenizer.
        texts: Decodes completions.

    """

    def __init__(self, model: Any, template: Any, texts: "_Texts") -> None:
        self.model, self.tokenizer, self.texts = model, template.tokenizer, texts
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        # The score is that of the last token before the padding.
        self.model.config.pad_token_id = self.tokenizer.pad_token_id

    def __call__(self, inputs: list[dict[str, Any]], **columns: Any) -> torch.Tensor:
        """Scores `[n]` of completions."""
        completions = self.texts.of([row["response_token_ids"] for row in inputs])
        whole = [
            row["prompt_text"] + completion
            for row, completion in zip(inputs, completions, strict=True)
        ]
        batch = self.tokenizer(
            whole,
            return_tensors="pt",
            padding=True,
            padding_side="right",
            add_special_tokens=False,
        )
        with torch.inference_mode():
            scores: torch.Tensor = self.model(**batch.to(self.model.device)).logits[:, 0]
        return scores


class _Texts:
    """Completions as TRL decodes them, and the same list for the same token ids.

    ms-swift leaves special tokens in. Reward functions share their verdicts on one list.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self._ids: Any = None
        self._texts: list[str] = []

    def of(self, ids: list[list[int]]) -> list[str]:
        if self._ids is None or self._ids != ids:
            self._ids = ids
            self._texts = self.tokenizer.batch_decode(ids, skip_special_tokens=True)
        return self._texts


def _factory(score: Any, texts: _Texts, recorder: Recorder | None) -> Callable[..., Any]:
    """What ms-swift calls to make a reward function."""

    def make(args: Any) -> Callable[..., Any]:
        # ms-swift names a metric after a plain function, but after the class of an object.
        def reward(
            completions: list[str],
            *,
            response_token_ids: list[list[int]],
            messages: list[list[dict[str, str]]],
            trainer_state: Any,
            **rest: Any,
        ) -> list[float | None]:
            decoded = texts.of(response_token_ids)
            scores: list[float | None] = score(
                prompts=rest["prompt_text"],
                completions=decoded,
                completion_ids=response_token_ids,
                trainer_state=trainer_state,
                **{name: values for name, values in rest.items() if name not in _NO_COLUMNS},
            )
            if recorder is not None:
                recorder.failures.add(
                    [
                        {
                            "step": trainer_state.global_step + 1,
                            "reward_function": score.__name__,
                            "problem": problem,
                            "problem_id": rest["problem_id"][place],
                            "completion": decoded[place],
                        }
                        for place, problem in score.failed.items()
                    ]
                )
            return scores

        reward.__name__ = score.__name__
        return reward

    return make


def _sampled(
    self: Any, infer_requests: list[Any], request_config: Any = None, *, use_tqdm: bool = False
) -> list[RolloutOutput]:
    """Rollouts by `r1zero.sampling`, as in the backend `trl` on a CPU."""
    tokenizer = self.template.tokenizer
    with self.template.generate_context():
        prompts = [self.template.encode(request)["input_ids"] for request in infer_requests]
    stop = _stop_token_ids(self)
    completions = sample(
        self.accelerator.unwrap_model(self.model),
        prompts,
        max_new_tokens=request_config.max_tokens,
        eos=stop,
        pad=tokenizer.pad_token_id,
        temperature=request_config.temperature,
        top_p=request_config.top_p,
        top_k=max(request_config.top_k or 0, 0),
    )
    return [
        RolloutOutput(
            response=ChatCompletionResponse(
                model="policy",
                usage=UsageInfo(len(prompt), len(ids), len(prompt) + len(ids)),
                choices=[
                    ChatCompletionResponseChoice(
                        index=0,
                        message=ChatMessage(
                            role="assistant",
                            content=tokenizer.decode(ids, skip_special_tokens=True),
                        ),
                        finish_reason="stop" if ids[-1] in stop else "length",
                        token_ids=ids,
                    )
                ],
            )
        )
        for prompt, ids in zip(prompts, completions, strict=True)
    ]


def _stop_token_ids(trainer: Any) -> list[int]:
    """The end of text, and the stop tokens of the prompt that the tokenizer has."""
    tokenizer = trainer.template.tokenizer
    vocabulary = tokenizer.get_vocab()
    known = [vocabulary[word] for word in trainer.args.stop_words if word in vocabulary]
    return list(dict.fromkeys([tokenizer.eos_token_id, *known]))


def _with_more_columns(log_rollout: Callable[..., None]) -> Callable[..., None]:
    """`_log_rollout` that also keeps the rollouts of a step, gathered from all processes."""

    def extended(self: Any, samples: list[Any]) -> None:
        log_rollout(self, samples)
        ids = [sample.response_token_ids for sample in samples]
        stop = set(_stop_token_ids(self))
        columns = {
            "problem_id": [sample.extra.get("problem_id") for sample in samples],
            "prompt": [sample.extra["prompt_text"] for sample in samples],
            "completion": self.template.tokenizer.batch_decode(ids, skip_special_tokens=True),
            "length": [len(each) for each in ids],
            "truncated": [each[-1] not in stop for each in ids],
        }
        self.r1zero_rollouts = {
            name: self._gather_and_flatten(values, flatten_level=0)
            for name, values in columns.items()
        }

    return extended


class _RecorderCallback(TrainerCallback):  # type: ignore[misc]
    """Passes the events of the trainer on to the recorder of the main process."""

    def __init__(
        self, args: Any, trainer: Any, recorder: Recorder | None, names: list[str]
    ) -> None:
        super().__init__(args, trainer)
        self.recorder, self.names = recorder, names
        self._began = time.monotonic()

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.trainer.reward_func_names = self.names
        if self.recorder:
            self.recorder.start()

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._began = time.monotonic()

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any], **kwargs: Any
    ) -> None:
        # The summary at the end has no loss of a step.
        if "loss" not in logs:
            return
        verdict = None
        if self.recorder:
            verdict = self._record(
                self.recorder, state.global_step, logs, saves=control.should_save
            )
        # The trainer saves after it has logged.
        control.should_save, stop = shared(verdict)
        control.should_training_stop |= stop

    def _record(
        self, recorder: Recorder, step: int, logs: dict[str, Any], *, saves: bool
    ) -> Verdict:
        """Record the rollouts and the metrics of a step."""
        row = {
            _RENAMED.get(key, key): float(value)
            for key, value in logs.items()
            if isinstance(value, int | float)
        }
        row |= {"step": step, "step_time": time.monotonic() - self._began}
        # Steps that use the rollouts of an earlier one log no reward.
        if "reward" in row:
            row["completions/tokens_of_all_draws"] = row["completions/mean_length"]
            recorder.rollouts.write(self._rollouts(step))
        return recorder.step(row, saves=saves)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        # Each process saves its own random states.
        self.trainer.accelerator.wait_for_everyone()
        if self.recorder:
            self.recorder.checkpoint(state.global_step)

    def _rollouts(self, step: int) -> pl.DataFrame:
        """The rollouts of a step, as rows for `RolloutFolder.write`."""
        columns, logs = self.trainer.r1zero_rollouts, self.trainer._logs
        size = len(columns["length"])
        names = self.trainer.reward_func_names
        rewards = {name: list(logs["rewards"][name])[-size:] for name in names}
        values = torch.tensor([rewards[name] for name in names]).T
        weighted = (values * self.trainer.reward_weights.cpu()).nansum(dim=1)
        return pl.DataFrame(
            {
                "step": [step] * size,
                "draw": [0] * size,
                **columns,
                **{f"rewards/{name}": rewards[name] for name in names},
                "advantage": list(logs["advantages"])[-size:],
                "reward": weighted.tolist(),
                "in_loss": [True] * size,
            },
            schema_overrides={"problem_id": pl.String},
        )
