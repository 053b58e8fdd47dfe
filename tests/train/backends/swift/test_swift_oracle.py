"""Loss and gradient of ms-swift are those of the papers' formulas, and where not, by how much.

`pytest -s` prints the table. The batch is that of `split` and TRL (`fixed_batches.py`).
"""

import os
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from fixed_batches import GROUP, MAX_LENGTH, fixed_batch
from r1zero.core.environments import programs_of
from r1zero.core.files import read_json
from r1zero.train import formulas
from swift_losses import AGREEING, DIFFERENT, HIGH, LOW, PROMPTS, TEMPERATURE, Case
from tiny import ENVIRONMENT, REPOSITORY, make_run

pytestmark = pytest.mark.swift

TOLERANCE = 1e-5
# ms-swift 4.6, grpo_trainer.py: `per_token_kl = torch.clamp(..., min=-10, max=10)`.
CLAMP = 10


class Oracle:
    """The model and the batch in this environment, and what ms-swift found."""

    def __init__(self, model: PreTrainedModel, prompts: list[list[int]]) -> None:
        self.model = model
        self.batch = {name: torch.from_numpy(value) for name, value in fixed_batch().items()}
        self.prompts = [prompt for prompt in prompts for _ in range(GROUP)]
        self.mask = self.batch["completion_mask"]
        self.advantages = formulas.advantages(self.batch["rewards"], GROUP, "group")
        logps = self.logps().detach()
        distance = self.batch["reference_logps"] - logps
        # As far from the policy as a stable run gets, and farther.
        self.batch["near_logps"] = logps + distance.clamp(-2, 2)
        self.batch["far_logps"] = logps + 2 * distance
        self.found: dict[str, Tensor] = {}

    def logps(self) -> Tensor:
        """Log-probabilities `[n, T]` of the completions."""
        rows = []
        for prompt, ids, mask in zip(
            self.prompts, self.batch["completion_ids"], self.mask, strict=True
        ):
            words = torch.tensor([prompt + ids[mask == 1].tolist()])
            logits = self.model(words).logits[0, len(prompt) - 1 : -1] / TEMPERATURE
            drawn = logits.log_softmax(-1).gather(-1, words[0, len(prompt) :, None])[:, 0]
            rows.append(torch.nn.functional.pad(drawn, (0, len(ids) - len(drawn))))
        return torch.stack(rows)

    def by_formula(self, case: Case) -> tuple[Tensor, Tensor]:
        """Loss and gradient of the first step."""
        logps = self.logps()
        kept = self.mask.clone()
        if case.truncated_masked:
            kept[self.mask.sum(dim=1) == MAX_LENGTH] = 0
        size = len(kept) // case.updates
        # bnpo is the mean over passes; the others are one sum, however it is cut.
        parts = case.passes if case.loss_type == "bnpo" else 1
        losses = []
        for rows in torch.arange(size).chunk(parts):
            losses.append(
                formulas.loss(
                    logps[rows],
                    old=self.batch["old_logps"][rows] if case.off_policy else logps[rows].detach(),
                    advantage=self.advantages[rows],
                    mask=kept[rows],
                    reference=self.batch[case.reference][rows],
                    beta=case.beta,
                    low=LOW,
                    high=HIGH,
                    loss_type=case.loss_type,  # type: ignore[arg-type]
                    max_length=MAX_LENGTH,
                )
            )
        loss = torch.stack(losses).mean()
        named = dict(self.model.named_parameters())
        gradients = torch.autograd.grad(loss, list(named.values()))
        return loss.detach(), torch.cat([gradient.flatten() for gradient in gradients])

    def by_swift(self, case: Case) -> tuple[Tensor, Tensor]:
        """The same by ms-swift."""
        gradients = [
            self.found[f"{case.name}/gradient/{name}"].flatten()
            for name, _ in self.model.named_parameters()
        ]
        return self.found[f"{case.name}/loss"], torch.cat(gradients)

    def errors(self, case: Case, factor: float = 1.0) -> list[float]:
        """Relative differences of loss and gradient, ms-swift's times `factor`."""
        wanted, direction = self.by_formula(case)
        found, gradient = self.by_swift(case)
        # On policy the loss is a difference of advantages, so it is measured on their scale.
        scale = max(abs(wanted.item()), self.advantages.abs().mean().item())
        found_errors = [
            abs(found.item() * factor - wanted.item()) / scale,
            ((gradient * factor - direction).norm() / direction.norm()).item(),
        ]
        print(f"{case.name:45} {factor:6.3f} {found_errors[0]:9.1e} {found_errors[1]:9.1e}")
        return found_errors


@pytest.fixture(scope="module")
def oracle(
    environment: Path,
    tiny_config: Path,
    tiny_task: Path,
    tiny_base: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Oracle:
    """What ms-swift's trainer makes of the batch, with the model of a tiny run."""
    run = make_run(
        tmp_path_factory.mktemp("oracle") / "run",
        tiny_config,
        tiny_task,
        tiny_base,
        backend="swift",
    )
    content = read_json(run.file)
    folder = Path(content["base_model"]["path"])
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    )
    oracle = Oracle(model, [tokenizer(prompt)["input_ids"] for prompt in PROMPTS])
    save_file(oracle.batch, run.folder / "batch.safetensors")
    problems = Path(content["problems"])
    train = problems.parent / read_json(problems)["files"]["train"]["path"]
    places = os.pathsep.join(str(REPOSITORY / name) for name in ("src", "tests/helpers"))
    command = [
        *(programs_of(environment) / "python", REPOSITORY / "tests/helpers/swift_losses.py"),
        *(run.folder, run.file, run.plan / "config" / "swift.yaml", "--problems", train),
    ]
    result = subprocess.run(
        command,
        env={**ENVIRONMENT, "PYTHONPATH": places, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-4000:]
    oracle.found = load_file(run.folder / "losses.safetensors")
    return oracle


@pytest.mark.parametrize("case", AGREEING, ids=lambda case: case.name)
def test_the_loss_is_that_of_the_formulas(oracle: Oracle, case: Case) -> None:
    assert max(oracle.errors(case)) < TOLERANCE


def test_every_case_is_another_one(oracle: Oracle) -> None:
    # The cut changes bnpo alone; the truncated and the off-policy change every loss.
    norms = {round(oracle.by_swift(case)[1].norm().item(), 6) for case in AGREEING}
    assert len(norms) > len(AGREEING) // 2


@pytest.mark.parametrize(
    "case", [case for case in DIFFERENT if case.reference == "far_logps"], ids=lambda c: c.name
)
def test_the_kl_estimate_of_a_token_is_clamped(
    oracle: Oracle, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert max(oracle.errors(case)) > 100 * TOLERANCE
    k3 = formulas.k3
    monkeypatch.setattr(formulas, "k3", lambda *logps: k3(*logps).clamp(max=CLAMP))
    assert max(oracle.errors(case)) < TOLERANCE


@pytest.mark.parametrize(
    "case", [case for case in DIFFERENT if case.truncated_masked], ids=lambda c: c.name
)
def test_dapo_counts_the_tokens_of_masked_completions(oracle: Oracle, case: Case) -> None:
    lengths = oracle.mask.sum(dim=1)
    kept = lengths[lengths < MAX_LENGTH].sum() / lengths.sum()
    assert max(oracle.errors(case)) > 100 * TOLERANCE
    assert max(oracle.errors(case, float(1 / kept))) < TOLERANCE


@pytest.mark.parametrize(
    "case", [case for case in DIFFERENT if case.updates > 1], ids=lambda c: c.name
)
def test_of_steps_that_share_rollouts_dapo_alone_is_another(oracle: Oracle, case: Case) -> None:
    lengths = oracle.mask.sum(dim=1)
    share = lengths[: len(lengths) // case.updates].sum() / lengths.sum()
    factor = float(1 / share) if case.loss_type == "dapo" else 1.0
    assert max(oracle.errors(case, factor)) < TOLERANCE
