"""The record of rollouts: complete, within its budget, covering the whole run; what scores them."""

import json
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, Qwen3Config, Qwen3ForSequenceClassification

from r1zero.rewards.build import RewardFunctions
from r1zero.settings.recipe import Reward
from r1zero.tasks.prompts import Style
from r1zero.train import recording
from r1zero.train.backends.trl.dynamic_sampling import DynamicSamplingTrainer
from r1zero.train.recording import Failures, RolloutFolder, collect, steps
from tiny_trainer import build_trainer, recorder


def rows(step: int) -> pl.DataFrame:
    # Numbers that do not compress, so that every step takes the same room.
    values = [hash((step, place)) / 2**64 for place in range(200)]
    return pl.DataFrame({"step": [step] * 200, "completion": "x", "rewards/correct": values})


def one_step(folder: Path) -> float:
    """Megabytes of a step."""
    RolloutFolder(folder).write(rows(1))
    return steps(folder)[1].stat().st_size / 1e6


def test_within_the_budget_every_step_is_kept(tmp_path: Path) -> None:
    written = RolloutFolder(tmp_path)
    for step in range(1, 12):
        written.write(rows(step))
    assert list(steps(tmp_path)) == list(range(1, 12))
    assert [path.name for path in steps(tmp_path).values()][:1] == ["step-000001.parquet"]
    collect(tmp_path, tmp_path / "out" / "rollouts.parquet")
    joined = pl.read_parquet(tmp_path / "out" / "rollouts.parquet")
    assert joined.equals(pl.concat([rows(step) for step in range(1, 12)]))


@settings(max_examples=15, deadline=None)
@given(st.integers(2, 9), st.integers(1, 60), st.sampled_from([1, 2, 3]), st.integers(0, 60))
def test_over_it_what_is_left_covers_the_run(
    tmp_path_factory: pytest.TempPathFactory, fits: int, count: int, every: int, broken: int
) -> None:
    folder = tmp_path_factory.mktemp("rollouts")
    budget = (fits + 0.5) * one_step(tmp_path_factory.mktemp("one"))
    written = RolloutFolder(folder, budget_mb=budget)
    made = range(1, 1 + count * every, every)
    for step in made:
        if step == broken:
            written = RolloutFolder(folder, budget_mb=budget, resumed=step - 1)
        written.write(rows(step))
        kept = list(steps(folder))
        assert len(kept) <= max(2, fits)
        assert kept[0] == 1
        assert kept[-1] == step
        gaps = {after - before for before, after in pairwise(kept[:-1])}
        assert len(gaps) <= 1
    # More than a third of what would fit is there, or all.
    assert len(kept) >= min(count, fits / 2)


def test_steps_that_are_done_again_replace_what_they_wrote(tmp_path: Path) -> None:
    written = RolloutFolder(tmp_path)
    for step in range(1, 7):
        written.write(rows(step))
    again = RolloutFolder(tmp_path, resumed=4)
    assert list(steps(tmp_path)) == [1, 2, 3, 4]
    again.write(rows(5))
    assert list(steps(tmp_path)) == [1, 2, 3, 4, 5]
    RolloutFolder(tmp_path)
    assert steps(tmp_path) == {}


def test_failures_are_written_up_to_a_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "MOST_FAILURES", 5)
    path = tmp_path / "failures.jsonl"
    failures = Failures(path)
    failures.add([])
    failures.add([{"step": 1, "completion": "ä\n"}] * 3)
    failures.add([{"step": 2, "completion": "b"}] * 4)
    failures.add([{"step": 3, "completion": "c"}])
    read = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["step"] for row in read] == [1, 1, 1, 2, 2]
    assert read[0]["completion"] == "ä\n"
    Failures(path, resumed=1).add([{"step": 2, "completion": "b"}] * 9)
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 1, 1, 2, 2]


@pytest.fixture
def terms(monkeypatch: pytest.MonkeyPatch) -> RewardFunctions:
    monkeypatch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")  # rollout_func
    style = Style(thought="prefilled", answer="tags")
    return RewardFunctions(
        task="countdown", style=style, seed=0, max_completion_length=24, rewards={}
    )


def test_a_term_that_fails_is_written_down_and_training_goes_on(
    base: Path, tmp_path: Path, terms: RewardFunctions
) -> None:
    kinds = {"user_rewards.fails_on_even": {}, "length": {"target": 12}}
    folder = tmp_path / "rollouts"
    trainer = build_trainer(
        DynamicSamplingTrainer,
        base,
        tmp_path,
        rewards=[terms.build(Reward(name=name, options=o)) for name, o in kinds.items()],
        extra={
            "recorder": recorder(tmp_path),
        },
    )
    trainer.train()
    collect(folder, tmp_path / "rollouts.parquet")
    table = pl.read_parquet(tmp_path / "rollouts.parquet")
    failures = pl.read_ndjson(tmp_path / "failures.jsonl")
    even = table.filter(pl.col("length") % 2 == 0)
    assert 0 < len(even) < len(table) == 32
    assert failures.columns == ["step", "reward_function", "problem", "problem_id", "completion"]
    assert failures["completion"].to_list() == even["completion"].to_list()
    assert failures["step"].to_list() == even["step"].to_list()
    assert failures["problem_id"].to_list() == even["problem_id"].to_list()
    assert failures["problem"].unique().to_list() == ["ValueError: an even number of tokens"]
    worth = pl.when(pl.col("length") % 2 == 0).then(0.0).otherwise(1.0)
    assert table.filter(pl.col("rewards/user_rewards.fails_on_even") != worth).is_empty()
    characters = -(pl.col("completion").str.len_chars().cast(pl.Int64) - 12).abs()
    assert table.filter(pl.col("rewards/length") != characters).is_empty()
    total = pl.col("rewards/user_rewards.fails_on_even") + pl.col("rewards/length")
    assert table.filter((pl.col("reward") - total).abs() > 1e-5).is_empty()
    for row, step in zip(trainer.state.log_history, table.partition_by("step"), strict=False):
        share = (step["length"] % 2 == 0).mean()
        assert row["rewards/user_rewards.fails_on_even/failed"] == pytest.approx(share)
        assert row["rewards/length/failed"] == 0
        assert row["completions/clipped_ratio"] == pytest.approx(step["truncated"].mean())


def test_a_reward_model_reads_prompt_and_completion(
    base: Path, tmp_path: Path, terms: RewardFunctions
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(base)
    torch.manual_seed(1)
    config = Qwen3Config.from_pretrained(base, num_labels=1, pad_token_id=tokenizer.pad_token_id)
    judge = Qwen3ForSequenceClassification(config).eval()
    judge.save_pretrained(tmp_path / "judge")
    tokenizer.save_pretrained(tmp_path / "judge")
    trainer = build_trainer(
        DynamicSamplingTrainer,
        base,
        tmp_path / "run",
        rewards=[str(tmp_path / "judge"), terms.build(Reward(name="length"))],
        extra={"recorder": recorder(tmp_path)},
        max_steps=1,
    )
    trainer.train()
    table = pl.read_parquet(steps(tmp_path / "rollouts")[1])
    texts = table["prompt"] + table["completion"]
    for text, worth in zip(texts, table["rewards/judge"], strict=True):
        with torch.inference_mode():
            expected = judge(**tokenizer(text, return_tensors="pt")).logits[0, 0].item()
        assert worth == pytest.approx(expected, abs=1e-4)
    assert table["rewards/judge"].n_unique() > 8
