"""Rollouts of the trainers themselves, as on a GPU without vLLM."""

from functools import partial
from pathlib import Path

import pytest
import yaml
from transformers import TrainingArguments
from trl import GRPOConfig, ModelConfig, TrlParser
from trl.scripts.grpo import GRPOScriptArguments

from fixed_completions import PROMPTS
from r1zero.plan.backend import Inputs, load_backend
from r1zero.plan.layout import Layout
from r1zero.plan.machine import find_machine
from r1zero.plan.search import lay_out
from r1zero.sampling.qwen3 import Qwen3
from r1zero.settings import Hardware, load_sources, recipe_names, resolve_run
from r1zero.train.backends.trl.length_bucketing import LengthBucketingTrainer, rollout
from tiny import CONFIG
from tiny_trainer import build_trainer

MACHINES = ((1, 1, "4090"), (2, 1, "4090"), (8, 1, "a100-80g"), (8, 2, "h200"))


@pytest.fixture(autouse=True)
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")
    # The decoder of transformers, as for any model that is not a mini model on a CPU.
    monkeypatch.setattr(Qwen3, "of", lambda model: None)


def test_rollouts_do_not_depend_on_batches_or_checkpointing(base: Path, tmp_path: Path) -> None:
    """A layer that checkpoints drops its cache while it trains, and would see one token."""
    drawn = []
    for checkpointing, batch in ((False, None), (True, None), (True, 3)):
        trainer = build_trainer(LengthBucketingTrainer, base, tmp_path, top_k=1)
        if checkpointing:  # as a training does
            trainer.model.gradient_checkpointing_enable()
        trainer.model.train()
        found = rollout(PROMPTS, trainer, batch=batch)["completion_ids"]
        drawn.append(found)
        assert trainer.model.is_gradient_checkpointing == checkpointing
    assert drawn[0] == drawn[1] == drawn[2]
    assert len(set(map(tuple, drawn[0]))) > 1
    assert max(map(len, drawn[0])) > 5


def test_a_training_with_checkpointing_and_batches_ends(base: Path, tmp_path: Path) -> None:
    trainer = build_trainer(
        LengthBucketingTrainer,
        base,
        tmp_path,
        gradient_checkpointing=True,
        extra={"rollout_func": partial(rollout, batch=5)},
    )
    before = {name: weight.clone() for name, weight in trainer.model.named_parameters()}
    trainer.train()
    assert trainer.state.global_step == 2
    assert any(not weight.equal(before[name]) for name, weight in trainer.model.named_parameters())


def test_trl_and_the_entrypoint_read_the_plans(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each distinct configuration of recipes and machines without vLLM."""
    models = load_sources(CONFIG).models
    inputs = Inputs(Path("run.json"), tmp_path, tmp_path / "t.parquet", {}, tmp_path, tmp_path)
    backend = load_backend("trl")
    seen = set()
    for recipe in recipe_names(CONFIG):
        run = resolve_run(recipe, scale="paper", backend="trl", seed=0, folder=CONFIG)
        models_of_rewards = {reward.model: tmp_path for reward in run.rewards if reward.model}
        for gpus, nodes, kind in MACHINES:
            machine = find_machine(Hardware(gpus=gpus, nodes=nodes, gpu=kind))
            machine = machine.model_copy(update={"has_vllm": False})
            found = lay_out(run, machine, getattr(models[run.model], "architecture", None))
            if not isinstance(found, Layout):
                continue
            given = inputs._replace(reward_models=models_of_rewards)
            text = backend.render(run, found, given)["trl.yaml"]
            trainer, *others = backend.processes(run, found, machine, given)
            assert {each.role for each in (trainer, *others)} == {"trainer"}
            batch = trainer.argv[trainer.argv.index("--rollout-batch") + 1]
            assert int(batch) == found.generator_sequences
            if (text, found.trainers) in seen:
                continue
            seen.add((text, found.trainers))
            processes = found.trainers
            monkeypatch.setattr(
                TrainingArguments, "world_size", property(lambda self, n=processes: n)
            )
            path = tmp_path / "trl.yaml"
            # transformers admits bfloat16 only where there is a GPU.
            path.write_text(yaml.safe_dump(yaml.safe_load(text) | {"bf16": False}))
            _, config, _ = TrlParser(
                (GRPOScriptArguments, GRPOConfig, ModelConfig)
            ).parse_args_and_config(["--config", str(path)], fail_with_unknown_args=True)
            assert config.use_vllm is False
            assert config.use_cpu is False
            assert config.generation_batch_size == (
                run.completions_per_step * run.algorithm.updates_per_rollout
            )
    print(f"{len(seen)} configurations, 0 refused")
    assert len(seen) > 20
