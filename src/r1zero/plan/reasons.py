"""A layout in sentences: why it is as it is, and what it is in a few words."""

from collections.abc import Iterator

from r1zero.plan.layout import Layout
from r1zero.plan.machine import Machine
from r1zero.settings.run import RunSettings


def reasons_for(run: RunSettings, machine: Machine, layout: Layout) -> Iterator[str]:
    """Each rule that decided the layout, in the order of the decisions."""
    yield from _batch(run, layout)
    if layout.idle_gpus:
        yield f"{layout.idle_gpus} GPUs have no work, which hardware.accept: idle_gpus allows"
    match layout.placement:
        case "transformers" if layout.gpus == 0:
            yield "no GPU: the trainers generate by themselves, and weights are float32"
        case "transformers":
            why = "hardware.placement asks for it" if machine.has_vllm else "vLLM is not installed"
            yield (
                f"transformers, because {why}: each trainer generates its own share of the "
                f"completions, {layout.generator_sequences} at a time, which takes several times "
                "as long as with vLLM"
            )
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
    if layout.gpus and run.is_mini_base:
        yield "a mini model: weights and arithmetic are float32, as on a CPU"
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
        "transformers": f"{layout.trainer_gpus} GPUs train and generate without vLLM"
        if layout.gpus
        else f"{layout.trainers} processes on the CPU",
        "colocate": f"{layout.trainer_gpus} GPUs train and generate",
        "server": f"{layout.trainer_gpus} GPUs train, {layout.generator_gpus} generate",
    }[layout.placement]
    idle = f", {layout.idle_gpus} idle" if layout.idle_gpus else ""
    batch = f", {layout.deviation:+d} completions per step" if layout.deviation else ""
    return f"{who}{idle}{batch}, {_SHARDING[layout.sharding]}"
