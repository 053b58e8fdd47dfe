"""A layout in sentences: why it is as it is, and what it is in a few words."""

from collections.abc import Iterator

from r1zero.plan.assignment import assign_gpus
from r1zero.plan.layout import Layout
from r1zero.plan.machine import Machine
from r1zero.settings.run import RunSettings


def reasons_for(run: RunSettings, machine: Machine, layout: Layout) -> Iterator[str]:
    """Each rule that decided the layout, in the order of the decisions."""
    yield from _batch(run, layout)
    if layout.idle_gpus:
        idle = [each for each in assign_gpus(layout, machine) if each.role == "idle"]
        names = ", ".join(
            f"{each.node}:{each.gpu}" if layout.nodes > 1 else each.gpu for each in idle
        )
        yield f"GPUs without work, which hardware.accept: idle_gpus allows: {names}"
    match layout.placement:
        case "in_process":
            yield "no GPU: the trainer generates by itself, and weights are float32"
        case "colocate":
            yield (
                "colocate: the generator shares the GPUs with the trainer, takes "
                f"{layout.generator_memory_share:.0%} of each while it generates, and sleeps while "
                "it trains"
            )
        case "server":
            yield (
                f"server: {layout.trainer_gpus} GPUs train, {layout.generator_gpus} generate "
                f"(tensor parallel {layout.generator_tensor_parallel})"
            )
    if layout.reference in ("server", "remote"):
        yield _reference(machine, layout)
    if layout.memory:
        yield from _memory(machine, layout)


def _batch(run: RunSettings, layout: Layout) -> Iterator[str]:
    group, completions = run.algorithm.num_generations, layout.completions_per_step
    yield (
        f"{run.sizes.prompts_per_step} problems x {group} completions = "
        f"{run.completions_per_step} completions per step, as in the recipe"
    )
    if layout.deviation:
        yield (
            f"{completions} completions of {completions // group} problems instead, which "
            "hardware.accept: other_batch allows: the nearest batch of whole groups for "
            f"{layout.trainers} trainers"
        )
    yield (
        f"{layout.trainers} trainers x {layout.micro_batch} completions x {layout.accumulation} "
        f"passes = {completions}, all from one batch of rollouts"
    )
    updates = run.algorithm.updates_per_rollout
    if updates > 1:
        yield (
            f"{updates} successive steps share a batch of {updates * completions} rollouts: all "
            "but the first are off-policy"
        )


def _reference(machine: Machine, layout: Layout) -> str:
    """Where the reference model is, what it takes there, and what that frees."""
    where = "a process of its own on the CPU"
    if layout.remote_reference:
        where = f"the server at {layout.remote_reference.remote}"
    elif layout.generator_gpus:
        gpu = next(each.gpu for each in assign_gpus(layout, machine) if each.role == "generator")
        where = f"GPU {gpu}, beside the generator"
    if not layout.reference_memory:
        return f"the reference model is on {where}, and on no trainer"
    weights = layout.reference_memory["weights"]
    shares = layout.trainers if layout.sharding == "full" else 1
    return (
        f"the reference model is on {where}: {_size(sum(layout.reference_memory.values()))} there, "
        f"and {_size(weights / shares)} less on each trainer"
    )


def _size(count: float) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 / 10 else f"{count / 2**20:.1f} MiB"


def _memory(machine: Machine, layout: Layout) -> Iterator[str]:
    peak = sum(layout.memory.values()) / 2**30
    sharding = _SHARDING[layout.sharding]
    offload = " with offload to the host" if layout.offload_optimizer else ""
    yield (
        f"{sharding}{offload}: the least that fits; {peak:.1f} of {machine.gpu_memory_gb:g} GiB on "
        f"a training GPU ({machine.source})"
    )
    if layout.gradient_checkpointing:
        yield "activations are recomputed in the backward pass: they would not fit otherwise"
    else:
        yield "activations fit without recomputing them"


_SHARDING = {
    "none": "no sharding",
    "optimizer": "optimizer states and gradients are sharded (ZeRO-2)",
    "full": "optimizer states, gradients and weights are sharded (ZeRO-3)",
}


def describe(layout: Layout) -> str:
    """A layout in a few words."""
    who = {
        "in_process": f"{layout.trainers} processes on the CPU",
        "colocate": f"{layout.trainer_gpus} GPUs train and generate",
        "server": f"{layout.trainer_gpus} GPUs train, {layout.generator_gpus} generate",
    }[layout.placement]
    idle = f", {layout.idle_gpus} idle" if layout.idle_gpus else ""
    batch = f", {layout.deviation:+d} completions per step" if layout.deviation else ""
    return f"{who}{idle}{batch}, {_SHARDING[layout.sharding]}"
