"""From a run and a machine to processes, batches and placement: pure, and the same everywhere.

The recipe decides completions per optimizer step, problems and group size. The layout decides how
they are cut up. Where the cards can't give the recipe's batch exactly, the layout is refused with
changes that would work, unless the configuration accepts a deviation.
"""

import math
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from pydantic import Field

from r1zero.core.section import Section
from r1zero.plan.machine import Machine
from r1zero.plan.memory import (
    colocate_utilization,
    server_utilization,
    training_memory,
    vllm_asleep,
    vllm_memory,
    vllm_resident,
)
from r1zero.settings.architecture import Architecture
from r1zero.settings.run import RunSettings
from r1zero.settings.workflow import Hardware

# Tokens, padding included, in one forward and backward pass. What a pass holds in memory grows with
# them; how a batch is cut into passes changes no gradient.
_TOKENS_PER_PASS = {"cpu": 1 << 15, "gpu": 1 << 14}
# Of a card's memory; the rest is the driver's and lost between blocks.
_USABLE = 0.95
# Completions for whose longest form vLLM's cache has room at once; more wait their turn.
_SEQUENCES = 16
# DeepSpeed's default `stage3_max_live_parameters`.
_LIVE_PARAMETERS = 10**9
_SIZES_GB = (24, 48, 80, 141, 192)
Placement = Literal["transformers", "colocate", "server"]


class Suggestion(Section):
    """A change of `hardware` in the configuration that makes the run possible."""

    hardware: dict[str, Any]
    """Keys to change, with their values."""
    text: str
    """The same for people, with what it costs."""


class Layout(Section):
    """Who does what, and in what pieces."""

    feasible: Literal[True] = True
    """A layout that is refused is a `Refusal`."""
    placement: Placement
    """Who generates: transformers on the CPU, vLLM on the cards that train, or on its own."""
    gpus: int = Field(ge=0)
    """GPUs of the run on all nodes."""
    nodes: int = Field(ge=1)
    """Nodes of the run."""
    training_gpus: int = Field(ge=0)
    """GPUs that train."""
    vllm_gpus: int = Field(ge=0)
    """GPUs of vLLM's own."""
    idle_gpus: int = Field(ge=0)
    """GPUs without work, by consent."""
    num_processes: int = Field(ge=1)
    """Training processes."""
    zero_stage: Literal[0, 2, 3]
    """What DeepSpeed shards: nothing (it is not used), optimizer and gradients, weights too."""
    offload_optimizer: bool
    """Whether optimizer states live in the host's memory."""
    offload_parameters: bool
    """Whether weights do."""
    gradient_checkpointing: bool
    """Whether activations are recomputed in the backward pass."""
    per_device_train_batch_size: int = Field(ge=1)
    """Completions in one forward and backward pass of one process."""
    gradient_accumulation_steps: int = Field(ge=1)
    """Passes behind one optimizer step."""
    steps_per_generation: int = Field(ge=1)
    """Passes that one batch of rollouts feeds."""
    num_generations: int = Field(ge=2)
    """Completions per problem: the recipe's."""
    completions_per_step: int = Field(ge=1)
    """Completions behind one optimizer step."""
    deviation: int
    """How many more these are than the recipe's: 0, or by consent."""
    vllm_tensor_parallel: int = Field(ge=0)
    """Cards that share each copy of the weights in vLLM; 0 without vLLM."""
    vllm_gpu_memory_utilization: float = Field(ge=0, le=1)
    """Share of a card's memory that vLLM takes; 0 without vLLM."""
    dtype: Literal["float32", "bfloat16"]
    """Type of the weights the trainer holds; with DeepSpeed their float32 copies are its own."""
    mixed_precision: Literal["no", "bf16"]
    """Type of the arithmetic."""
    memory: dict[str, int]
    """Bytes on a training GPU by part, at the peak of a step; empty where it was not computed."""
    reasons: list[str]
    """Every rule that fired, for people."""
    suggestions: list[Suggestion] = Field(default=[])
    """None: it is feasible."""


class Refusal(Section):
    """Why a run has no layout on a machine, and what would work."""

    feasible: Literal[False] = False
    """A layout that holds is a `Layout`."""
    reasons: list[str]
    """What each possible layout lacks."""
    suggestions: list[Suggestion]
    """Changes that work, nearest first."""


class _Candidate(NamedTuple):
    placement: Placement
    trainers: int
    vllm: int
    idle: int


class _Fit(NamedTuple):
    """How a candidate fits into memory."""

    zero_stage: Literal[0, 2, 3]
    offload_optimizer: bool
    offload_parameters: bool
    checkpointing: bool
    per_pass: int
    tensor_parallel: int
    utilization: float
    memory: dict[str, int]


def lay_out(
    run: RunSettings,
    machine: Machine,
    architecture: Architecture | None = None,
    hardware: Hardware | None = None,
) -> Layout | Refusal:
    """Lay a run out on a machine.

    Args:
        run: The run.
        machine: GPUs or CPU.
        architecture: Sizes of the model; without them its memory is not computed.
        hardware: What the configuration wishes for and accepts.

    """
    hardware = hardware or Hardware()
    found = _search(run, machine, architecture, hardware)
    if isinstance(found, Layout):
        return found
    return Refusal(
        reasons=found, suggestions=list(_suggestions(run, machine, architecture, hardware))
    )


def _search(
    run: RunSettings, machine: Machine, architecture: Architecture | None, hardware: Hardware
) -> Layout | list[str]:
    """The first candidate that holds, or why none does."""
    if machine.gpus == 0:
        return _on_cpu(run, machine)
    refused: list[str] = []
    for candidate in _candidates(run, machine, architecture, hardware):
        completions = _completions(run, candidate.trainers, hardware)
        if completions is None:
            refused.append(
                f"{_name(candidate)}: {run.completions_per_step} completions per step are not "
                f"divisible by {candidate.trainers}"
            )
            continue
        fit = _fit(run, machine, architecture, candidate, completions)
        if fit is None:
            refused.append(
                f"{_name(candidate)}: does not fit into {machine.gpu_memory_gb:g} GiB, not even "
                "one completion at a time with ZeRO-3 and offload"
            )
            continue
        return _assemble(run, machine, candidate, completions, fit, refused)
    return refused or ["no card is left to train"]


def _on_cpu(run: RunSettings, machine: Machine) -> Layout | list[str]:
    if not run.is_mini_base:
        return [f"{run.model} is too large to train on a CPU"]
    if run.completions_per_step % machine.cpu_processes:
        return [
            f"{run.completions_per_step} completions per step are not divisible by "
            f"{machine.cpu_processes} processes"
        ]
    share = run.completions_per_step // machine.cpu_processes
    per_pass = _per_pass(run, share, "cpu")
    fit = _Fit(0, False, False, False, per_pass, 0, 0.0, {})
    candidate = _Candidate("transformers", machine.cpu_processes, 0, 0)
    return _assemble(run, machine, candidate, run.completions_per_step, fit, [])


def _candidates(
    run: RunSettings, machine: Machine, architecture: Architecture | None, hardware: Hardware
) -> Iterator[_Candidate]:
    """Placements in the order to try them: the recipe's or the user's wish first."""
    wish = run.placement if hardware.placement == "auto" else hardware.placement
    others: list[Placement] = ["colocate", "server"] if hardware.placement == "auto" else []
    order: list[Placement] = list(dict.fromkeys([wish, *others]))
    idle_allowed = "idle_gpus" in hardware.accept
    for idle in range(machine.gpus if idle_allowed else 1):
        for placement in order:
            if placement == "colocate":
                yield _Candidate("colocate", machine.gpus - idle, 0, idle)
                continue
            for own in _server_sizes(machine, architecture, hardware):
                if machine.gpus - own - idle >= 1:
                    yield _Candidate("server", machine.gpus - own - idle, own, idle)


def _server_sizes(
    machine: Machine, architecture: Architecture | None, hardware: Hardware
) -> list[int]:
    """Cards that vLLM may have of its own: on one node as few as do, on several a whole node."""
    sizes = [hardware.vllm_gpus] if hardware.vllm_gpus else [1, 2, 4, 8]
    if machine.nodes > 1 and not hardware.vllm_gpus:
        sizes = [machine.gpus_per_node]
    return [n for n in sizes if n <= machine.gpus_per_node and _splits(architecture, n)]


def _splits(architecture: Architecture | None, parts: int) -> bool:
    """Whether tensor parallelism can cut the attention heads into so many parts."""
    return architecture is None or architecture.num_attention_heads % parts == 0


def _completions(run: RunSettings, trainers: int, hardware: Hardware) -> int | None:
    """Completions per step on so many trainers: the recipe's, or the nearest if that is accepted.

    TRL wants whole groups, and each process an equal share.
    """
    wanted = run.completions_per_step
    if wanted % trainers == 0:
        return wanted
    if "other_batch" not in hardware.accept:
        return None
    group = run.algorithm.num_generations
    fitting = (n * group for n in range(1, 2 * wanted // group + trainers + 1))
    return min(
        (n for n in fitting if n % trainers == 0), key=lambda n: abs(n - wanted), default=None
    )


def _per_pass(run: RunSettings, share: int, device: str) -> int:
    """The largest divisor of a process's share with at most so many tokens."""
    most = max(1, _TOKENS_PER_PASS[device] // _tokens(run))
    return max(n for n in range(1, min(most, share) + 1) if share % n == 0)


def _tokens(run: RunSettings) -> int:
    return run.sizes.max_prompt_length + run.sizes.max_completion_length


def _fit(
    run: RunSettings,
    machine: Machine,
    architecture: Architecture | None,
    candidate: _Candidate,
    completions: int,
) -> _Fit | None:
    """The cheapest way to fit: least sharding first, then the largest pass."""
    share = completions // candidate.trainers
    most = _per_pass(run, share, "gpu")
    if architecture is None:
        return _Fit(0, False, False, True, most, candidate.vllm or 1, 0.4, {})
    for stage, optimizer, parameters in _shardings(candidate.trainers):
        for per_pass in [n for n in range(most, 0, -1) if share % n == 0]:
            for checkpointing in (False, True):
                memory = training_memory(
                    architecture,
                    weights="float32" if stage == 0 else "bfloat16",
                    autocast=stage == 0 and run.dtype == "bfloat16",
                    zero_stage=stage,
                    processes=candidate.trainers,
                    offload_optimizer=optimizer,
                    offload_parameters=parameters,
                    micro_batch=per_pass,
                    prompt_length=run.sizes.max_prompt_length,
                    completion_length=run.sizes.max_completion_length,
                    checkpointing=checkpointing,
                    reference=run.algorithm.beta > 0,
                    attention="sdpa",
                    live_parameters=min(_LIVE_PARAMETERS, architecture.parameters),
                )
                vllm = _vllm(run, machine, architecture, candidate, memory, completions)
                if vllm:
                    return _Fit(
                        stage, optimizer, parameters, checkpointing, per_pass, *vllm, memory
                    )
    return None


def _shardings(trainers: int) -> list[tuple[Literal[0, 2, 3], bool, bool]]:
    """ZeRO stage, optimizer offload, parameter offload; on one card only offload saves anything."""
    sharded: list[tuple[Literal[0, 2, 3], bool, bool]] = [(2, False, False), (3, False, False)]
    offloaded: list[tuple[Literal[0, 2, 3], bool, bool]] = [(2, True, False), (3, True, True)]
    return [(0, False, False), *(sharded if trainers > 1 else []), *offloaded]


def _vllm(
    run: RunSettings,
    machine: Machine,
    architecture: Architecture,
    candidate: _Candidate,
    training: dict[str, int],
    completions: int,
) -> tuple[int, float] | None:
    """Tensor parallelism and memory share of vLLM, if it and the trainer fit."""
    card = int(machine.gpu_memory_gb * 2**30)
    server = candidate.placement == "server"
    generating = candidate.vllm if server else candidate.trainers
    need = sum(training.values())
    for parallel in (candidate.vllm,) if server else (1, 2, 4, 8):
        if generating % parallel or not _splits(architecture, parallel):
            continue
        rollouts = completions * run.algorithm.updates_per_rollout
        at_once = -(-rollouts * parallel // generating)
        parts = vllm_memory(
            architecture,
            tensor_parallel=parallel,
            sequences=min(at_once, _SEQUENCES),
            max_length=_tokens(run),
        )
        if server:
            share = server_utilization(parts, card)
            fits = need <= _USABLE * card
        else:
            resident = vllm_resident(training)
            share = colocate_utilization(parts, card, resident)
            # A larger cache generates faster, and is given back while vLLM sleeps.
            share = share and max(share, math.floor(100 * (_USABLE - resident / card)) / 100)
            fits = need + vllm_asleep(parts) <= _USABLE * card
        if share and fits:
            return parallel, share
    return None


def _assemble(
    run: RunSettings,
    machine: Machine,
    candidate: _Candidate,
    completions: int,
    fit: _Fit,
    refused: list[str],
) -> Layout:
    passes = completions // candidate.trainers // fit.per_pass
    on_cpu = candidate.placement == "transformers"
    return Layout(
        placement=candidate.placement,
        gpus=machine.gpus,
        nodes=machine.nodes,
        training_gpus=0 if on_cpu else candidate.trainers,
        vllm_gpus=candidate.vllm,
        idle_gpus=candidate.idle,
        num_processes=candidate.trainers,
        zero_stage=fit.zero_stage,
        offload_optimizer=fit.offload_optimizer,
        offload_parameters=fit.offload_parameters,
        gradient_checkpointing=fit.checkpointing,
        per_device_train_batch_size=fit.per_pass,
        gradient_accumulation_steps=passes,
        steps_per_generation=passes * run.algorithm.updates_per_rollout,
        num_generations=run.algorithm.num_generations,
        completions_per_step=completions,
        deviation=completions - run.completions_per_step,
        vllm_tensor_parallel=fit.tensor_parallel,
        vllm_gpu_memory_utilization=fit.utilization,
        # Without DeepSpeed the trainer's own weights are the only copy: in bfloat16 an update of
        # the size of a learning rate of 1e-6 would be rounded away.
        dtype="float32" if fit.zero_stage == 0 else "bfloat16",
        mixed_precision="no" if on_cpu or run.dtype == "float32" else "bf16",
        memory=fit.memory,
        reasons=[*refused, *_reasons(run, machine, candidate, completions, fit, passes)],
    )


def _reasons(
    run: RunSettings,
    machine: Machine,
    candidate: _Candidate,
    completions: int,
    fit: _Fit,
    passes: int,
) -> Iterator[str]:
    group = run.algorithm.num_generations
    yield (
        f"{run.sizes.prompts_per_step} problems x {group} completions = "
        f"{run.completions_per_step} completions per step, the recipe's"
    )
    if completions != run.completions_per_step:
        yield (
            f"by consent (hardware.accept: other_batch) {completions} completions, of "
            f"{completions // group} problems: the nearest batch of whole groups for "
            f"{candidate.trainers} trainers"
        )
    yield (
        f"{candidate.trainers} processes x {fit.per_pass} completions x {passes} passes = "
        f"{completions}, all from one batch of rollouts"
    )
    updates = run.algorithm.updates_per_rollout
    if updates > 1:
        yield (
            f"{updates} steps, one after another, share a batch of {updates * completions} "
            "rollouts: all but the first are off-policy"
        )
    if candidate.idle:
        yield f"by consent (hardware.accept: idle_gpus) {candidate.idle} cards have no work"
    match candidate.placement:
        case "transformers":
            yield "no GPU: transformers generates, weights are float32"
        case "colocate":
            yield (
                "colocate: vLLM shares the cards with the trainer, takes "
                f"{fit.utilization:.0%} of each while it generates, and sleeps while it trains"
            )
        case "server":
            yield (
                f"server: {candidate.trainers} cards train, {candidate.vllm} generate with vLLM "
                f"(tensor parallel {fit.tensor_parallel})"
            )
    if not fit.memory:
        return
    peak = sum(fit.memory.values()) / 2**30
    sharding = {0: "no sharding", 2: "ZeRO-2", 3: "ZeRO-3"}[fit.zero_stage]
    offload = " with offload to the host" if fit.offload_optimizer else ""
    yield (
        f"{sharding}{offload}: the least that fits; {peak:.1f} of {machine.gpu_memory_gb:g} GiB on "
        f"a training card ({machine.source})"
    )
    if fit.checkpointing:
        yield "activations are recomputed in the backward pass: kept, they would not fit"
    else:
        yield "activations fit without recomputing them"


def _name(candidate: _Candidate) -> str:
    if candidate.placement == "colocate":
        return f"colocate on {candidate.trainers}"
    return f"server, {candidate.trainers} + {candidate.vllm}"


def _suggestions(
    run: RunSettings, machine: Machine, architecture: Architecture | None, hardware: Hardware
) -> Iterator[Suggestion]:
    """Changes of the configuration, each tried before it is suggested."""
    for changes, text in _changes(run, machine, hardware):
        changed = hardware.model_copy(update=changes)
        other = machine.model_copy(
            update={
                "gpus_per_node": changes.get("gpus", machine.gpus_per_node),
                "nodes": changes.get("nodes", machine.nodes),
                "gpu_memory_gb": changes.get("gpu_memory_gb", machine.gpu_memory_gb or 80),
                "cpu_processes": changes.get("cpu_processes", machine.cpu_processes),
            }
        )
        found = _search(run, other, architecture, changed)
        if isinstance(found, Layout):
            yield Suggestion(hardware=changes, text=f"{text}: {describe(found)}")


def _changes(
    run: RunSettings, machine: Machine, hardware: Hardware
) -> Iterator[tuple[dict[str, Any], str]]:
    """Changes to try, nearest first."""
    free = {"placement": "auto", "vllm_gpus": None, "nodes": 1}
    if machine.gpus == 0:
        if machine.cpu_processes > 1:
            yield {"cpu_processes": 1}, "one process"
        for gpus in (1, 2, 4, 8):
            yield {"gpus": gpus, **free, "gpu_memory_gb": 80.0}, f"{gpus} GPUs of 80 GiB"
    else:
        if hardware.placement != "auto" or hardware.vllm_gpus:
            yield {"placement": "auto", "vllm_gpus": None}, "another placement"
        yield {"accept": ["idle_gpus"]}, "leave cards idle"
        yield {"accept": ["other_batch"]}, "another batch, and so another algorithm"
        counts = sorted(range(1, 17), key=lambda n: (abs(n - machine.gpus), n))
        for gpus in [n for n in counts if n != machine.gpus][:4]:
            yield {"gpus": gpus, **free}, f"{gpus} GPUs"
        for memory in (float(size) for size in _SIZES_GB if size > machine.gpu_memory_gb):
            yield {"gpu_memory_gb": memory}, f"cards of {memory:g} GiB"
            many = {"gpu_memory_gb": memory, "gpus": 8, **free}
            yield many, f"8 cards of {memory:g} GiB"
    anything = {"accept": ["idle_gpus", "other_batch"], "gpu_memory_gb": float(_SIZES_GB[-1])}
    yield {**anything, **free, "gpus": 8}, "large cards, and whatever fits them"


def describe(layout: Layout) -> str:
    """A layout in a few words."""
    who = {
        "transformers": f"{layout.num_processes} processes on the CPU",
        "colocate": f"{layout.training_gpus} cards train and generate",
        "server": f"{layout.training_gpus} cards train, {layout.vllm_gpus} generate",
    }[layout.placement]
    idle = f", {layout.idle_gpus} idle" if layout.idle_gpus else ""
    batch = f", {layout.deviation:+d} completions per step" if layout.deviation else ""
    return f"{who}{idle}{batch}, ZeRO-{layout.zero_stage}"
