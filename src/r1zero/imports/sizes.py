"""The sizes of a recipe from published ones: batch, steps, lengths, checkpoints."""

import math
from typing import NamedTuple

from r1zero.errors import UserError
from r1zero.imports.draft import Draft
from r1zero.imports.readers import Trainers
from r1zero.imports.releases import Release

# Where a release cuts no prompt. Ours, since a recipe has a limit.
_PROMPT_LENGTH = 1024


class _Epoch(NamedTuple):
    """One pass over the data."""

    steps: int
    rows: str
    """Its rows, in words."""


def put_sizes(draft: Draft, release: Release, trainers: Trainers | None, rows: int | None) -> None:
    """Carry all sizes over, and the warm-up, which is told in steps or in a share of them."""
    _put_prompts(draft, release, trainers)
    epoch = _epoch(draft, release, rows)
    max_steps = _put_max_steps(draft, epoch)
    draft.integer("sizes.max_completion_length")
    _put_prompt_length(draft)
    draft.number("sizes.learning_rate")
    _put_save_steps(draft, release, max_steps, epoch)
    _put_warmup(draft, max_steps)


def _put_prompts(draft: Draft, release: Release, trainers: Trainers | None) -> None:
    key = "sizes.prompts_per_step"
    device, accumulated = (
        given.number().positive() if (given := draft.take(name)) else int(draft.default(name))
        for name in ("per_device_train_batch_size", "gradient_accumulation_steps")
    )
    _check_rollouts(draft, "steps_per_generation", accumulated)
    processes = trainers.processes if trainers else None
    batch = processes * device * accumulated if processes else None
    _check_rollouts(draft, "generation_batch_size", batch)
    source = "per_device_train_batch_size x gradient_accumulation_steps x trainers"
    if (chosen := draft.chosen("prompts_per_step")) is not None:
        draft.put(key, chosen, "--set", "chosen at import")
        return
    if trainers is None or batch is None:
        draft.lack(key, source, "how many processes train? add the accelerate file or --trainers N")
        return
    told = f"{device} per device x {accumulated} accumulated x {processes} trainers"
    if release.counts_prompts:
        told += f" ({trainers.origin}); {release.name} counted prompts"
        draft.put(key, batch, source, told)
        return
    group = draft.values["algorithm.num_generations"]
    told += f" = {batch} completions in groups of {group} ({trainers.origin})"
    if batch % group:
        draft.lack(key, source, f"{told}: no whole groups; say --trainers N or --trl-version")
    elif release.groups_per_batch and device * trainers.processes % group:
        what = f"refused batches that split a group: {told}; say --trainers N or --trl-version"
        draft.lack(key, source, f"{release.name} {what}")
    else:
        draft.put(key, batch // group, source, told)


def _check_rollouts(draft: Draft, key: str, usual: int | None) -> None:
    """Rollouts that last for several optimizer steps have no counterpart here."""
    given = draft.take(key)
    if given is None or given.value is None:
        return
    if usual is None or given.number().positive() == usual:
        draft.dropped[key] = "the plan decides"
    else:
        what = f"here each optimizer step has rollouts of its own, as with {usual}"
        draft.lost[f"{key} {given.value}"] = what


def _epoch(draft: Draft, release: Release, rows: int | None) -> _Epoch | None:
    """Optimizer steps of one pass over the data, if its rows are known."""
    share = draft.take("split_dataset_ratio")
    prompts = draft.values.get("sizes.prompts_per_step")
    if rows is None or prompts is None:
        return None
    ratio = share.number().real() if share else release.held_out_share
    held_out = max(int(rows * ratio), 1) if ratio > 0 and not draft.look("val_dataset") else 0
    told = f"{rows} rows less {held_out} held out" if held_out else f"{rows} rows"
    return _Epoch(max((rows - held_out) // int(prompts), 1), told)


def _put_max_steps(draft: Draft, epoch: _Epoch | None) -> int | None:
    """Carry the steps over, or count those of the epochs; return them, if known."""
    key = "sizes.max_steps"
    epochs, steps = draft.take("num_train_epochs"), draft.look("max_steps")
    limited = steps is not None and steps.value is not None and steps.number().whole() > 0
    if draft.chosen("max_steps") is not None or limited:
        draft.integer(key)
        if epochs:
            draft.dropped[epochs.key] = "max_steps says it"
        return int(draft.values[key])
    draft.take("max_steps")
    count = epochs.number().real() if epochs else float(draft.default("num_train_epochs"))
    source = f"num_train_epochs {count:g}{'' if epochs else ' (default)'}"
    if epoch is None:
        what = "how many steps is that? --rows N (rows of the dataset), or --set max_steps=N"
        draft.lack(key, source, what)
        return None
    total = max(math.ceil(count * epoch.steps), 1)
    draft.put(key, total, source, f"{count:g} x {epoch.steps} steps an epoch: {epoch.rows}")
    return total


def _put_prompt_length(draft: Draft) -> None:
    key = "sizes.max_prompt_length"
    given = draft.take("max_prompt_length", "max_length")
    room, completion = (
        draft.look("vllm_max_model_length"),
        draft.values["sizes.max_completion_length"],
    )
    if (chosen := draft.chosen("max_prompt_length")) is not None:
        draft.put(key, chosen, "--set", "chosen at import")
    elif given and given.value is not None:
        draft.put(key, given.number().positive(), given.key, f"{draft.file}: {given.key}")
    elif draft.default("max_prompt_length") is not None:
        draft.integer(key)
    elif room and room.value is not None and room.number().positive() > completion:
        told = f"what {room.key} {room.value} leaves"
        draft.put(key, room.number().positive() - completion, room.key, told)
    else:
        draft.put(key, _PROMPT_LENGTH, "(ours)", "ours: the files set no limit")


def _put_save_steps(
    draft: Draft, release: Release, max_steps: int | None, epoch: _Epoch | None
) -> None:
    """Carry the interval of checkpoints over, as the nearest one that ends on the last step."""
    key = "sizes.save_steps"
    strategy, given = draft.take("save_strategy"), draft.take("save_steps")
    if max_steps is None:
        return
    if (chosen := draft.chosen("save_steps")) is not None:
        draft.put(key, chosen, "--set", "chosen at import")
        return
    source = given.key if given else f"(default of {release.name})"
    told = f"{draft.file}: {given.key}" if given else f"not set; default of {release.name}"
    wanted = given.number().real() if given else float(draft.default("save_steps"))
    if strategy and strategy.value in {"no", "epoch", "best", False}:
        wanted = epoch.steps if strategy.value == "epoch" and epoch else max_steps
        source = told = f"save_strategy {strategy.value}"
    if wanted <= 0 and given:
        raise UserError(f"{given.value} is not above 0", where=given.where)
    # Below one it is a share of the run.
    interval = math.ceil(wanted * max_steps) if wanted < 1 else int(wanted)
    # A checkpoint between steps that share rollouts could not be resumed from.
    shared = int(draft.values.get("algorithm.num_iterations", 1))
    shared = shared if max_steps % shared == 0 else 1
    nearest = shared * nearest_divisor(max_steps // shared, interval / shared)
    if nearest == interval:
        draft.put(key, nearest, source, told)
    elif interval > max_steps or interval / 2 <= nearest <= interval * 2:
        draft.lost[f"save_steps {interval}"] = (
            f"does not divide {max_steps} steps, or parts those that share rollouts; "
            f"{nearest} is taken"
        )
        draft.put(key, nearest, source, f"{told}: {interval}; the nearest that divides max_steps")
    else:
        rounded = max_steps // interval * interval
        what = f"no divisor of {max_steps} steps is near; --set save_steps=N or max_steps={rounded}"
        draft.lack(key, f"save_steps {interval}", what)


def nearest_divisor(number: int, wanted: float) -> int:
    """The divisor of a number that is nearest, by ratio, to a wanted one; of two, the smaller."""
    small = [n for n in range(1, math.isqrt(number) + 1) if number % n == 0]
    divisors = {*small, *(number // n for n in small)}
    return min(divisors, key=lambda n: (max(n / wanted, wanted / n), n))


def _put_warmup(draft: Draft, max_steps: int | None) -> None:
    key = "algorithm.warmup_ratio"
    given = draft.take("warmup_steps")
    count = given.number().real() if given and given.value is not None else 0.0
    # transformers lets the steps go before the share, and from 5 takes a share as `warmup_steps`.
    if given is None or count == 0 or draft.chosen("warmup_ratio") is not None:
        draft.number(key)
        return
    draft.take("warmup_ratio")
    if count < 1:
        draft.put(key, count, given.key, f"{draft.file}: warmup_steps, a share")
    elif max_steps is not None:
        told = f"{draft.file}: warmup_steps {count:g} of {max_steps}"
        draft.put(key, ratio_of(int(count), max_steps), given.key, told)


def ratio_of(warmup: int, max_steps: int) -> float:
    """The shortest share that gives this many steps of warm-up, rounded up as trainers do."""
    for digits in range(1, 16):
        ratio = round((warmup - 0.5) / max_steps, digits)
        if math.ceil(ratio * max_steps) == warmup:
            return ratio
    return (warmup - 0.5) / max_steps
