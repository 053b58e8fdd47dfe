"""The plan as a Markdown page."""

from collections.abc import Mapping

from r1zero.plan.assignment import GpuAssignment, assign_gpus
from r1zero.plan.backend import Process
from r1zero.plan.cost import Disk, Time
from r1zero.plan.layout import Layout, Refusal
from r1zero.plan.machine import Machine
from r1zero.settings.recipe import PublishedTime, Reward
from r1zero.settings.run import RunSettings

_GIB = 2**30


def render_page(
    run: RunSettings,
    layout: Layout,
    machine: Machine,
    *,
    processes: list[Process],
    host_memory: int,
    disk: Disk | None = None,
    kept_states: int | None = None,
    time: Time | None = None,
    published: tuple[PublishedTime, Time | None] | None = None,
    differences: Mapping[str, str] | None = None,
) -> str:
    """Batches, GPUs, memory, disk, time and commands of a plan, with the reasons."""
    parts = [
        f"# Plan: {run.recipe} on {run.backend}, seed {run.seed}, scale {run.scale}",
        _facts(run, layout, machine),
        "## Why\n\n" + "\n".join(f"- {reason}" for reason in layout.reasons),
        "## GPUs\n\n" + _gpus(layout, machine),
    ]
    if differences:
        listed = "\n".join(f"- `{key}`: {text}." for key, text in differences.items())
        parts.append(f"## What this backend does in another way\n\n{listed}")
    if layout.memory:
        parts.append("## Memory of a training GPU\n\n" + _memory(layout, machine))
    parts.append(f"## Memory of a node\n\nAbout {host_memory / 1e9:.0f} GB, an allowance.")
    if disk:
        parts.append("## Disk\n\n" + _disk(disk, kept_states))
    if layout.gpus:
        parts.append("## Time\n\n" + _time(run, time, published))
    addresses = [f"export NODE_{node}=  # address of node {node}" for node in range(layout.nodes)]
    shown = "\n".join(
        [
            *(addresses if layout.nodes > 1 else []),
            *(f"# {each.role}, node {each.node}\n{each.as_shell()}" for each in processes),
        ]
    )
    parts.append(f"## Commands\n\n```bash\n{shown}\n```")
    return "\n\n".join(parts) + "\n"


def render_refusal(run: RunSettings, refusal: Refusal) -> str:
    """Why each layout of a run fails, and what would work."""
    reasons = "\n".join(f"- {reason}" for reason in refusal.reasons)
    changes = "\n".join(
        f"- {suggestion.text}\n  `hardware: {suggestion.hardware}`"
        for suggestion in refusal.suggestions
    )
    return (
        f"# No plan: {run.recipe}, scale {run.scale}\n\n{reasons}\n\n"
        f"## What would work\n\n{changes or 'No change that was tried.'}\n"
    )


def _facts(run: RunSettings, layout: Layout, machine: Machine) -> str:
    rewards = ", ".join(_reward(reward) for reward in run.rewards)
    sizes, algorithm = run.sizes, run.algorithm
    where = f"{machine.nodes} x {machine.gpus_per_node} GPUs" if machine.gpus else "the CPU"
    facts = [
        ("runs on", where),
        ("trains with", f"{layout.trainers} processes, weights in {layout.weights_dtype}"),
        ("backend", f"{run.backend}; nearest to the published program: {run.home_backend}"),
        ("model", run.model),
        ("data", f"{run.dataset}, prompt {run.prompt}"),
        ("rewards", rewards),
        (
            "loss",
            f"{algorithm.loss_type}, beta {algorithm.beta:g}, rewards scaled by "
            f"{algorithm.scale_rewards}",
        ),
        (
            "steps",
            f"{sizes.max_steps}, a checkpoint every {sizes.save_steps}: "
            f"{len(run.evaluated_steps)} evaluations with step 0",
        ),
        (
            "learning rate",
            f"{sizes.learning_rate:g}, {algorithm.lr_scheduler_type}, warm-up "
            f"{algorithm.warmup_ratio:.0%}",
        ),
        (
            "lengths",
            f"prompt {sizes.max_prompt_length}, completion {sizes.max_completion_length} tokens",
        ),
    ]
    facts += [
        (f"only on {backend}", ", ".join(f"{key}: {value}" for key, value in settings.items()))
        for backend, settings in run.backends.items()
        if backend != run.backend
    ]
    return "| | |\n|---|---|\n" + "\n".join(f"| {name} | {value} |" for name, value in facts)


def _reward(reward: Reward) -> str:
    options = ", ".join(f"{name} {value}" for name, value in reward.options.items())
    what = f"model {reward.model}" if reward.model else options
    return f"{reward.name}{f' ({what})' if what else ''} x {reward.weight:g}"


def _gpus(layout: Layout, machine: Machine) -> str:
    if not machine.gpus:
        return f"{layout.trainers} processes share the CPU."
    rows = [
        f"| {each.node} | {each.gpu} | {each.role} {each.rank}{_beside(layout, each)} | "
        f"{each.seen_as} |"
        for each in assign_gpus(layout, machine)
    ]
    return (
        "| node | GPU | process | device in the process |\n|---:|---:|---|---|\n"
        + "\n".join(rows)
        + "\n\nGPUs are numbered as in `CUDA_VISIBLE_DEVICES`. A process that is given GPUs 1, 2 "
        "and 3 sees them as `cuda:0` to `cuda:2`."
    )


def _beside(layout: Layout, each: GpuAssignment) -> str:
    """What else runs on a GPU."""
    if layout.placement == "colocate" and each.role == "trainer":
        return " and generator"
    if layout.reference == "server" and (each.role, each.rank) == ("generator", 0):
        return " and reference"
    return ""


def _memory(layout: Layout, machine: Machine) -> str:
    total = sum(layout.memory.values())
    rows = [f"| {part} | {size / _GIB:.2f} |" for part, size in layout.memory.items()]
    return (
        "| part | GiB |\n|---|---:|\n"
        + "\n".join(rows)
        + f"\n| **peak of a training step** | **{total / _GIB:.2f}** of "
        f"{machine.gpu_memory_gb:g} |"
        + "\n\nAt the peak of a step; parts that are not held then are 0."
    )


def _disk(disk: Disk, kept_states: int | None) -> str:
    per = (disk.weights + disk.optimizer) / 1e9
    lines = [
        f"{disk.checkpoints} checkpoints of {per:.1f} GB ({disk.weights / 1e9:.1f} GB of weights, "
        f"{disk.optimizer / 1e9:.1f} GB of optimizer states): {disk.everything / 1e9:.0f} GB."
    ]
    if kept_states is not None:
        kept = disk.checkpoints * disk.weights + (kept_states + 1) * disk.optimizer
        lines.append(
            f"Within the budget all weights are kept for the evaluations, and the optimizer states "
            f"of the last {kept_states} checkpoints to resume from. At most {kept / 1e9:.0f} GB."
        )
    return "\n\n".join(lines)


def _time(
    run: RunSettings,
    time: Time | None,
    published: tuple[PublishedTime, Time | None] | None,
) -> str:
    if time is None:
        return "Not estimated: set `hardware.gpu` to a kind of GPU whose rates are known."
    hours = time.step * run.sizes.max_steps / 3600
    lines = [
        f"An estimate, good to a factor of two or three: {time.generation:.0f} s of generation and "
        f"{time.update:.0f} s of updates per step, {hours:.1f} hours for {run.sizes.max_steps} "
        "steps, from datasheet rates and the efficiencies of `r1zero/plan/cost.py`."
    ]
    if published:
        report, estimate = published
        there = f"{report.gpus} x {report.gpu}"
        ours = (
            f"the same estimate for these GPUs gives {_hours(run, estimate):.1f}"
            if estimate
            else "there is no estimate for these GPUs"
        )
        lines.append(f"As published: {report.hours:g} hours on {there} ({report.source}); {ours}.")
    return "\n\n".join(lines)


def _hours(run: RunSettings, time: Time) -> float:
    return time.step * run.sizes.max_steps / 3600
