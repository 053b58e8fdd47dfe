"""Helpers to import published settings."""

from pathlib import Path
from typing import Any

import yaml

from r1zero.imports.draft import Draft, parse_choices
from r1zero.imports.mapping import Options, draft_recipe
from r1zero.imports.readers import read_published
from r1zero.settings import load_recipe, load_sources, recipe_names
from tiny import CONFIG

TRL: dict[str, Any] = {
    "model_name_or_path": "Qwen/Qwen2.5-3B",
    "dataset_name": "Jiayi-Pan/Countdown-Tasks-3to4",
    "max_steps": 100,
    "save_steps": 10,
    "per_device_train_batch_size": 4,
    "gradient_accumulation_steps": 2,
    "num_generations": 8,
    "lr_scheduler_type": "cosine",
}

SWIFT = (
    "swift rlhf --rlhf_type grpo --model Qwen/Qwen2.5-Math-7B --dataset AI-MO/NuminaMath-TIR "
    "--train_type full --reward_funcs accuracy format --num_generations 8 --max_steps 100 "
    "--save_steps 10 --per_device_train_batch_size 8 --gradient_accumulation_steps 2"
)


def trl_file(folder: Path, name: str = "trl.yaml", **changes: Any) -> Path:
    """A TRL file; a change to ... leaves the key out."""
    values = {key: value for key, value in (TRL | changes).items() if value is not ...}
    path = folder / name
    path.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    return path


def accelerate_file(folder: Path, processes: Any = 2) -> Path:
    path = folder / "accelerate.yaml"
    path.write_text(yaml.safe_dump({"distributed_type": "NO", "num_processes": processes}))
    return path


def swift_file(folder: Path, more: str = "", before: str = "") -> Path:
    path = folder / "run.sh"
    path.write_text(f"{before} {SWIFT} {more}\n", encoding="utf-8")
    return path


def draft(*files: Path, choices: tuple[str, ...] = (), **options: Any) -> Draft:
    """What the files become; of trainers there are two unless said otherwise."""
    chosen = parse_choices(list(choices))
    options = {"trainers": 2, "prompt": "countdown_datawhale", **options}
    return draft_recipe(
        read_published(list(files)),
        load_sources(CONFIG),
        Options(chosen=chosen, **options),
        {name: load_recipe(name, CONFIG) for name in recipe_names(CONFIG)},
    )
