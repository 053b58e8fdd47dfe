"""Groups whose rewards are all equal: counted, dropped, drawn anew."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from transformers import TrainerCallback
from trl import GRPOTrainer

from r1zero.train import formulas, zero_variance
from r1zero.train.backends.trl import batches
from r1zero.train.backends.trl.dynamic_sampling import DynamicSamplingTrainer
from r1zero.train.recording import steps
from tiny_trainer import batch, build_trainer, recorder

LOSSES = ["grpo", "dr_grpo", "dapo", "bnpo"]
# The rewards of a problem that starts with `x` are all equal.
PROMPTS = [f"{'x' if number % 3 == 0 else 'a'} {number}" for number in range(24)]

Build = Callable[..., DynamicSamplingTrainer]


def correct(prompts: list[str], completion_ids: list[list[int]], **_: Any) -> list[float]:
    """All right or all wrong where the problem says so, else right for an even first token."""
    return [
        float(int(prompt[2:]) % 2) if prompt.startswith("x") else float(ids[0] % 2 == 0)
        for prompt, ids in zip(prompts, completion_ids, strict=True)
    ]


def hopeless(completions: list[str], **_: Any) -> list[float]:
    return [0.0] * len(completions)


@pytest.fixture
def build(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Build:
    """Build trainers that start from the same weights and record their rollouts."""
    monkeypatch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")  # rollout_func

    def built(
        zero_variance_groups: str,
        *,
        name: str = "run",
        resumed: int = 0,
        max_resamples: int = 8,
        reward: Callable[..., list[float]] = correct,
        **changes: Any,
    ) -> DynamicSamplingTrainer:
        extra = {
            "zero_variance_groups": zero_variance_groups,
            "max_resamples": max_resamples,
            "recorder": recorder(tmp_path / name, resumed=resumed),
        }
        return build_trainer(
            DynamicSamplingTrainer,
            base,
            tmp_path / name,
            rewards=[reward],
            prompts=PROMPTS,
            extra=extra,
            **changes,
        )

    return built


def rollouts(trainer: DynamicSamplingTrainer) -> pl.DataFrame:
    assert trainer.recorder is not None
    return pl.concat(map(pl.read_parquet, steps(trainer.recorder.rollouts.folder).values()))


def log_of(trainer: DynamicSamplingTrainer) -> list[dict[str, float]]:
    return [row for row in trainer.state.log_history if "reward" in row]


def test_a_group_is_equal_if_no_two_of_its_rewards_differ() -> None:
    nan = float("nan")
    rewards = torch.tensor([1.0, 1, 0, 1, nan, nan, nan, 2, 0, nan, 0, 0.0])
    assert zero_variance.has_zero_variance(rewards, 2).tolist() == [
        True,
        False,
        True,
        True,
        True,
        True,
    ]
    assert zero_variance.has_zero_variance(rewards, 4).tolist() == [False, True, True]


def test_zero_variance_groups_are_counted_by_what_they_got() -> None:
    right = torch.tensor([1, 1, 1, 0, 0, 0, 1, 1], dtype=torch.bool)
    same = torch.tensor([True, False, True, False])
    assert zero_variance.shares(same, right, 2) == (0.5, 0.25, 0.25)
    assert zero_variance.shares(same, None, 2) == (0.5, None, None)


@given(st.integers(1, 40), st.integers(0, 40), st.integers(1, 60), st.integers(0, 9))
def test_other_problems_are_fresh_while_there_are_any(
    count: int, met: int, size: int, step: int
) -> None:
    prompts = [f"p{number}" for number in range(size)]
    used = set(prompts[:met])
    options = {"seed": 3, "step": step, "draw": 1, "count": count}
    places = zero_variance.other_problems(prompts, used, **options)
    assert len(places) == count
    fresh = [place for place in places if prompts[place] not in used]
    assert len(set(fresh[: size - met])) == min(count, max(0, size - met))
    assert places == zero_variance.other_problems(prompts, used, **options)


def test_each_draw_has_a_stream_of_its_own() -> None:
    prompts = [f"p{number}" for number in range(1000)]
    drawn = {
        tuple(
            zero_variance.other_problems(prompts, set(), seed=seed, step=step, draw=draw, count=8)
        )
        for seed in (0, 1)
        for step in (0, 1)
        for draw in (1, 2)
    }
    assert len(drawn) == 8


def test_rows_of_another_batch_are_padded_into_place() -> None:
    mine = {
        "prompt_ids": torch.tensor([[1, 2, 3], [9, 4, 5]]),
        "prompt_mask": torch.tensor([[1, 1, 1], [0, 1, 1]]),
        "completion_ids": torch.tensor([[6], [7]]),
        "completion_mask": torch.tensor([[1], [1]]),
        "old_per_token_logps": torch.tensor([[-1.0], [-2]]),
        "importance_sampling_ratio": torch.tensor([[1.0], [2]]),
        "advantages": torch.tensor([0.0, 0.5]),
        "num_items_in_batch": torch.tensor(2),
    }
    other = {
        "prompt_ids": torch.tensor([[8]]),
        "prompt_mask": torch.tensor([[1]]),
        "completion_ids": torch.tensor([[3, 2]]),
        "completion_mask": torch.tensor([[1, 1]]),
        "old_per_token_logps": torch.tensor([[-3.0, -4]]),
        "importance_sampling_ratio": torch.tensor([[0.5]]),
        "advantages": torch.tensor([1.5]),
        "num_items_in_batch": torch.tensor(2),
    }
    found = batches.replaced(mine, torch.tensor([0]), other, torch.tensor([0]), 9)
    assert {name: values.tolist() for name, values in found.items()} == {
        "prompt_ids": [[9, 9, 8], [9, 4, 5]],
        "prompt_mask": [[0, 0, 1], [0, 1, 1]],
        "completion_ids": [[3, 2], [7, 9]],
        "completion_mask": [[1, 1], [1, 0]],
        "old_per_token_logps": [[-3, -4], [-2, 0]],
        "importance_sampling_ratio": [[0.5], [2]],
        "advantages": [1.5, 0.5],
        "num_items_in_batch": 2,
    }


GONE = torch.tensor([True] * 4 + [False] * 4)


def gradients(trainer: GRPOTrainer, passes: list[batches.Batch]) -> tuple[float, list[Tensor]]:
    trainer.model.train()
    trainer.model.zero_grad()
    losses = []
    for inputs in passes:
        loss = trainer.compute_loss(trainer.model, inputs)
        loss.backward()
        losses.append(loss.item())
    return sum(losses), [parameter.grad.clone() for parameter in trainer.model.parameters()]


def rows_of(inputs: batches.Batch, rows: Tensor) -> batches.Batch:
    return {name: values[rows] if values.ndim else values for name, values in inputs.items()}


@pytest.mark.parametrize("passes", [1, 2])
@pytest.mark.parametrize("beta", [0.0, 0.04])
@pytest.mark.parametrize("loss_type", LOSSES)
def test_the_loss_is_that_of_the_batch_without_them(
    build: Build, loss_type: str, beta: float, passes: int
) -> None:
    def trainer(count: int) -> DynamicSamplingTrainer:
        options = {"gradient_accumulation_steps": count, "steps_per_generation": count}
        return build("drop", loss_type=loss_type, beta=beta, **options)

    whole = batch()
    left = rows_of(whole, ~GONE)
    left["num_items_in_batch"] = left["completion_mask"].sum()
    masked = batches.dropped(whole, GONE)
    tokens = batches.tokens_in_loss(masked)
    assert 0 < tokens == left["num_items_in_batch"] < whole["num_items_in_batch"]
    masked = batches.scaled(masked, loss_type, everything=8, kept=4, tokens=tokens)
    # Passes as the trainer makes them: rows of all groups in each.
    order = torch.tensor([0, 4, 1, 5, 2, 6, 3, 7]).view(passes, -1)
    cut = [rows_of(masked, rows) for rows in order]
    kept = [rows_of(left, rows[rows >= 4] - 4) if loss_type == "bnpo" else None for rows in order]
    # What bnpo divides by is the tokens of a pass, so its batch is cut up in the same way.
    expected = gradients(trainer(passes), kept) if kept[0] else gradients(trainer(1), [left])
    found = gradients(trainer(passes), cut)
    assert found[0] == pytest.approx(expected[0], rel=1e-4, abs=1e-6)
    for mine, theirs in zip(found[1], expected[1], strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-6, rtol=1e-4)


def test_deviations_of_a_batch_are_those_without_them() -> None:
    rewards = torch.tensor([1.0, 1, 1, 1, 0, 2, 1, 4])
    all_of_them = formulas.advantages(rewards, 4, "batch")
    expected = formulas.advantages(rewards[~GONE], 4, "batch")
    factor = zero_variance.rescaling(rewards, GONE)
    torch.testing.assert_close(all_of_them[~GONE] * factor, expected)
    assert zero_variance.rescaling(rewards, torch.ones(8, dtype=torch.bool)) == 1


def test_kept_groups_are_counted_and_recorded(build: Build) -> None:
    trainer = build("keep", max_steps=3)
    trainer.train()
    table = rollouts(trainer)
    assert table["step"].to_list() == [1] * 16 + [2] * 16 + [3] * 16
    assert (table["draw"] == 0).all()
    assert table["in_loss"].all()
    for row, (_, drawn) in zip(
        log_of(trainer), table.group_by("step", maintain_order=True), strict=True
    ):
        assert row["reward"] == pytest.approx(drawn["reward"].mean())
        groups_of = drawn.group_by("problem_id").agg(pl.col("reward").mean())["reward"]
        assert row["groups/all_right"] == (groups_of == 1).mean()
        assert row["groups/all_wrong"] == (groups_of == 0).mean()
        assert row["groups/zero_variance"] == row["frac_reward_zero_std"]
    assert any(row["groups/zero_variance"] > 0 for row in log_of(trainer)), "nothing to count"


def test_dropped_groups_leave_more_weight_to_the_others(build: Build) -> None:
    options = {"max_steps": 1, "seed": 3}
    kept = build("keep", name="kept", **options)
    kept.train()
    dropped = build("drop", name="dropped", **options)  # which seeds what is sampled
    dropped.train()
    (one,), (other,) = log_of(kept), log_of(dropped)
    assert 0 < one["groups/zero_variance"] == other["groups/dropped"] < 1
    factor = 1 / (1 - one["groups/zero_variance"])
    assert other["grad_norm"] == pytest.approx(factor * one["grad_norm"], rel=1e-4)
    table = rollouts(dropped)
    equal = pl.col("reward").n_unique().over("problem_id") == 1
    assert table.filter(equal != ~pl.col("in_loss")).is_empty()


def test_redrawn_groups_take_the_place_of_equal_ones(build: Build) -> None:
    trainer = build("resample", max_steps=4)
    trainer.train()
    table = rollouts(trainer)
    kept = build("keep", name="kept", max_steps=4)
    kept.train()
    first = table.filter(pl.col("draw") == 0)
    # The order of the ordinary problems is that of a run which redraws nothing.
    assert first["prompt"].to_list() == rollouts(kept)["prompt"].to_list()
    assert (table["draw"] > 0).any()
    for row, (_, drawn) in zip(
        log_of(trainer), table.group_by("step", maintain_order=True), strict=True
    ):
        # On-policy figures are those of problems that were not chosen by their rewards.
        ordinary = drawn.filter(pl.col("draw") == 0)
        assert row["reward"] == pytest.approx(ordinary["reward"].mean())
        assert row["completions/mean_length"] == pytest.approx(ordinary["length"].mean())
        assert row["completions/tokens_of_all_draws"] == drawn["length"].sum() / 16
        assert row["groups/redrawn"] == (len(drawn) - 16) / 16
        assert row["groups/dropped"] == 0
        assert drawn["in_loss"].sum() == 16
        trained = drawn.filter("in_loss").group_by("problem_id", "draw").agg("reward", "advantage")
        assert len(trained) == 4
        assert trained["reward"].list.n_unique().min() == 2
        assert drawn["prompt"].n_unique() == len(drawn) / 4, "a problem was drawn twice"
        assert row["loss"] == pytest.approx(0, abs=1e-6)
        assert row["grad_norm"] > 0.01


def test_what_stays_equal_is_dropped_and_an_empty_step_does_no_harm(build: Build) -> None:
    trainer = build("resample", max_resamples=2, reward=hopeless, beta=0.04)
    before = [parameter.detach().clone() for parameter in trainer.model.parameters()]
    trainer.train()
    for row in log_of(trainer):
        assert row["groups/dropped"] == row["groups/zero_variance"] == 1
        assert row["groups/redrawn"] == 2
        assert row["loss"] == row["grad_norm"] == 0
    table = rollouts(trainer)
    assert not table["in_loss"].any()
    assert table["draw"].unique().to_list() == [0, 1, 2]
    for parameter, old in zip(trainer.model.parameters(), before, strict=True):
        assert (parameter == old).all()


class KeepGradients(TrainerCallback):  # type: ignore[misc]
    """Keeps the gradients of the last step."""

    def on_pre_optimizer_step(self, *_: Any, model: torch.nn.Module, **__: Any) -> None:
        self.gradients = [parameter.grad.clone() for parameter in model.parameters()]


@pytest.mark.parametrize("beta", [0.0, 0.04])
@pytest.mark.parametrize(
    "updates",
    [
        {"gradient_accumulation_steps": 2, "steps_per_generation": 2},
        # Old log-probabilities come with the rollouts.
        {"gradient_accumulation_steps": 1, "steps_per_generation": 2},
    ],
)
def test_a_step_of_redrawn_groups_is_that_of_their_formula(
    build: Build, updates: dict[str, int], beta: float
) -> None:
    trainer = build("resample", max_steps=1, beta=beta, max_grad_norm=0, **updates)
    drawn: list[batches.Batch] = []
    original = trainer._generate_and_score_completions

    def remembered(inputs: list[dict[str, Any]]) -> batches.Batch:
        drawn.append(original(inputs))
        return drawn[-1]

    trainer._generate_and_score_completions = remembered
    callback = KeepGradients()
    trainer.add_callback(callback)
    trainer.train()
    (found,) = drawn
    table = rollouts(trainer)
    assert (table["draw"] > 0).any()
    texts = trainer.processing_class.batch_decode(
        [
            ids[mask == 1]
            for ids, mask in zip(found["completion_ids"], found["completion_mask"], strict=True)
        ],
        skip_special_tokens=True,
    )
    trained = table.filter("in_loss")
    assert sorted(texts) == sorted(trained["completion"].to_list())
    advantages = dict(zip(trained["completion"], trained["advantage"], strict=True))
    assert found["advantages"].tolist() == pytest.approx([advantages[text] for text in texts])
    assert found["num_items_in_batch"] == found["completion_mask"].sum() == trained["length"].sum()
    fresh = build("keep", name="fresh", beta=beta, **updates)
    ids = torch.cat([found["prompt_ids"], found["completion_ids"]], dim=1)
    mask = torch.cat([found["prompt_mask"], found["completion_mask"]], dim=1)
    kept, held = found["completion_ids"].shape[1], found["completion_mask"]
    logps = fresh._get_per_token_logps_and_entropies(fresh.model, ids, mask, kept)[0]
    for name in ("old_per_token_logps", "ref_per_token_logps"):
        if name in found:
            theirs = found[name] * held
            torch.testing.assert_close(theirs, (logps * held).detach(), atol=1e-5, rtol=0)
    if "old_per_token_logps" in found:
        return  # the step is on half of the rows, and nobody tells which
    loss = formulas.loss(
        logps,
        old=logps.detach(),
        advantage=found["advantages"],
        mask=held,
        reference=None,  # still where training started: it adds nothing
        beta=beta,
        low=0.2,
        high=0.2,
        loss_type="grpo",
        max_length=24,
    )
    gradients = torch.autograd.grad(loss, list(fresh.model.parameters()))
    for mine, expected in zip(callback.gradients, gradients, strict=True):
        torch.testing.assert_close(mine, expected, atol=1e-5, rtol=1e-3)


def test_a_resumed_run_redraws_the_same(build: Build) -> None:
    options = {"max_steps": 4, "save_strategy": "steps", "save_steps": 2}
    unbroken = build("resample", name="unbroken", **options)
    unbroken.train()
    weights = [parameter.detach().clone() for parameter in unbroken.model.parameters()]
    whole = rollouts(unbroken)
    folder = Path(unbroken.args.output_dir) / "checkpoint-2"
    resumed = build("resample", name="unbroken", resumed=2, **options)
    assert rollouts(resumed)["step"].max() == 2
    resumed.train(resume_from_checkpoint=str(folder))
    for parameter, expected in zip(resumed.model.parameters(), weights, strict=True):
        assert (parameter == expected).all()
    assert rollouts(resumed).equals(whole)
    assert (whole.filter(pl.col("step") > 2)["draw"] > 0).any()
