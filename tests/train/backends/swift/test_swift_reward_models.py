"""A reward model beside reward functions, in two processes: its scores are the model's own."""

import json
import shutil
from pathlib import Path

import polars as pl
import pytest
import torch
from transformers import AutoTokenizer, Qwen3Config, Qwen3ForSequenceClassification

from kills import finish
from r1zero.core.files import describe_file, read_json, write_json
from r1zero.train import metrics
from r1zero.train.checkpoints import sealed
from tiny import RECIPE, Run, edited, stage

pytestmark = pytest.mark.swift

MODEL, WEIGHT = "skywork-reward-v2-0.6b", 0.5


def write_reward_model(folder: Path, base: Path) -> Path:
    """A tiny classifier with the tokenizer of a base, under the manifest of a model."""
    tokenizer = AutoTokenizer.from_pretrained(base)
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        intermediate_size=16,
        initializer_range=0.3,
        num_labels=1,
        pad_token_id=tokenizer.pad_token_id,
    )
    Qwen3ForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    files = [describe_file(path, folder) for path in sorted(folder.iterdir())]
    write_json(folder / "manifest.json", {"kind": "model", "name": MODEL, "files": files})
    return folder / "manifest.json"


@pytest.fixture(scope="module")
def run(
    environment: Path,
    slow_config: Path,
    tiny_task: Path,
    slow_base: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Run:
    """A training of two steps in two processes."""
    folder = tmp_path_factory.mktemp("judged")
    config = folder / "config"
    shutil.copytree(slow_config, config)
    with edited(config / "scales" / "mini.yaml") as scale:
        scale["computation"] = {"train": {"processes": 2}}
        scale["tasks"]["countdown"]["sizes"] |= {"max_steps": 2, "save_steps": 2}
    with edited(config / "recipes" / f"{RECIPE}.yaml") as recipe:
        # First, so that it stands at another place than ms-swift has it.
        recipe["rewards"].insert(0, {"name": "preference", "weight": WEIGHT, "model": MODEL})
    judge = write_reward_model(folder / "judge", slow_base.parent)
    run = Run(folder / "run")
    inputs = ("--config", config, "--problems", tiny_task, "--model", slow_base)
    inputs += ("--reward-model", judge, "--backend", "swift", "--out", run.file)
    stage("resolve", RECIPE, *inputs)
    places = ("--checkpoints", run.checkpoints, "--out", run.plan)
    stage("layout", run.file, "--hardware", json.dumps({"gpus": 0}), *places)
    return finish(run)


def test_scores_are_those_of_the_model_on_prompt_and_completion(run: Run) -> None:
    folder = Path(read_json(run.file)["reward_models"][MODEL]["path"])
    model = Qwen3ForSequenceClassification.from_pretrained(folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rollouts = pl.read_parquet(run.folder / "rollouts.parquet")
    wanted = []
    for row in rollouts.iter_rows(named=True):
        text = row["prompt"] + row["completion"]
        ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")
        with torch.no_grad():
            wanted.append(model(**ids).logits[0, 0].item())
    assert rollouts["rewards/preference"].to_list() == pytest.approx(wanted, abs=1e-4)
    assert len({round(score, 3) for score in wanted}) > 2
    functions = rollouts["rewards/format"] + rollouts["rewards/correct"]
    total = WEIGHT * rollouts["rewards/preference"] + functions
    assert rollouts["reward"].to_list() == pytest.approx(total.to_list(), abs=1e-4)


def test_two_processes_train_one_model(run: Run) -> None:
    assert list(sealed(run.checkpoints)) == [2]
    states = sorted(path.name for path in (run.checkpoints / "checkpoint-2").glob("rng_state*"))
    assert states == ["rng_state_0.pth", "rng_state_1.pth"]
    settings = read_json(run.file)["settings"]
    at_once = settings["sizes"]["prompts_per_step"] * settings["algorithm"]["num_generations"]
    rollouts = pl.read_parquet(run.folder / "rollouts.parquet")
    assert rollouts.group_by("step").len()["len"].to_list() == [at_once] * 2
    rows = metrics.read(run.folder / "metrics.jsonl")
    assert [row["step"] for row in rows] == [1, 2]
    first = rollouts.filter(pl.col("step") == 1)
    assert rows[0]["rewards/preference/mean"] == pytest.approx(
        first["rewards/preference"].mean(), abs=1e-4
    )
    assert all(row["grad_norm"] > 0 for row in rows)
