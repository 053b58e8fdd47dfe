"""Parses rendered files with ms-swift's own classes; needs `.envs/swift`.

`python swift_arguments.py FOLDER` reads `swift.yaml` and, where there is one, `rollout.yaml` of a
plan for GPUs, and prints what was parsed as JSON. Nothing is started. The world that the plan is
for is put in place of this machine's: its processes, no server to connect to yet, and DeepSpeed,
which the environment does not have, so that its key is parsed by name and then left out.
"""

import json
import sys
from pathlib import Path
from typing import Any

import yaml
from transformers import HfArgumentParser, TrainingArguments

from r1zero.train.backends.swift.entrypoint import type_of, words
from r1zero.train.backends.swift.plugin import install_template


def named(config: dict[str, Any], kind: type) -> Any:
    """Names, types and choices of all keys."""
    parsed, unknown = HfArgumentParser([kind]).parse_known_args(words(config))
    assert not unknown, unknown
    return parsed


def main() -> None:
    """Parse both files."""
    from swift.arguments import RLHFArguments, RolloutArguments
    from swift.utils import parse_args

    folder = Path(sys.argv[1])
    install_template()
    config = yaml.safe_load((folder / "swift.yaml").read_text())
    config["model_type"] = type_of(Path(config["model"]))
    if "reward_model" in config:
        config["reward_model_type"] = [type_of(Path(path)) for path in config["reward_model"]]
    if config["vllm_mode"] == "server":
        config |= {"vllm_server_host": ["127.0.0.1"], "vllm_server_port": [8000]}
        config["vllm_server_group_port"] = [8001]
    found = {"deepspeed": named(config, RLHFArguments).deepspeed}
    RLHFArguments._init_external_vllm = lambda self: None
    processes = int(sys.argv[2])
    TrainingArguments.world_size = property(lambda self: processes)
    # `callbacks` and `reward_funcs` are names of the plugin, which a training installs.
    without = {"deepspeed", "callbacks", "reward_funcs", "bf16"}
    on_cpu = {key: value for key, value in config.items() if key not in without}
    parsed, unknown = parse_args(RLHFArguments, words(on_cpu | {"use_cpu": True}))
    assert not unknown, unknown
    names = ("loss_type", "beta", "vllm_mode", "num_generations", "per_device_train_batch_size")
    names += ("gradient_accumulation_steps", "steps_per_generation")
    found |= {name: getattr(parsed, name) for name in (*names, "template", "max_steps")}
    if (folder / "rollout.yaml").is_file():
        rollout = yaml.safe_load((folder / "rollout.yaml").read_text())
        rollout |= {
            "model_type": type_of(Path(rollout["model"])),
            "host": "127.0.0.1",
            "port": 8000,
        }
        named(rollout, RolloutArguments)
        RolloutArguments._check_device_count = lambda self: None
        served, unknown = parse_args(RolloutArguments, words(rollout))
        assert not unknown, unknown
        names = ("host", "port", "vllm_data_parallel_size", "vllm_tensor_parallel_size")
        found["rollout"] = {name: getattr(served, name) for name in (*names, "vllm_max_model_len")}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
