"""The papers' formulas: what they promise, and that TRL's trainer computes them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from trl import GRPOTrainer

from r1zero.settings.recipe import Algorithm
from r1zero.train import formulas
from r1zero.train.backends.trl.dynamic_sampling import DynamicSamplingTrainer
from tiny_trainer import batch, build_trainer

LOSSES = get_args(formulas.LossType)
Build = Callable[..., GRPOTrainer]


@pytest.fixture
def build(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Build:
    """Build trainers that start from the same weights."""
    monkeypatch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")  # rollout_func
    return lambda kind, **changes: build_trainer(kind, base, tmp_path, **changes)


def test_every_loss_that_a_recipe_may_name_is_here() -> None:
    fields = Algorithm.model_fields
    assert set(LOSSES) == set(get_args(fields["loss_type"].annotation))
    assert set(get_args(formulas.Scale)) == set(get_args(fields["scale_rewards"].annotation))


# Rewards of several groups of four.
rewards_of_groups = st.lists(
    st.lists(st.sampled_from([-1.0, 0.0, 0.5, 1.0, 2.0]), min_size=4, max_size=4),
    min_size=2,
    max_size=5,
).map(torch.tensor)


@given(rewards_of_groups, st.sampled_from(get_args(formulas.Scale)))
def test_advantages_of_a_group_sum_to_nothing_and_know_no_offset(
    rewards: Tensor, scale: formulas.Scale
) -> None:
    found = formulas.advantages(rewards.flatten(), 4, scale).view(-1, 4)
    torch.testing.assert_close(found.sum(dim=1), torch.zeros(len(found)), atol=1e-5, rtol=0)
    # What a problem pays all its completions is no reason to prefer any.
    offset = torch.arange(len(rewards))[:, None] * (0.0 if scale == "batch" else 3.0)
    shifted = formulas.advantages((rewards + offset).flatten(), 4, scale).view(-1, 4)
    torch.testing.assert_close(shifted, found, atol=1e-4, rtol=1e-3)


def test_a_group_is_scaled_to_one_and_that_of_dr_grpo_is_not() -> None:
    rewards = torch.tensor([0.0, 0, 0, 4, 1, 1, 1, 1])
    scaled = formulas.advantages(rewards, 4, "group")
    assert scaled[:4].std() == pytest.approx(1, abs=1e-3)
    assert (scaled[4:] == 0).all()
    assert formulas.advantages(rewards, 4, "none").tolist() == [-1, -1, -1, 3, 0, 0, 0, 0]


@pytest.mark.parametrize("scale", get_args(formulas.Scale))
def test_advantages_are_those_of_trl(build: Build, scale: formulas.Scale) -> None:
    trainer = build(GRPOTrainer, scale_rewards=scale, max_steps=1)
    trainer.train()
    rewards = torch.tensor(list(trainer._logs["rewards"]["share_of_even_tokens"]))
    assert len(rewards) == 16
    expected = torch.tensor(list(trainer._logs["advantages"]))
    assert expected.abs().max() > 0.01
    torch.testing.assert_close(formulas.advantages(rewards, 4, scale), expected)


def policies(seed: int) -> tuple[Tensor, Tensor]:
    """Log-probabilities of six actions under two policies, the first with a gradient."""
    generator = torch.Generator().manual_seed(seed)
    logits, other = torch.randn(2, 6, generator=generator, dtype=torch.float64)
    return logits.requires_grad_().log_softmax(dim=0), other.log_softmax(dim=0)


@given(st.integers(0, 1000))
def test_k3_is_an_unbiased_nonnegative_estimate_of_the_divergence(seed: int) -> None:
    logps, reference = policies(seed)
    estimates = formulas.k3(logps, reference)
    assert (estimates >= 0).all()
    divergence = (logps.exp() * (logps - reference)).sum()
    torch.testing.assert_close((logps.exp() * estimates).sum(), divergence)
    assert (formulas.k3(logps, logps) == 0).all()


@given(st.integers(0, 1000))
def test_the_gradient_of_k3_is_one_minus_the_ratio(seed: int) -> None:
    logps, reference = policies(seed)
    (gradient,) = torch.autograd.grad(formulas.k3(logps, reference).sum(), logps, retain_graph=True)
    torch.testing.assert_close(gradient, 1 - (reference - logps).exp())


@given(st.integers(0, 1000))
def test_the_gradient_of_k3_is_that_of_a_divergence_in_expectation(seed: int) -> None:
    logits, reference = policies(seed)
    logits = logits.detach().requires_grad_()

    def gradient(value: Callable[[Tensor], Tensor]) -> Tensor:
        return torch.autograd.grad(value(logits.log_softmax(dim=0)).sum(), logits)[0]

    def drawn(logps: Tensor, *, corrected: bool) -> Tensor:
        """The estimate, each token as often as the policy draws it."""
        weight = formulas.token_ratio(logps, logps.detach()) if corrected else 1.0
        return logps.detach().exp() * weight * formulas.k3(logps, reference)

    torch.testing.assert_close(
        gradient(lambda logps: drawn(logps, corrected=False)),
        gradient(lambda logps: reference.exp() * (reference - logps)),
    )
    torch.testing.assert_close(
        gradient(lambda logps: drawn(logps, corrected=True)),
        gradient(lambda logps: logps.exp() * (logps - reference)),
    )


def test_a_sequence_has_the_geometric_mean_of_its_tokens_ratios() -> None:
    logps = torch.tensor([[-1.0, -2, -3, -4], [-1, -1, -1, -1]])
    old = torch.tensor([[-2.0, -2, -2, -9], [-1, -1, -1, -1]])
    mask = torch.tensor([[1, 1, 1, 0], [0, 0, 0, 0]])
    ratio = formulas.sequence_ratio(logps, old, mask)
    tokens = formulas.token_ratio(logps, old)[0, :3]
    torch.testing.assert_close(
        ratio, torch.stack([tokens.prod() ** (1 / 3), torch.tensor(1.0)])[:, None]
    )


@given(st.floats(0.1, 3), st.floats(-2, 2), st.floats(0.05, 0.5), st.floats(0.05, 0.5))
def test_the_surrogate_is_flat_where_a_token_has_moved_far_enough(
    ratio: float, advantage: float, low: float, high: float
) -> None:
    moved = torch.tensor([[ratio]], dtype=torch.float64, requires_grad=True)
    value = formulas.clipped_surrogate(
        moved, torch.tensor([[advantage]], dtype=torch.float64), low, high
    )
    assert value <= ratio * advantage + 1e-9  # pessimistic
    (gradient,) = torch.autograd.grad(value.sum(), moved)
    far = (advantage > 0 and ratio > 1 + high) or (advantage < 0 and ratio < 1 - low)
    assert gradient.item() == pytest.approx(0 if far else advantage, rel=1e-6)


def test_the_losses_differ_in_what_they_divide_by() -> None:
    per_token = torch.tensor([[1.0, 9, 9, 9], [3, 3, 3, 3]])
    mask = torch.tensor([[1, 0, 0, 0], [1, 1, 1, 0]])
    found = {}
    for loss in LOSSES:
        weights = formulas.token_weights(mask, loss, 5, completions=2, tokens=4)
        found[loss] = (per_token * weights).sum().item()
    assert found == pytest.approx({"grpo": 2, "dapo": 2.5, "bnpo": 2.5, "dr_grpo": 1})


def inputs_of(off_policy: bool) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(4)
    inputs = batch()
    if off_policy:
        shape = inputs["completion_mask"].shape
        inputs["old_per_token_logps"] = -5.5 + 0.4 * torch.randn(shape, generator=generator)
    return inputs


@pytest.mark.parametrize("level", ["token", "sequence"])
@pytest.mark.parametrize("off_policy", [False, True])
@pytest.mark.parametrize(("beta", "corrected"), [(0.0, False), (0.04, False), (0.04, True)])
@pytest.mark.parametrize("loss_type", LOSSES)
def test_the_loss_is_that_of_trl(
    build: Build,
    loss_type: formulas.LossType,
    beta: float,
    corrected: bool,
    off_policy: bool,
    level: Any,
) -> None:
    trainer = build(
        GRPOTrainer,
        loss_type=loss_type,
        beta=beta,
        use_bias_correction_kl=corrected,
        epsilon_high=0.3,
        importance_sampling_level=level,
        gradient_accumulation_steps=1,
        steps_per_generation=1,
    )
    trainer.model.train()
    inputs = inputs_of(off_policy)
    expected = trainer.compute_loss(trainer.model, inputs)
    ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1)
    mask = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1)
    kept = inputs["completion_ids"].shape[1]
    logps = trainer._get_per_token_logps_and_entropies(trainer.model, ids, mask, kept)[0]
    loss = formulas.loss(
        logps,
        old=inputs.get("old_per_token_logps", logps.detach()),
        advantage=inputs["advantages"],
        mask=inputs["completion_mask"],
        reference=inputs["ref_per_token_logps"],
        beta=beta,
        low=0.2,
        high=0.3,
        loss_type=loss_type,
        max_length=24,
        level=level,
        corrected=corrected,
    )
    torch.testing.assert_close(loss, expected, atol=1e-6, rtol=1e-5)
    parameters = list(trainer.model.parameters())
    for mine, theirs in zip(
        torch.autograd.grad(loss, parameters, retain_graph=True),
        torch.autograd.grad(expected, parameters),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs, atol=1e-6, rtol=1e-4)
    if off_policy:
        clipped = trainer._metrics["train"]["clip_ratio/region_mean"]
        assert clipped[0] > 0, "nothing would show of the clip"


def trained(build: Build, **options: Any) -> list[dict[str, float]]:
    trainer = build(DynamicSamplingTrainer, learning_rate=0.02, max_steps=3, **options)
    trainer.train()
    return [row for row in trainer.state.log_history if "loss" in row]


def test_with_one_update_a_rollout_nothing_is_clipped(build: Build) -> None:
    """Every ratio is 1: the loss is 0 up to rounding, and its gradient is not."""
    log = trained(build)
    assert len(log) == 3
    for row in log:
        assert row["clip_ratio/region_mean"] == 0
        assert row["loss"] == pytest.approx(0, abs=1e-6)
        assert row["grad_norm"] > 0.01


@pytest.mark.parametrize(
    "options",
    [
        {"num_iterations": 3},
        # Two updates share the rollouts, each completion in one of them.
        {"gradient_accumulation_steps": 1, "steps_per_generation": 2},
    ],
)
def test_with_several_the_later_ones_are_off_policy(build: Build, options: dict[str, int]) -> None:
    first, second, third = trained(build, **options)
    assert "reward" in first
    assert first["clip_ratio/region_mean"] == 0
    assert "reward" not in second
    assert second["clip_ratio/region_mean"] > 0
    # Three iterations go over the same rollouts; with two updates a third step draws its own.
    again = options.get("num_iterations", 2) == 2
    assert ("reward" in third) == again
    assert (third["clip_ratio/region_mean"] == 0) == again
    if not again:
        assert first["loss"] == pytest.approx(0, abs=1e-6)
        assert abs(second["loss"]) > 1e-4
