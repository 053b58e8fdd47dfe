"""Defaults of the releases that published files were written for.

What a file leaves out was decided by the release that read it, and defaults changed from release
to release. The numbers were read in the wheels of TRL 0.14.0, 0.15.2, 0.16.1, 0.17.0, 0.18.2,
0.19.1, 0.22.2, 0.26.2, 1.0.0 and 1.16.0 and of ms-swift 3.1.1.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from r1zero.errors import UserError

Version = tuple[int, int]

FIRST: Version = (0, 14)
NEWEST: Version = (1, 16)
# The batch per device has counted completions since trl#2776; before, it counted prompts.
COUNTS_COMPLETIONS: Version = (0, 15)
# From here a group may be spread over the accumulated batches.
ACCUMULATES_GROUPS: Version = (0, 18)

_TRANSFORMERS: dict[str, Any] = {
    "optimizer": "adamw_torch",
    "adam_beta1": 0.9,
    "adam_beta2": 0.999,
    "weight_decay": 0.0,
    "max_grad_norm": 1.0,
    "lr_scheduler_type": "linear",
    "warmup_ratio": 0.0,
    "num_train_epochs": 3.0,
    "save_steps": 500,
    "gradient_accumulation_steps": 1,
}

_GRPO: dict[str, Any] = {
    "scale_rewards": "group",
    "beta": 0.04,
    "num_generations": 8,
    "num_iterations": 1,
    "epsilon": 0.2,
    "mask_truncated_completions": False,
    "temperature": 0.9,
    "top_p": 1.0,
    "top_k": 0,
}

_TRL_CHANGES: list[tuple[Version, dict[str, Any]]] = [
    (
        FIRST,
        {
            "loss_type": "grpo",
            "max_prompt_length": 512,
            "max_completion_length": 256,
            "learning_rate": 1e-6,
            "per_device_train_batch_size": 1,
            "gradient_accumulation_steps": 8,
            "vllm_mode": "server",
        },
    ),
    (COUNTS_COMPLETIONS, {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 1}),
    # The loss had no name before 0.17, but from 0.16 it was the one called bnpo since.
    ((0, 16), {"loss_type": "bnpo", "top_k": 50}),
    ((0, 18), {"temperature": 1.0, "top_k": 0}),
    ((0, 19), {"beta": 0.0}),
    ((0, 22), {"loss_type": "dapo"}),
    ((0, 26), {"max_prompt_length": None}),
    ((1, 0), {"vllm_mode": "colocate"}),
    ((1, 10), {"max_completion_length": 512}),
]

_SWIFT: dict[str, Any] = {
    # Its trainer divides the token losses of a batch by their number.
    "loss_type": "bnpo",
    "max_prompt_length": None,
    "max_completion_length": 512,
    "vllm_mode": "server",
    "weight_decay": 0.1,
    "lr_scheduler_type": "cosine",
    "per_device_train_batch_size": 1,
}


class Release(NamedTuple):
    """What a file was written for."""

    name: str
    why: str
    """How it is known, or what was assumed."""
    defaults: Mapping[str, Any]
    counts_prompts: bool
    """Whether the batch per device counts prompts rather than completions."""
    groups_per_batch: bool
    """Whether each batch over all devices, before accumulation, had to be whole groups."""
    held_out_share: float
    """Share of the rows that it takes away for validation unless told otherwise."""


def trl(version: Version, why: str, *, uses_vllm: bool) -> Release:
    """A release of TRL."""
    defaults = _TRANSFORMERS | _GRPO
    for since, changes in _TRL_CHANGES:
        if version >= since:
            defaults |= changes
    if version < (0, 16) and not uses_vllm:
        # There was no such key: transformers' own generation took 50, vLLM took all.
        defaults |= {"top_k": 50}
    name = f"TRL {version[0]}.{version[1]}"
    whole = COUNTS_COMPLETIONS <= version < ACCUMULATES_GROUPS
    return Release(name, why, defaults, version < COUNTS_COMPLETIONS, whole, 0.0)


def trl_of_file(keys: set[str], *, whole_groups: bool, uses_vllm: bool) -> Release:
    """The release of TRL that a file's keys tell.

    Args:
        keys: Its keys.
        whole_groups: Whether a batch over all trainers, counted in completions, is whole groups.
        uses_vllm: Whether vLLM generates.

    """
    if keys & {"vllm_mode", "steps_per_generation", "generation_batch_size"}:
        if keys & {"max_prompt_length", "torch_dtype"}:
            return trl((0, 18), "assumed: vllm_mode or its like, and old keys", uses_vllm=uses_vllm)
        return trl(NEWEST, "assumed: all keys are of today", uses_vllm=uses_vllm)
    old = [key for key in ("vllm_device", "max_prompt_length", "torch_dtype") if key in keys]
    if not old:
        return trl(NEWEST, "assumed: no key is of an old release", uses_vllm=uses_vllm)
    if not whole_groups:
        why = f"{old[0]}, and a batch per device that must count prompts to fit the groups"
        return trl(FIRST, why, uses_vllm=uses_vllm)
    why = f"assumed: {old[0]}; 0.14 took the batch for prompts: --trl-version 0.14 if it was that"
    return trl(COUNTS_COMPLETIONS, why, uses_vllm=uses_vllm)


def trl_of_text(text: str, *, uses_vllm: bool) -> Release:
    """The release that `--trl-version` names."""
    match = re.fullmatch(r"(\d+)\.(\d+)(\.\w+)*", text)
    version = (int(match[1]), int(match[2])) if match else (0, 0)
    if not FIRST <= version <= NEWEST:
        raise UserError(
            f"the defaults of TRL '{text}' are not known here",
            where="--trl-version",
            hint=f"known: {FIRST[0]}.{FIRST[1]} to {NEWEST[0]}.{NEWEST[1]}",
        )
    return trl(version, "--trl-version", uses_vllm=uses_vllm)


def swift(keys: set[str], *, full: bool) -> Release:
    """The release of ms-swift that a command was written for."""
    defaults = _TRANSFORMERS | _GRPO | _SWIFT | {"learning_rate": 1e-5 if full else 1e-4}
    newer = sorted(keys & {"vllm_mode", "steps_per_generation", "tuner_type", "sleep_level"})
    if newer:
        why = f"assumed: {newer[0]} is of a later release, whose defaults are not known here"
        return Release("ms-swift 3.1", why, defaults, False, False, 0.0)
    sign = "vllm_device" if "vllm_device" in keys else "no key is of a later one"
    why = f"assumed: {sign}; on TRL before 0.16, with its own loss and sampling"
    return Release("ms-swift 3.1", why, defaults, False, True, 0.01)
