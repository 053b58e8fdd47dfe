"""Losses and gradients by the trainer of ms-swift, on a batch that is given; needs `.envs/swift`.

`python swift_losses.py FOLDER RUN CONFIG --problems FILE` starts the training process of the
backend, and measures where it would train: prompts, masks, cuts, normalisation and the division by
accumulated passes are ms-swift's. It reads `FOLDER/batch.safetensors` (`fixed_batches.py`) and
writes `FOLDER/losses.safetensors`.
"""

import sys
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

PROMPTS = ["Using 3, 5 and 7", "Add", "Numbers: 12, 4. Target: 48. Think", "Why?"]
TEMPERATURE, LOW, HIGH = 0.9, 0.2, 0.28


class Case(NamedTuple):
    """A loss, and what of the batch is in it."""

    loss_type: str
    beta: float = 0.0
    off_policy: bool = False
    """Whether the completions were drawn by another policy, as in later iterations."""
    truncated_masked: bool = False
    passes: int = 1
    """Passes of one optimizer step."""
    updates: int = 1
    """Steps that share the rollouts; the loss is that of the first."""
    reference: str = "near_logps"
    """Log-probabilities of the reference model, by their name in the batch."""

    @property
    def name(self) -> str:
        """Name in the results."""
        return "/".join(map(str, self))


_LOSSES = ("grpo", "dr_grpo", "bnpo", "dapo")
AGREEING = [
    Case(*values)
    for values in product(_LOSSES, (0.0, 0.04), (False, True), (False, True), (1, 4))
    if not (values[0] == "dapo" and values[3])
]
DIFFERENT = [
    *(Case(kind, 0.04, reference="far_logps") for kind in _LOSSES),
    *(
        Case("dapo", beta, off_policy, truncated_masked=True)
        for beta, off_policy in product((0.0, 0.04), (False, True))
    ),
    Case("dapo", truncated_masked=True, passes=4),
    *(Case(kind, updates=2) for kind in _LOSSES),
]


def measure(trainer: Any, folder: Path) -> None:
    """Write loss and gradient of every case."""
    import torch
    from safetensors.torch import load_file, save_file

    batch = load_file(folder / "batch.safetensors")
    trainer.model.train()
    trainer._rollout_samples = lambda inputs: samples(trainer, batch)
    trainer._compute_rewards_per_func = lambda drawn: batch["rewards"][:, None]
    trainer.reward_weights = torch.ones(1)
    trainer.reward_func_names = ["given"]
    trainer._log_rollout = lambda drawn: None
    trainer.num_generations = trainer.args.num_generations = len(batch["rewards"]) // len(PROMPTS)
    trainer.temperature, trainer.scale_rewards = TEMPERATURE, "group"
    trainer.epsilon_low, trainer.epsilon_high = LOW, HIGH
    results: dict[str, Any] = {}
    prepare = trainer._prepare_batch_inputs
    for case in AGREEING + DIFFERENT:
        trainer._prepare_batch_inputs = lambda drawn, case=case: [
            with_given_logps(part, batch, case, place) for place, part in enumerate(prepare(drawn))
        ]
        passes = case.passes
        trainer.loss_type, trainer.beta = case.loss_type, case.beta
        trainer.overlong_filter = case.truncated_masked
        trainer.args.gradient_accumulation_steps = passes
        trainer.current_gradient_accumulation_steps = passes
        trainer.args.steps_per_generation = passes * case.updates
        trainer._step, trainer._buffered_inputs = 0, None
        trainer.model.zero_grad()
        parts = [trainer.training_step(trainer.model, []) for _ in range(passes)]
        results[f"{case.name}/loss"] = torch.stack(parts).sum()
        for name, parameter in trainer.model.named_parameters():
            results[f"{case.name}/gradient/{name}"] = parameter.grad.clone()
    save_file(results, folder / "losses.safetensors")


def samples(trainer: Any, batch: Any) -> list[Any]:
    """The rollouts of the batch, in groups."""
    rows = []
    for ids, mask, place in zip(
        batch["completion_ids"], batch["completion_mask"], range(len(batch["rewards"])), strict=True
    ):
        kept = ids[mask == 1].tolist()
        prompt = PROMPTS[place * len(PROMPTS) // len(batch["rewards"])]
        rows.append(
            {
                "messages": [
                    {"role": "user", "content": prompt},
                    {"role": "assistant", "content": "given"},
                ],
                "response_token_ids": kept,
                "finish_reason": "length" if len(kept) == len(ids) else "stop",
                "add_eos": False,
            }
        )
    return list(trainer.to_samples(rows))


def with_given_logps(part: Any, batch: Any, case: Case, place: int) -> Any:
    """A pass with the log-probabilities of the batch in place of those that were computed."""
    import torch

    found = part["grpo_batch"]
    size = len(batch["rewards"]) // (case.passes * case.updates)
    rows = slice(place * size, (place + 1) * size)
    given = batch["completion_mask"][rows] == 1

    def placed(values: Any) -> Any:
        # Completions stand at other columns, in the same order.
        return torch.zeros(found.completion_mask.shape).masked_scatter(
            found.completion_mask.bool(), values[rows][given]
        )

    if case.off_policy:
        found.old_per_token_logps = placed(batch["old_logps"])
    if case.beta:
        found.ref_per_token_logps = placed(batch[case.reference])
    return part


if __name__ == "__main__":
    from swift.rlhf_trainers.grpo_trainer import GRPOTrainer

    from r1zero.train.backends.swift import entrypoint

    results = Path(sys.argv.pop(1))
    GRPOTrainer.train = lambda self, *_, **__: measure(self, results)
    entrypoint.main()
