"""The search for a layout: pure, so the same run and hardware have the same layout everywhere.

The recipe decides completions per optimizer step, problems and group size. The layout only divides
them. Where the GPUs cannot give the recipe's batch exactly, the layout is refused with changes that
would work, unless `hardware.accept` allows a deviation. What a backend can do is asked of its
`Constraints`. Completions come from vLLM, whose memory `memory.py` estimates, or from the trainers
themselves (`generation.py`).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

from r1zero.core.errors import UserError
from r1zero.plan.backend import check_backend, load_backend
from r1zero.plan.generation import (
    USABLE,
    numbers_of_sequences,
    transformers_memory,
    with_allowances,
)
from r1zero.plan.layout import Constraints, Layout, Placement, Refusal, Sharding, Suggestion
from r1zero.plan.machine import Machine
from r1zero.plan.memory import (
    colocate_utilization,
    reference_memory,
    server_utilization,
    trainer_resident,
    training_memory,
    vllm_asleep,
    vllm_memory,
)
from r1zero.plan.reasons import describe, reasons_for
from r1zero.settings.architecture import Architecture
from r1zero.settings.run import RunSettings
from r1zero.settings.workflow import Hardware, RemoteReference

# Tokens in one forward and backward pass, with padding. The memory of a pass grows with them; how a
# batch is divided into passes changes no gradient.
_TOKENS_PER_PASS = {"cpu": 1 << 15, "gpu": 1 << 14}
# Completions of the greatest length that the generator's cache has room for at once.
_FULL_SEQUENCES = 16
# DeepSpeed's default `stage3_max_live_parameters`.
_LIVE_PARAMETERS = 10**9
_SIZES_GB = (24, 48, 80, 141, 192)
_ZERO_STAGE: dict[Sharding, Literal[0, 2, 3]] = {"none": 0, "optimizer": 2, "full": 3}


@dataclass(frozen=True)
class _Problem:
    """The run to lay out, and all that limits its layout."""

    run: RunSettings
    machine: Machine
    architecture: Architecture | None
    hardware: Hardware
    constraints: Constraints

    def reference(self, placement: Placement) -> Literal["none", "trainer", "server", "remote"]:
        """Where the reference model is with a placement of the generator.

        A server that the run starts is on a GPU of the generator's own, or on the CPU.
        """
        wish = self.hardware.reference
        if self.run.algorithm.beta == 0:
            return "none"
        if isinstance(wish, RemoteReference):
            return "remote"
        if wish == "auto":
            can = "server" in self.constraints.references and not self.shares_gpus(placement)
            return self.run.reference if can else "trainer"
        return wish

    def shares_gpus(self, placement: Placement) -> bool:
        """Whether completions are generated on the GPUs that train."""
        return self.machine.gpus > 0 and placement != "server"

    def refused_reference(self, placement: Placement) -> str | None:
        """Why the reference model cannot be where the configuration wants it."""
        place = self.reference(placement)
        if place in ("none", "trainer"):
            return None
        if "server" not in self.constraints.references:
            return f"the backend {self.run.backend} has its reference model in the trainer alone"
        if place == "server" and self.shares_gpus(placement):
            return (
                "hardware.reference: server wants placement server, whose generator's GPU it uses"
            )
        return None

    @property
    def tokens(self) -> int:
        """Tokens of the longest prompt with its longest completion."""
        return self.run.sizes.max_prompt_length + self.run.sizes.max_completion_length

    @property
    def compute(self) -> Literal["float32", "bfloat16"]:
        """Type of the arithmetic; a mini model has that of a CPU everywhere."""
        on_cpu = self.machine.gpus == 0
        exact = on_cpu or self.run.is_mini_base or self.run.dtype == "float32"
        return "float32" if exact else "bfloat16"

    def splits(self, parts: int) -> bool:
        """Whether tensor parallelism can divide the attention heads into so many parts."""
        return self.architecture is None or self.architecture.num_attention_heads % parts == 0

    def completions(self, trainers: int) -> int | None:
        """Completions per step on so many trainers: the recipe's, or the nearest if accepted."""
        wanted = self.run.completions_per_step
        multiple = self.constraints.multiple(trainers, self.run.algorithm.num_generations)
        if wanted % multiple == 0:
            return wanted
        if "other_batch" not in self.hardware.accept:
            return None
        below = wanted // multiple * multiple
        return min((n for n in (below, below + multiple) if n), key=lambda n: abs(n - wanted))

    def micro_batch(self, share: int, device: Literal["cpu", "gpu"]) -> int:
        """The largest divisor of a trainer's share whose tokens fit into one pass."""
        most = max(1, _TOKENS_PER_PASS[device] // self.tokens)
        return max(n for n in range(1, min(most, share) + 1) if share % n == 0)


class _Candidate(NamedTuple):
    placement: Placement
    trainers: int
    generator: int
    """GPUs that only generate."""
    idle: int

    @property
    def name(self) -> str:
        if self.placement != "server":
            return f"{self.placement} on {self.trainers}"
        return f"server, {self.trainers} + {self.generator}"


class _Fit(NamedTuple):
    """How a candidate fits into memory."""

    micro_batch: int
    memory: dict[str, int]
    sharding: Sharding = "none"
    offload_optimizer: bool = False
    offload_weights: bool = False
    checkpointing: bool = False
    tensor_parallel: int = 0
    memory_share: float = 0.0
    sequences: int = 0
    rollout_memory: dict[str, int] | None = None


def lay_out(
    run: RunSettings,
    machine: Machine,
    architecture: Architecture | None = None,
    hardware: Hardware | None = None,
) -> Layout | Refusal:
    """Lay a run out on a machine, within what its backend can do.

    Args:
        run: The run.
        machine: GPUs or CPU.
        architecture: Sizes of the model; without them its memory is not computed.
        hardware: What the configuration asks for and accepts.

    """
    constraints = load_backend(run.backend).constraints(run)
    problem = _Problem(run, machine, architecture, hardware or Hardware(), constraints)
    found = _search(problem)
    if isinstance(found, Layout):
        return found
    return Refusal(reasons=found, suggestions=list(_suggestions(problem)))


def layout_or_error(
    run: RunSettings, machine: Machine, architecture: Architecture | None, hardware: Hardware
) -> Layout:
    """Lay a run out.

    Raises:
        UserError: The backend does not honour a setting of the run, the model is too short for its
            sequences, or the run has no layout; then the hint is a change that would work.

    """
    check_backend(run)
    check_positions(run, architecture)
    found = lay_out(run, machine, architecture, hardware)
    if isinstance(found, Layout):
        return found
    nearest = found.suggestions[0] if found.suggestions else None
    raise UserError(
        "; ".join(found.reasons),
        where="hardware",
        hint=f"works: {nearest.hardware}, {nearest.text}" if nearest else "",
    )


def check_positions(run: RunSettings, architecture: Architecture | None) -> None:
    """Check that a model has a position for every token of a sequence, if its sizes are known.

    Raises:
        UserError: Prompt and completion can be longer.

    """
    positions = architecture.max_position_embeddings if architecture else None
    sizes = run.sizes
    if positions and sizes.max_prompt_length + sizes.max_completion_length > positions:
        raise UserError(
            f"max_prompt_length {sizes.max_prompt_length} and max_completion_length "
            f"{sizes.max_completion_length} are more than the {positions} positions of {run.model}",
            where=f"recipe {run.recipe}: sizes",
            hint=f"max_completion_length of at most {positions - sizes.max_prompt_length} works"
            if sizes.max_prompt_length < positions
            else "",
        )


def _search(problem: _Problem) -> Layout | list[str]:
    """The first candidate that fits, or why none does."""
    run, machine = problem.run, problem.machine
    if machine.gpus == 0:
        return _on_cpu(problem)
    if "gpu" not in problem.constraints.devices:
        return [f"the backend {run.backend} trains on the CPU alone"]
    refused: list[str] = []
    for candidate in _candidates(problem):
        if reason := problem.refused_reference(candidate.placement):
            refused.append(f"{candidate.name}: {reason}")
            continue
        completions = problem.completions(candidate.trainers)
        if completions is None:
            refused.append(
                f"{candidate.name}: {run.completions_per_step} completions per step are not "
                f"divisible by {candidate.trainers}"
            )
            continue
        fit = _fit(problem, candidate, completions)
        if fit is None:
            refused.append(
                f"{candidate.name}: does not fit into {machine.gpu_memory_gb:g} GiB, not even "
                "with one completion at a time and the most sharding and offload"
            )
            continue
        return _assemble(problem, candidate, completions, fit, refused)
    return refused or ["no GPU is left to train on"]


def _on_cpu(problem: _Problem) -> Layout | list[str]:
    run, processes = problem.run, problem.run.computation.train.processes
    if "cpu" not in problem.constraints.devices:
        return [f"the backend {run.backend} needs a GPU"]
    if not run.is_mini_base:
        return [f"{run.model} is too large to train on a CPU"]
    if run.completions_per_step % problem.constraints.multiple(
        processes, run.algorithm.num_generations
    ):
        return [
            f"{run.completions_per_step} completions per step are not divisible by "
            f"the scale's {processes} processes (computation.train.processes)"
        ]
    if reason := problem.refused_reference("transformers"):
        return [reason]
    fit = _Fit(problem.micro_batch(run.completions_per_step // processes, "cpu"), {})
    candidate = _Candidate("transformers", processes, 0, 0)
    return _assemble(problem, candidate, run.completions_per_step, fit, [])


def _candidates(problem: _Problem) -> Iterator[_Candidate]:
    """Placements in the order to try them; that of the configuration or of the recipe is first."""
    machine, hardware = problem.machine, problem.hardware
    order: list[Placement] = ["transformers"]
    if hardware.placement != "auto":
        order = [hardware.placement]
    elif machine.has_vllm or "transformers" not in problem.constraints.placements:
        order = list(dict.fromkeys([problem.run.placement, "colocate", "server"]))
    for idle in range(machine.gpus if "idle_gpus" in hardware.accept else 1):
        for placement in order:
            if placement not in problem.constraints.placements:
                continue
            if placement != "server":
                yield _Candidate(placement, machine.gpus - idle, 0, idle)
                continue
            for own in _generator_sizes(problem):
                if machine.gpus - own - idle >= 1:
                    yield _Candidate("server", machine.gpus - own - idle, own, idle)


def _generator_sizes(problem: _Problem) -> list[int]:
    """GPUs that a generator may have of its own: the fewest that fit; a whole node on several."""
    machine, wanted = problem.machine, problem.hardware.generator_gpus
    sizes = [wanted] if wanted else [1, 2, 4, 8] if machine.nodes == 1 else [machine.gpus_per_node]
    return [n for n in sizes if n <= machine.gpus_per_node and problem.splits(n)]


def _fit(problem: _Problem, candidate: _Candidate, completions: int) -> _Fit | None:
    """The cheapest way to fit: the least sharding first, then the largest micro-batch."""
    run, architecture = problem.run, problem.architecture
    share = completions // candidate.trainers
    most = problem.micro_batch(share, "gpu")
    if architecture is None:
        fit = _Fit(most, memory={}, checkpointing=True, sequences=_FULL_SEQUENCES)
        if candidate.placement == "transformers":
            return fit
        return fit._replace(tensor_parallel=candidate.generator or 1, memory_share=0.4)
    for sharding, optimizer, weights in _shardings(problem.constraints, candidate.trainers):
        for micro_batch in [n for n in range(most, 0, -1) if share % n == 0]:
            for checkpointing in (False, True):
                memory = training_memory(
                    architecture,
                    weights="float32" if sharding == "none" else "bfloat16",
                    autocast=sharding == "none" and problem.compute == "bfloat16",
                    zero_stage=_ZERO_STAGE[sharding],
                    processes=candidate.trainers,
                    offload_optimizer=optimizer,
                    offload_parameters=weights,
                    micro_batch=micro_batch,
                    prompt_length=run.sizes.max_prompt_length,
                    completion_length=run.sizes.max_completion_length,
                    checkpointing=checkpointing,
                    reference=problem.reference(candidate.placement) == "trainer",
                    attention="sdpa",
                    live_parameters=min(_LIVE_PARAMETERS, architecture.parameters),
                )
                fit = _Fit(micro_batch, memory, sharding, optimizer, weights, checkpointing)
                generates = _with_rollouts if candidate.placement == "transformers" else _with_vllm
                found = generates(problem, architecture, candidate, fit, completions)
                if found:
                    return found
    return None


def _reference_memory(problem: _Problem, sharding: Sharding, micro_batch: int) -> dict[str, int]:
    """Bytes that a reference server takes for a trainer; nothing where it is not computed."""
    run, on_cpu = problem.run, problem.machine.gpus == 0
    if problem.architecture is None:
        return {}
    return reference_memory(
        problem.architecture,
        weights="float32" if sharding == "none" else "bfloat16",
        autocast=sharding == "none" and problem.compute == "bfloat16",
        micro_batch=micro_batch,
        prompt_length=run.sizes.max_prompt_length,
        completion_length=run.sizes.max_completion_length,
        device="cpu" if on_cpu else "cuda",
    )


def _shardings(constraints: Constraints, trainers: int) -> Iterator[tuple[Sharding, bool, bool]]:
    """Sharding, offload of the optimizer, offload of weights; one trainer needs no sharding."""
    sharded = [each for each in constraints.shardings if each != "none"]
    yield "none", False, False
    if trainers > 1:
        yield from ((each, False, False) for each in sharded)
    if constraints.offload:
        yield from ((each, True, each == "full") for each in sharded)


def _with_rollouts(
    problem: _Problem,
    architecture: Architecture,
    candidate: _Candidate,
    fit: _Fit,
    completions: int,
) -> _Fit | None:
    """The fit with the most completions that a trainer can generate at once beside its weights."""
    run = problem.run
    usable = USABLE * problem.machine.gpu_memory_gb * 2**30
    if sum(fit.memory.values()) > usable:
        return None
    resident = trainer_resident(fit.memory)
    autocast = fit.sharding == "none" and problem.compute == "bfloat16"
    for sequences in numbers_of_sequences(
        completions * run.algorithm.updates_per_rollout // candidate.trainers
    ):
        parts = transformers_memory(
            architecture,
            sequences=sequences,
            prompt_length=run.sizes.max_prompt_length,
            completion_length=run.sizes.max_completion_length,
            compute=problem.compute,
            copied_weights=autocast or fit.sharding == "full",
            warpers=run.algorithm.top_p < 1 or run.algorithm.top_k > 0,
        )
        rollout = with_allowances(resident, parts)
        if sum(rollout.values()) <= usable:
            return fit._replace(sequences=sequences, rollout_memory=rollout)
    return None


def _with_vllm(
    problem: _Problem,
    architecture: Architecture,
    candidate: _Candidate,
    fit: _Fit,
    completions: int,
) -> _Fit | None:
    """The fit with tensor parallelism, memory share and sequences of vLLM, if it fits."""
    training, beside = fit.memory, 0
    if problem.reference(candidate.placement) == "server":  # on a GPU of vLLM's
        beside = sum(_reference_memory(problem, fit.sharding, fit.micro_batch).values())
    gpu = int(problem.machine.gpu_memory_gb * 2**30)
    server = candidate.placement == "server"
    generating = candidate.generator if server else candidate.trainers
    need = sum(training.values())
    for parallel in (candidate.generator,) if server else (1, 2, 4, 8):
        if generating % parallel or not problem.splits(parallel):
            continue
        rollouts = completions * problem.run.algorithm.updates_per_rollout
        for sequences in numbers_of_sequences(
            -(-rollouts * parallel // generating), _FULL_SEQUENCES
        ):
            parts = vllm_memory(
                architecture,
                tensor_parallel=parallel,
                full_sequences=min(sequences, _FULL_SEQUENCES),
                sequences=sequences,
                max_length=problem.tokens,
            )
            if server:
                share = server_utilization(parts, gpu, beside)
                fits = need <= USABLE * gpu
            else:
                resident = trainer_resident(training)
                share = colocate_utilization(parts, gpu, resident)
                # A larger cache generates faster, and is given back while vLLM sleeps.
                share = share and max(share, math.floor(100 * (USABLE - resident / gpu)) / 100)
                fits = need + vllm_asleep(parts) <= USABLE * gpu
            if share and fits:
                return fit._replace(
                    tensor_parallel=parallel, memory_share=share, sequences=sequences
                )
    return None


def _assemble(
    problem: _Problem, candidate: _Candidate, completions: int, fit: _Fit, refused: list[str]
) -> Layout:
    run, machine = problem.run, problem.machine
    passes = completions // candidate.trainers // fit.micro_batch
    on_cpu = machine.gpus == 0
    place = problem.reference(candidate.placement)
    remote = problem.hardware.reference if place == "remote" else None
    elsewhere = place in ("server", "remote")
    layout = Layout(
        placement=candidate.placement,
        gpus=machine.gpus,
        nodes=machine.nodes,
        trainers=candidate.trainers,
        trainer_gpus=0 if on_cpu else candidate.trainers,
        generator_gpus=candidate.generator,
        idle_gpus=candidate.idle,
        generator_tensor_parallel=fit.tensor_parallel,
        generator_memory_share=fit.memory_share,
        generator_sequences=fit.sequences,
        reference=place,
        remote_reference=remote if isinstance(remote, RemoteReference) else None,
        reference_memory=_reference_memory(problem, fit.sharding, fit.micro_batch)
        if elsewhere
        else {},
        sharding=fit.sharding,
        offload_optimizer=fit.offload_optimizer,
        offload_weights=fit.offload_weights,
        gradient_checkpointing=fit.checkpointing,
        micro_batch=fit.micro_batch,
        accumulation=passes,
        rollout_passes=passes * run.algorithm.updates_per_rollout,
        completions_per_step=completions,
        deviation=completions - run.completions_per_step,
        # Without sharding the weights of the trainer are the only copy. In bfloat16 an update as
        # small as a learning rate of 1e-6 would be rounded away.
        weights_dtype="float32" if fit.sharding == "none" else "bfloat16",
        compute_dtype=problem.compute,
        memory=fit.memory,
        rollout_memory=fit.rollout_memory or {},
        reasons=[],
    )
    return layout.model_copy(update={"reasons": [*refused, *reasons_for(run, machine, layout)]})


def _suggestions(problem: _Problem) -> Iterator[Suggestion]:
    """Changes of the configuration, each tried before it is suggested."""
    machine = problem.machine
    for changes, text in _changes(machine, problem.hardware):
        found = _search(
            replace(
                problem,
                hardware=problem.hardware.model_copy(update=changes),
                machine=machine.model_copy(
                    update={
                        "gpus_per_node": changes.get("gpus", machine.gpus_per_node),
                        "nodes": changes.get("nodes", machine.nodes),
                        "gpu_memory_gb": changes.get("gpu_memory_gb", machine.gpu_memory_gb or 80),
                    }
                ),
            )
        )
        if isinstance(found, Layout):
            yield Suggestion(hardware=changes, text=f"{text}: {describe(found)}")


def _changes(machine: Machine, hardware: Hardware) -> Iterator[tuple[dict[str, Any], str]]:
    """Changes to try, nearest first."""
    free = {"placement": "auto", "generator_gpus": None, "nodes": 1}
    if hardware.reference != "auto":
        yield {"reference": "auto"}, "the reference model where the backend has it"
    else:
        yield {"reference": "trainer"}, "the reference model on every trainer"
    if machine.gpus == 0:
        for gpus in (1, 2, 4, 8):
            yield {"gpus": gpus, **free, "gpu_memory_gb": 80.0}, f"{gpus} GPUs of 80 GiB"
    else:
        if hardware.placement != "auto" or hardware.generator_gpus:
            yield {"placement": "auto", "generator_gpus": None}, "another placement"
        if hardware.placement != "transformers":
            alone = {"placement": "transformers", "generator_gpus": None}
            yield alone, "generate without vLLM, more slowly"
        if not machine.has_vllm:
            yield {"placement": "colocate"}, "generate with vLLM, which has to be installed"
        yield {"accept": ["idle_gpus"]}, "leave GPUs idle"
        yield {"accept": ["other_batch"]}, "another batch, which is another algorithm"
        counts = sorted(range(1, 17), key=lambda n: (abs(n - machine.gpus), n))
        for gpus in [n for n in counts if n != machine.gpus][:4]:
            yield {"gpus": gpus, **free}, f"{gpus} GPUs"
        for memory in (float(size) for size in _SIZES_GB if size > machine.gpu_memory_gb):
            yield {"gpu_memory_gb": memory}, f"GPUs of {memory:g} GiB"
            many = {"gpu_memory_gb": memory, "gpus": 8, **free}
            yield many, f"8 GPUs of {memory:g} GiB"
    anything = {"accept": ["idle_gpus", "other_batch"], "gpu_memory_gb": float(_SIZES_GB[-1])}
    yield {**anything, **free, "gpus": 8}, "large GPUs, with any layout that fits them"
