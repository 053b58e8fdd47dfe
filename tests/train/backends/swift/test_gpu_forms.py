"""The plans of ms-swift's published recipes on GPUs, parsed by its own classes; nothing is run."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from transformers import Qwen2Config, Qwen3Config

from r1zero.core.environments import programs_of
from r1zero.core.errors import UserError
from r1zero.plan.architectures import architecture_of
from r1zero.plan.backend import Inputs, Process, load_backend
from r1zero.plan.layout import Layout
from r1zero.plan.machine import find_machine
from r1zero.plan.search import lay_out
from r1zero.pretrain.tokenizer import build_tokenizer
from r1zero.settings import RunSettings, load_sources, resolve_run
from r1zero.settings.workflow import Hardware, Tracking
from r1zero.train.preflight import Needs
from tiny import CONFIG, ENVIRONMENT, REPOSITORY

BACKEND = load_backend("swift")
FORMS = [("swift_numina", 8), ("swift_numina_shared", 1), ("swift_numina_rm", 8)]


class Planned:
    """A recipe as published on GPUs, with folders that have the configurations of its models."""

    def __init__(self, recipe: str, gpus: int, folder: Path) -> None:
        self.run: RunSettings = resolve_run(
            recipe, scale="paper", backend="swift", seed=0, folder=CONFIG
        )
        self.folder, hardware = folder, Hardware(gpus=gpus, gpu="a100-80g")
        self.machine = find_machine(hardware)
        architecture = architecture_of(load_sources(CONFIG).models.get(self.run.model), "")
        found = lay_out(self.run, self.machine, architecture, hardware)
        assert isinstance(found, Layout)
        self.layout = found
        models = [reward.model for reward in self.run.rewards if reward.model]
        self.inputs = Inputs(
            run_file=folder / "run.json",
            model=folder / "model",
            problems=folder / "train.parquet",
            reward_models={name: folder / name for name in models},
            plan=folder,
            checkpoints=folder / "checkpoints",
        )
        self.inputs.config.mkdir()
        for name, text in BACKEND.render(self.run, self.layout, self.inputs).items():
            (self.inputs.config / name).write_text(text)
        self.processes: list[Process] = BACKEND.processes(
            self.run, self.layout, self.machine, self.inputs
        )

    def with_models(self) -> "Planned":
        """Write what ms-swift reads of the models to parse: their configurations and tokenizers."""
        tokenizer = build_tokenizer([])
        configs = {self.inputs.model: Qwen2Config(architectures=["Qwen2ForCausalLM"])}
        for path in self.inputs.reward_models.values():
            architectures = ["Qwen3ForSequenceClassification"]
            configs[path] = Qwen3Config(architectures=architectures, num_labels=1)
        for path, config in configs.items():
            config.save_pretrained(path)
            tokenizer.save_pretrained(path)
        return self

    def parsed(self, environment: Path) -> dict[str, Any]:
        """What ms-swift makes of the files."""
        places = os.pathsep.join(str(REPOSITORY / name) for name in ("src", "tests/helpers"))
        script = REPOSITORY / "tests/helpers/swift_arguments.py"
        command = [programs_of(environment) / "python", script, self.inputs.config]
        result = subprocess.run(
            [*command, str(self.layout.trainers)],
            env={**ENVIRONMENT, "PYTHONPATH": places, "HF_HUB_OFFLINE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stderr[-4000:]
        found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
        return found


@pytest.mark.swift
@pytest.mark.parametrize(("recipe", "gpus"), FORMS)
def test_the_published_forms_are_parsed_by_ms_swift(
    recipe: str, gpus: int, environment: Path, tmp_path: Path
) -> None:
    planned = Planned(recipe, gpus, tmp_path).with_models()
    run, layout, found = planned.run, planned.layout, planned.parsed(environment)
    assert found["loss_type"] == run.algorithm.loss_type
    assert found["beta"] == run.algorithm.beta
    assert found["num_generations"] == run.algorithm.num_generations
    per_pass = found["per_device_train_batch_size"] * layout.trainers
    for passes in ("gradient_accumulation_steps", "steps_per_generation"):
        assert per_pass * found[passes] == run.completions_per_step
    assert found["vllm_mode"] == layout.placement == run.placement
    assert found["max_steps"] == run.sizes.max_steps
    sharded = {"none": None, "optimizer": "zero2", "full": "zero3"}[layout.sharding]
    offload = "_offload" if layout.offload_optimizer or layout.offload_weights else ""
    assert found["deepspeed"] == (sharded and sharded + offload)
    if layout.placement == "server":
        served = found["rollout"]
        copies = served["vllm_data_parallel_size"] * served["vllm_tensor_parallel_size"]
        assert copies == layout.generator_gpus
        assert served["host"] == "127.0.0.1"


def test_one_gpu_generates_and_seven_train_as_published(tmp_path: Path) -> None:
    planned = Planned("swift_numina", 8, tmp_path)
    generator, trainers = planned.processes
    assert (generator.role, trainers.role) == ("generator", "trainer")
    assert len(generator.gpus) == 1
    assert len(trainers.gpus) == 7
    assert not {*generator.gpus} & {*trainers.gpus}
    assert trainers.argv[: trainers.argv.index("-m")][-1] == "7"
    assert {"generator", "weights"} <= trainers.ports
    assert "generator" in generator.ports
    assert generator.health is not None


def test_one_gpu_trains_and_generates(tmp_path: Path) -> None:
    (trainer,) = Planned("swift_numina_shared", 1, tmp_path).processes
    assert len(trainer.gpus) == 1
    assert not trainer.ports


def test_a_training_on_gpus_is_refused_with_what_the_lock_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPOSITORY)
    planned = Planned("swift_numina", 8, tmp_path)
    with pytest.raises(UserError) as raised:
        Needs.of(planned.run, planned.layout, planned.machine, Tracking())
    assert raised.value.where == "hardware.gpus"
    for word in ("vllm", "deepspeed", "envs/swift.lock"):
        assert word in raised.value.message
