"""The losses and gradients of three trainers on one batch, beside the papers' formulas.

`pytest -s` prints the table of docs/backends.md: relative differences from the formulas, and for
each that is no rounding the line of the library that makes it.
"""

import inspect
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch import Tensor
from trl import GRPOTrainer

from oracle_losses import (
    TOLERANCE,
    Batch,
    Case,
    Measured,
    algorithm_of,
    of_formula,
    of_split,
    of_trl,
    trl_trainer,
)
from swift_losses import PROMPTS
from swift_losses import Case as SwiftCase
from swift_oracle import Oracle

pytestmark = pytest.mark.swift

LOSSES = ("grpo", "dr_grpo", "bnpo", "dapo")
SWIFT_FILE = "lib/python*/site-packages/swift/rlhf_trainers/grpo_trainer.py"


class Reason(NamedTuple):
    """Why a backend differs from the formulas: a line of its library."""

    backend: str
    line: str


CLAMP = Reason("swift", "per_token_kl = torch.clamp(torch.exp(safe_ratio) - safe_ratio - 1")
MASKED_TOKENS = Reason("swift", "num_items_in_batch = total_lengths.sum()")
ALL_TOKENS = Reason("swift", "normalizer = grpo_batch.num_items_in_batch /")
SWIFT_PASSES = Reason("swift", "loss = (per_token_loss * completion_mask).sum() / completion_mask")
MEAN_TOKENS = Reason(
    "trl",
    "normalizer * self.current_gradient_accumulation_steps / self.args.steps_per_generation",
)
TRL_PASSES = Reason("trl", "loss = (per_token_loss * mask).sum() / mask.sum().clamp(min=1.0)")


class Line(NamedTuple):
    """A line of the table."""

    loss_type: str
    beta: float
    case: Case
    reference: str = "near_logps"

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """Why backends that have this setting differ in it."""
        found = []
        if self.beta and self.reference == "far_logps":
            found.append(CLAMP)
        if self.loss_type == "dapo" and self.case.truncated_masked:
            found.append(MASKED_TOKENS)
        if self.loss_type == "dapo" and self.case.updates > 1:
            found += [MEAN_TOKENS, ALL_TOKENS]
        if self.loss_type == "bnpo" and self.case.passes > 1:
            found += [TRL_PASSES, SWIFT_PASSES]
        return tuple(found)

    @property
    def words(self) -> str:
        """The case in words."""
        found = {
            "on policy": not self.case.off_policy,
            "later iteration": self.case.off_policy,
            "truncated masked": self.case.truncated_masked,
            "zero variance dropped": self.case.dropped,
            f"{self.case.passes} passes": self.case.passes > 1,
            f"{self.case.updates} steps share rollouts": self.case.updates > 1,
            "policy far from the reference": self.reference == "far_logps",
        }
        return ", ".join(word for word, is_so in found.items() if is_so)


def lines() -> Iterator[Line]:
    """All losses in all cases, then what is known to differ."""
    for kind, beta, *case in product(LOSSES, (0.0, 0.04), *[(False, True)] * 3):
        yield Line(kind, beta, Case(*case))
    for kind in LOSSES:
        yield Line(kind, 0.04, Case(), "far_logps")
        yield Line(kind, 0.0, Case(updates=2))
        yield Line(kind, 0.0, Case(passes=4))


def by_swift(oracle: Oracle, line: Line) -> Measured | None:
    """What ms-swift made of a line; None where the backend refuses it."""
    case = line.case
    if case.dropped:
        return None
    reference = line.reference
    of_swift = SwiftCase(
        line.loss_type,
        line.beta,
        case.off_policy,
        case.truncated_masked,
        case.passes,
        case.updates,
        reference,
    )
    loss, direction = oracle.by_swift(of_swift)
    return Measured(loss.item(), direction)


def place_of(reason: Reason, environment: Path) -> str:
    """File and number of the line in the library that is installed."""
    (swift,) = environment.glob(SWIFT_FILE)
    file = swift if reason.backend == "swift" else Path(inspect.getsourcefile(GRPOTrainer) or "")
    for number, text in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        if reason.line in text:
            return f"{reason.backend} {file.name}:{number}"
    raise AssertionError(f"{file} has no line `{reason.line}`")


def test_three_trainers_beside_the_formulas(
    oracle: Oracle, environment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")  # rollout_func
    batch = Batch([oracle.prompts[place] for place in range(0, len(oracle.prompts), 4)])
    assert len(batch.prompt_ids) == 4 * len(PROMPTS)
    trainers: dict[tuple[str, float], GRPOTrainer] = {}
    print("\n| loss | beta | case | trl | split | swift | line |\n|---|---|---|---|---|---|---|")
    wrong = []
    for line in lines():
        key = (line.loss_type, line.beta)
        if key not in trainers:
            folder = tmp_path / "-".join(map(str, key))
            trainers[key] = trl_trainer(oracle.folder, folder, *key)
        trainer, algorithm = trainers[key], algorithm_of(*key)  # type: ignore[arg-type]
        model = trainer.model
        batch.reference = oracle.batch[line.reference]
        wanted = Measured.of(of_formula(model, batch, line.case, algorithm), model)
        found = {
            "trl": Measured.of(of_trl(trainer, batch, line.case, line.loss_type), model),
            "split": Measured.of(of_split(model, batch, line.case, algorithm), model),
            "swift": by_swift(oracle, line),
        }
        errors = {name: each and each.errors(wanted, batch) for name, each in found.items()}
        cells = [f"{e[0]:.0e}, {e[1]:.0e}" if e else "refused" for e in errors.values()]
        reasons = [reason for reason in line.reasons if errors[reason.backend]]
        places = "; ".join(place_of(reason, environment) for reason in reasons)
        print("|", " | ".join([line.loss_type, f"{line.beta:g}", line.words, *cells, places]), "|")
        differing = {name for name, e in errors.items() if e and max(e) > TOLERANCE}
        if differing != {reason.backend for reason in reasons}:
            wrong.append((line, errors))
    assert not wrong


def test_the_batch_is_the_one_that_swift_got(oracle: Oracle) -> None:
    batch = Batch([oracle.prompts[place] for place in range(0, len(oracle.prompts), 4)])
    rows = [row.prompt_ids for row in batch.in_split(Case())]
    assert rows == oracle.prompts
    logps: Tensor = oracle.logps()
    assert torch.equal(logps != 0, batch.mask == 1)
