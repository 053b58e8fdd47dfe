"""From a run and a number of GPUs to processes and batches."""

from typing import Literal

from pydantic import Field

from r1zero.errors import UserError
from r1zero.settings.base import Section
from r1zero.settings.run import RunSettings

# Tokens, padding included, in one forward and backward pass. What a pass holds in memory grows with
# them; how a batch is cut into passes changes no gradient.
_TOKENS_PER_PASS = {"cpu": 1 << 15, "gpu": 1 << 14}
PLANNED_GPUS = (0, 1)


class Layout(Section):
    """Who does what, and in what pieces."""

    gpus: int = Field(ge=0)
    """GPUs of the run."""
    placement: Literal["transformers", "colocate"]
    """Who generates: transformers on the CPU, or vLLM on the GPU that also trains."""
    num_processes: int = Field(ge=1)
    """Training processes."""
    per_device_train_batch_size: int = Field(ge=1)
    """Completions in one forward and backward pass of one process."""
    gradient_accumulation_steps: int = Field(ge=1)
    """Passes behind one optimizer step."""
    steps_per_generation: int = Field(ge=1)
    """Passes that one batch of rollouts feeds."""
    completions_per_step: int = Field(ge=1)
    """Completions behind one optimizer step: the recipe's, whatever the layout."""
    dtype: Literal["float32", "bfloat16"]
    """Type of the weights."""
    reasons: list[str]
    """Why it is laid out so, for people."""


def lay_out(run: RunSettings, gpus: int) -> Layout:
    """Lay a run out on `gpus` GPUs of this machine.

    Raises:
        UserError: More GPUs than can be planned for, or none for a published model.

    """
    if gpus not in PLANNED_GPUS:
        raise UserError(
            f"no layout for {gpus} GPUs yet", where="hardware.gpus", hint="0 or 1 can be planned"
        )
    if gpus == 0 and not run.made_here:
        raise UserError(
            f"{run.model} is too large to train on a CPU",
            where="hardware.gpus",
            hint="use a machine with a GPU, or scale: mini",
        )
    device = "gpu" if gpus else "cpu"
    completions = run.completions_per_step
    tokens = run.sizes.max_prompt_length + run.sizes.max_completion_length
    fitting = max(1, _TOKENS_PER_PASS[device] // tokens)
    per_pass = max(n for n in range(1, min(fitting, completions) + 1) if completions % n == 0)
    passes = completions // per_pass
    reasons = [
        f"{run.sizes.prompts_per_step} problems x {run.algorithm.num_generations} completions = "
        f"{completions} completions per step",
        f"{per_pass} of them in a pass: the largest divisor of {completions} with at most "
        f"{_TOKENS_PER_PASS[device]:,} tokens of {tokens} a completion",
        f"{passes} x {per_pass} = {completions}, all from one batch of rollouts",
    ]
    if gpus:
        reasons.append("one GPU: vLLM shares it with the trainer and sleeps while it trains")
    else:
        reasons.append("no GPU: transformers generates, weights are float32")
    return Layout(
        gpus=gpus,
        placement="colocate" if gpus else "transformers",
        num_processes=1,
        per_device_train_batch_size=per_pass,
        gradient_accumulation_steps=passes,
        steps_per_generation=passes,
        completions_per_step=completions,
        dtype="bfloat16" if gpus and run.dtype == "bfloat16" else "float32",
        reasons=reasons,
    )
