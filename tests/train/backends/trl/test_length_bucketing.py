"""`LengthBucketingTrainer` against GRPOTrainer: the same numbers with less padding."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from trl import GRPOTrainer

from fixed_completions import PROMPTS
from r1zero.sampling import sample
from r1zero.train.backends.trl import length_bucketing
from r1zero.train.backends.trl.length_bucketing import LengthBucketingTrainer, buckets, rollout
from tiny_trainer import batch, build_trainer

Build = Callable[..., GRPOTrainer]


@pytest.fixture
def build(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Build:
    """Build trainers that start from the same weights; pieces are small enough to be many."""
    monkeypatch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")  # rollout_func
    monkeypatch.setattr(length_bucketing, "_TOKENS_PER_BUCKET", 96)
    return lambda kind, **changes: build_trainer(kind, base, tmp_path, **changes)


def logps_and_entropies(trainer: GRPOTrainer, **options: Any) -> tuple[Tensor, Tensor | None]:
    inputs = batch()
    ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1)
    mask = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1)
    kept = inputs["completion_ids"].shape[1]
    logps, entropies, auxiliary = trainer._get_per_token_logps_and_entropies(
        trainer.model, ids, mask, kept, **options
    )
    assert auxiliary is None
    return logps, entropies


def sizes_of_passes(trainer: GRPOTrainer, **options: Any) -> list[torch.Size]:
    """Shapes of the inputs of each pass through the model's layers."""
    shapes: list[torch.Size] = []
    hook = trainer.model.model.register_forward_pre_hook(
        lambda _, args, kwargs: shapes.append(kwargs["input_ids"].shape), with_kwargs=True
    )
    logps_and_entropies(trainer, **options)
    hook.remove()
    return shapes


def test_log_probabilities_and_entropies_are_those_of_trl(build: Build) -> None:
    stock = logps_and_entropies(build(GRPOTrainer), compute_entropy=True)
    ours = logps_and_entropies(build(LengthBucketingTrainer), compute_entropy=True)
    held = batch()["completion_mask"] == 1
    for mine, theirs in zip(ours, stock, strict=True):
        assert mine.shape == theirs.shape == held.shape
        assert theirs[held].abs().min() > 1e-3
        torch.testing.assert_close(mine[held], theirs[held], atol=1e-5, rtol=0)
        assert (mine[~held] == 0).all()


def test_temperature_is_taken_as_trl_takes_it(build: Build) -> None:
    stock = logps_and_entropies(build(GRPOTrainer, temperature=0.5))[0]
    ours = logps_and_entropies(build(LengthBucketingTrainer, temperature=0.5))[0]
    torch.testing.assert_close(ours, stock, atol=2e-5, rtol=0)
    assert (ours - logps_and_entropies(build(LengthBucketingTrainer))[0]).abs().max() > 0.1


def test_entropies_of_the_reference_model_are_left_out(build: Build) -> None:
    trainer = build(LengthBucketingTrainer, beta=0.1)
    inputs = batch()
    ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1)
    mask = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1)
    labels = ids.masked_fill(mask == 0, -100)
    asked = {"input_ids": ids, "attention_mask": mask, "labels": labels, "fused_lm_head": True}
    assert trainer.ref_model(**asked).entropy is None
    assert trainer.model(**asked).entropy.shape == trainer.ref_model(**asked).log_probs.shape


def test_passes_have_less_padding(build: Build) -> None:
    (whole,) = sizes_of_passes(build(GRPOTrainer))
    passes = sizes_of_passes(build(LengthBucketingTrainer))
    assert whole == (8, 49)
    assert len(passes) >= 3
    assert sum(rows for rows, _ in passes) == 8
    assert sum(shape.numel() for shape in passes) < whole.numel() / 2


def loss_and_gradients(trainer: GRPOTrainer) -> tuple[Tensor, dict[str, Tensor]]:
    trainer.model.train()
    trainer.model.zero_grad()
    loss = trainer.compute_loss(trainer.model, batch())
    loss.backward()
    gradients = {name: parameter.grad for name, parameter in trainer.model.named_parameters()}
    return loss.detach(), gradients


@pytest.mark.parametrize("beta", [0.0, 0.04])
@pytest.mark.parametrize("loss_type", ["grpo", "dr_grpo", "dapo", "bnpo"])
def test_loss_and_gradients_are_those_of_trl(build: Build, loss_type: str, beta: float) -> None:
    options = {"loss_type": loss_type, "beta": beta}
    expected, theirs = loss_and_gradients(build(GRPOTrainer, **options))
    loss, mine = loss_and_gradients(build(LengthBucketingTrainer, **options))
    torch.testing.assert_close(loss, expected, atol=1e-6, rtol=1e-5)
    assert mine.keys() == theirs.keys()
    for name, gradient in theirs.items():
        largest = gradient.abs().max().item()
        assert largest > 1e-4, name
        torch.testing.assert_close(
            mine[name], gradient, atol=1e-5 * largest, rtol=1e-4, msg=lambda m, n=name: f"{n}: {m}"
        )


def test_the_penalty_takes_part_in_the_loss(build: Build) -> None:
    without = loss_and_gradients(build(LengthBucketingTrainer))[0]
    assert (loss_and_gradients(build(LengthBucketingTrainer, beta=0.04))[0] - without).abs() > 1e-3


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(1, 80), min_size=1, max_size=24), st.integers(1, 600))
def test_buckets_hold_every_row_once_within_the_budget(lengths: list[int], budget: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(length_bucketing, "_TOKENS_PER_BUCKET", budget)
        found = list(buckets(lengths))
    assert sorted(row for rows in found for row in rows) == list(range(len(lengths)))
    longest = 0
    for rows in found:
        inside = [lengths[row] for row in rows]
        assert len(rows) * max(inside) <= budget or len(rows) == 1
        # Similar lengths go together.
        assert min(inside) >= longest
        longest = max(inside)


def test_rollouts_answer_their_prompts_in_order(build: Build) -> None:
    # So cold that the likeliest token is drawn: each completion then tells its prompt.
    trainer = build(LengthBucketingTrainer, temperature=1e-4, max_completion_length=16)
    asked = [prompt for prompt in [*PROMPTS, *PROMPTS[:2]] for _ in range(2)]
    made = rollout(asked, trainer)
    tokenizer = trainer.processing_class
    assert made["prompt_ids"] == [tokenizer(prompt)["input_ids"] for prompt in asked]
    answers = {
        prompt: sample(
            trainer.model,
            [tokenizer(prompt)["input_ids"]],
            max_new_tokens=16,
            eos=[tokenizer.eos_token_id],
            pad=tokenizer.pad_token_id,
            temperature=0,
        )[0]
        for prompt in PROMPTS
    }
    assert len(set(map(tuple, answers.values()))) == len(PROMPTS)
    assert made["completion_ids"] == [answers[prompt] for prompt in asked]
    assert made["logprobs"] is None


def test_rollouts_obey_the_decoding_of_the_config(build: Build) -> None:
    trainer = build(LengthBucketingTrainer, top_k=1, temperature=1.0, max_completion_length=7)
    made = rollout([PROMPTS[1]] * 6, trainer)["completion_ids"]
    assert len(set(map(tuple, made))) == 1
    assert len(made[0]) == 7
    free = build(LengthBucketingTrainer, temperature=1.0, max_completion_length=7)
    assert len(set(map(tuple, rollout([PROMPTS[1]] * 6, free)["completion_ids"]))) == 6


def trained(trainer: GRPOTrainer) -> tuple[dict[str, Tensor], list[dict[str, float]]]:
    """Parameters after training, and what was logged at each step."""
    trainer.train()
    parameters = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
    return parameters, [row for row in trainer.state.log_history if "reward" in row]


@pytest.mark.parametrize("beta", [0.0, 0.04])
def test_two_steps_end_where_those_of_trl_end(build: Build, beta: float) -> None:
    before = dict(build(GRPOTrainer).model.named_parameters())
    theirs, their_log = trained(build(GRPOTrainer, beta=beta))
    mine, my_log = trained(build(LengthBucketingTrainer, beta=beta))
    assert mine.keys() == theirs.keys()
    for name, parameter in theirs.items():
        assert (parameter - before[name]).abs().max() > 1e-4, name
        assert (mine[name] - parameter).abs().max() < 1e-5, name
    assert len(my_log) == len(their_log) == 2
    for my_row, their_row in zip(my_log, their_log, strict=True):
        for name in ("loss", "grad_norm", "entropy", "reward", "reward_std", "kl"):
            if name == "kl" and not beta:
                continue
            assert my_row[name] == pytest.approx(their_row[name], rel=1e-3, abs=1e-5), name
        assert 0 < my_row["time/rollout"] < my_row["step_time"]


@pytest.mark.parametrize("kind", [GRPOTrainer, LengthBucketingTrainer])
@pytest.mark.parametrize("beta", [0.0, 0.04])
def test_the_loss_of_an_on_policy_step_is_nothing_but_its_gradient_is_not(
    build: Build, kind: type[GRPOTrainer], beta: float
) -> None:
    """Advantages of a group sum to 0, and every probability ratio is 1."""
    _, log = trained(build(kind, beta=beta, learning_rate=0.01))
    assert log[0]["reward_std"] > 0.01
    assert log[0]["loss"] == pytest.approx(0, abs=1e-6)
    assert log[0]["grad_norm"] > 0.01
    if beta:
        # The reference is where training starts; one step later the policy has left it.
        assert log[0]["kl"] == pytest.approx(0, abs=1e-6)
        assert log[1]["kl"] > 1e-5
        assert log[1]["loss"] == pytest.approx(beta * log[1]["kl"], rel=0.5)
    else:
        assert log[1]["loss"] == pytest.approx(0, abs=1e-6)
