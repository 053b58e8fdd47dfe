"""From published settings to a recipe, key by key."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from r1zero.errors import redact
from r1zero.imports.draft import Draft, Given
from r1zero.imports.keys import ADVICE, NEUTRAL, is_neutral, reason_to_drop
from r1zero.imports.names import put_names
from r1zero.imports.placement import find_trainers, put_placement
from r1zero.imports.readers import Published, Trainers, truth
from r1zero.imports.releases import Release, swift, trl_of_file, trl_of_text
from r1zero.imports.sizes import put_sizes
from r1zero.settings import Recipe, Sources

_SECRET = re.compile("token|secret|password|key", re.IGNORECASE)
# Of a file's layout, what tells a placement. The rest is not shown: variables may hold secrets.
_WISHES = (
    "num_machines",
    "num_processes",
    "mixed_precision",
    "deepspeed_config.zero_stage",
    "deepspeed_config.offload_optimizer_device",
    "deepspeed_config.offload_param_device",
    "zero_optimization.stage",
    "CUDA_VISIBLE_DEVICES",
    "NPROC_PER_NODE",
    "NNODES",
)
_EVALUATION = {"max_problems": 1024, "n_samples": 4, "temperature": 1.0}


class Options(NamedTuple):
    """What the command line adds to the files."""

    task: str | None = None
    prompt: str | None = None
    model: str | None = None
    dataset: str | None = None
    trainers: int | None = None
    rows: int | None = None
    trl_version: str | None = None
    chosen: dict[str, Any] = {}  # noqa: RUF012 - never changed


def draft_recipe(
    found: Published, sources: Sources, options: Options, recipes: Mapping[str, Recipe]
) -> Draft:
    """Map what was published onto the keys of a recipe; `recipes` are those there are."""
    draft = Draft(found, options.chosen)
    trainers = find_trainers(draft, options.trainers)
    draft.release = _release(draft, options.trl_version, trainers)
    put_names(
        draft,
        sources,
        options.task,
        options.prompt,
        options.model,
        options.dataset,
        recipes,
    )
    put_placement(draft, draft.release, trainers)
    _put_dtype(draft)
    _put_algorithm(draft)
    put_sizes(draft, draft.release, trainers, options.rows)
    for key, value in _EVALUATION.items():
        draft.put(f"evaluation.{key}", value, "(ours)", "ours: the files say nothing")
    for given in draft.left():
        _deal_with(draft, given)
    for given in draft.untold():
        draft.dropped[given.key] = f"{given.value} adds nothing"
    for file, layout in found.layout.items():
        if layout:
            draft.dropped[file] = _wish(layout)
    return draft


def _release(draft: Draft, version: str | None, trainers: Trainers | None) -> Release:
    keys = set(draft.found.settings)
    if draft.found.dialect == "swift":
        kind = draft.look("train_type") or draft.look("tuner_type")
        if kind is None:
            draft.lost["train_type, which is not set"] = ADVICE["train_type"]
        return swift(keys, full=kind is not None and kind.value == "full")
    vllm = draft.look("use_vllm")
    uses_vllm = vllm is not None and truth(vllm.value, vllm.where)
    if version:
        return trl_of_text(version, uses_vllm=uses_vllm)
    batch, group = draft.look("per_device_train_batch_size"), draft.look("num_generations")
    whole = True
    if batch and trainers:
        size = group.number().positive() if group else 8
        whole = batch.number().positive() * trainers.processes % size == 0
    return trl_of_file(keys, whole_groups=whole, uses_vllm=uses_vllm)


def _put_dtype(draft: Draft) -> None:
    given = draft.take("dtype", "torch_dtype")
    name = str(given.value).removeprefix("torch.") if given else ""
    if given and name in {"bfloat16", "float32"}:
        draft.put("dtype", name, given.key, f"{draft.file}: {given.key}")
        return
    if given and name == "float16":
        draft.lost[f"{given.key} {name}"] = "no recipe can have it; bfloat16 is taken"
    told = f"{given.key} {name}" if given else "not set"
    draft.put("dtype", "bfloat16", given.key if given else "(ours)", f"ours: {told}")


def _put_algorithm(draft: Draft) -> None:
    draft.choice("algorithm.loss_type")
    draft.choice("algorithm.scale_rewards", read=_scaling)
    for key in ("beta", "epsilon", "temperature", "top_p"):
        draft.number(f"algorithm.{key}")
    for key in ("num_generations", "num_iterations"):
        draft.integer(f"algorithm.{key}")
    draft.carry("algorithm.top_k", read=lambda given: max(0, given.number().whole()))
    _put_epsilon_high(draft)
    draft.carry(
        "algorithm.mask_truncated_completions",
        "mask_truncated_completions",
        "overlong_filter",
        read=lambda given: truth(given.value, given.where),
    )
    draft.choice("algorithm.optimizer", "optim", "optimizer")
    for key in ("adam_beta1", "adam_beta2", "weight_decay", "max_grad_norm"):
        draft.number(f"algorithm.{key}")
    draft.choice("algorithm.lr_scheduler_type")


def _put_epsilon_high(draft: Draft) -> None:
    """No release has a default for it: without it, both sides clip at epsilon."""
    given = draft.look("epsilon_high")
    if draft.chosen("epsilon_high") is not None or (given and given.value is not None):
        draft.number("algorithm.epsilon_high")
    else:
        draft.take("epsilon_high")


def _scaling(given: Given) -> Any:
    """Before it had names, it was true or false."""
    text = str(given.value).lower()
    if text in {"group", "batch", "none"}:
        return text
    return "group" if truth(given.value, given.where) else "none"


def _deal_with(draft: Draft, given: Given) -> None:
    """Say what becomes of a setting that no recipe has."""
    key = given.key
    reason = reason_to_drop(key)
    if key in NEUTRAL and is_neutral(key, given.value):
        draft.dropped[key] = f"{given.value} is how it is done here"
    elif key in NEUTRAL or reason is None:
        advice = "no recipe can have it; if it changes the training, this is another run"
        shown = "" if _SECRET.search(key) else f" {redact(str(given.value))}"
        draft.lost[f"{key}{shown}"] = ADVICE.get(key, advice)
    elif key in {"use_vllm", "deepspeed"}:
        draft.dropped[key] = f"{reason}; the wish was {given.value}"
    else:
        draft.dropped[key] = reason


def _wish(layout: dict[str, Any]) -> str:
    wishes = [f"{key} {layout[key]}" for key in _WISHES if key in layout]
    return f"the plan decides; the wish was {', '.join(wishes) or 'not about GPUs'}"
