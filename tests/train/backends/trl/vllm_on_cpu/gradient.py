"""Gradient of a run's first step by way of vLLM, and by way of transformers on its completions.

Arguments: run.json, trl.yaml, vllm.yaml. Prints a JSON object.
"""

import json
import sys
from pathlib import Path
from typing import Any

import polars as pl
import torch
from transformers import TrainerCallback
from trl import GRPOConfig, ModelConfig, TrlParser
from trl.scripts.grpo import GRPOScriptArguments

from r1zero.core.validation import read_yaml
from r1zero.settings import RunSettings
from r1zero.train.backends.trl.dynamic_sampling import DynamicSamplingTrainer
from r1zero.train.backends.trl.entrypoint import build_trainer
from r1zero.train.backends.trl.vllm_engine import planned_engine


class Gradient(TrainerCallback):
    """Keeps the gradient of a step."""

    value = torch.empty(0)

    def on_pre_optimizer_step(self, *_: Any, model: torch.nn.Module, **__: Any) -> None:
        found = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
        self.value = torch.cat(found).clone()


def main(run_file: Path, trl: Path, engine: Path) -> None:
    run = json.loads(run_file.read_text())
    settings = RunSettings.model_validate(run["settings"])

    def trainer(*, use_vllm: bool) -> DynamicSamplingTrainer:
        parser = TrlParser((GRPOScriptArguments, GRPOConfig, ModelConfig))
        script, config, model = parser.parse_args_and_config(args=["--config", str(trl)])
        config.use_vllm, config.max_steps, config.save_strategy = use_vllm, 1, "no"
        problems = pl.read_parquet(Path(script.dataset_name) / "train.parquet")
        return build_trainer(run, settings, config, model, problems, None)

    with planned_engine(read_yaml(engine)):
        by_vllm = trainer(use_vllm=True)
    drawn: list[Any] = []
    generate = by_vllm._generate

    def kept(prompts: list[Any]) -> Any:
        drawn.append(generate(prompts))
        return drawn[-1]

    by_vllm._generate = kept
    alone = trainer(use_vllm=False)
    alone.rollout_func = lambda prompts, trainer: {
        "prompt_ids": drawn[0][0],
        "completion_ids": drawn[0][1],
        "logprobs": None,
    }
    gradients = []
    for each in (by_vllm, alone):
        gradient = Gradient()
        each.add_callback(gradient)
        each.train()
        gradients.append(gradient.value)
    one, other = gradients
    found = {
        "completions": len(drawn[0][1]),
        "norms": [each.norm().item() for each in gradients],
        "relative_difference": ((one - other).norm() / other.norm()).item(),
        "cosine": torch.nn.functional.cosine_similarity(one, other, dim=0).item(),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
