"""How a step is cut into passes, which the hardware decides, does not change what is learned."""

from pathlib import Path
from typing import Any, get_args

import polars as pl
import pytest
import torch
from datasets import Dataset
from torch import Tensor
from transformers import AutoTokenizer
from trl import GRPOConfig

from r1zero.settings.recipe import Algorithm
from r1zero.train.backends.trl.length_bucketing import LengthBucketingTrainer, rollout

LOSSES = get_args(Algorithm.model_fields["loss_type"].annotation)
COMPLETIONS, GROUP, STEPS = 16, 4, 2


def expected(loss_type: str) -> Any:
    """A loss, or the one that is known to depend on the passes."""
    reason = "bnpo divides by the tokens of a pass, not by those of the step"
    marks = [pytest.mark.xfail(strict=True, reason=reason)] if loss_type == "bnpo" else []
    return pytest.param(loss_type, "group", marks=marks)


def share_of_digits(completions: list[str], **_: Any) -> list[float]:
    """A reward that an untrained model gets some of."""
    return [sum(map(str.isdigit, text)) / (1 + len(text)) for text in completions]


def trained(base: Path, task: Path, out: Path, passes: int, **options: Any) -> tuple[Tensor, Any]:
    """Weights after some steps, and what was logged, with a step cut into so many passes."""
    problems = pl.read_parquet(task.parent / "problems" / "train.parquet")
    trainer = LengthBucketingTrainer(
        model=str(base.parent),
        processing_class=AutoTokenizer.from_pretrained(base.parent, padding_side="left"),
        reward_funcs=[share_of_digits],
        args=GRPOConfig(
            output_dir=str(out),
            per_device_train_batch_size=COMPLETIONS // passes,
            gradient_accumulation_steps=passes,
            steps_per_generation=passes,
            num_generations=GROUP,
            max_completion_length=60,
            max_steps=STEPS,
            # Adam divides by the gradient's own size, and would blow rounding up to a step.
            optim="sgd",
            learning_rate=1.0,
            lr_scheduler_type="constant",
            max_grad_norm=0,
            beta=0.01,
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            model_init_kwargs={"dtype": "float32", "attn_implementation": "eager"},
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            seed=3,
            **options,
        ),
        train_dataset=Dataset.from_polars(problems),
        rollout_func=rollout,
    )
    trainer.train()
    weights = torch.cat([parameter.detach().flatten() for parameter in trainer.model.parameters()])
    return weights, trainer.state.log_history[:STEPS]


@pytest.fixture
def run(tiny_base: Path, tiny_task: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`trained` on the tiny base and its problems."""
    monkeypatch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")  # rollout_func
    return lambda passes, **options: trained(tiny_base, tiny_task, tmp_path, passes, **options)


@pytest.mark.parametrize(
    ("loss_type", "scale_rewards"),
    [*(expected(loss) for loss in LOSSES), ("grpo", "batch"), ("grpo", "none")],
)
def test_any_number_of_passes_ends_with_the_same_weights(
    run: Any, loss_type: str, scale_rewards: str
) -> None:
    options = {"loss_type": loss_type, "scale_rewards": scale_rewards}
    one, logged = run(1, **options)
    assert all(step["grad_norm"] > 1e-3 for step in logged)
    for passes in (2, 8):
        weights, again = run(passes, **options)
        # The second step's rollouts too: they would differ if the first step had.
        assert [step["reward"] for step in again] == [step["reward"] for step in logged]
        torch.testing.assert_close(weights, one, rtol=0, atol=1e-5)
