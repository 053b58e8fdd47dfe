"""What ms-swift's trainer makes of a fixed batch, beside the papers' formulas."""

import os
import subprocess
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from fixed_batches import GROUP, MAX_LENGTH, fixed_batch
from r1zero.core.environments import programs_of
from r1zero.core.files import read_json
from r1zero.train import formulas
from swift_losses import HIGH, LOW, PROMPTS, TEMPERATURE, Case
from tiny import ENVIRONMENT, REPOSITORY, Run


class Oracle:
    """The model and the batch in this environment, and what ms-swift found."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager"
        )
        prompts = [tokenizer(prompt)["input_ids"] for prompt in PROMPTS]
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

    def measure(self, run: Run, environment: Path) -> None:
        """Let ms-swift measure the batch in its environment, where a run would train."""
        problems = Path(read_json(run.file)["problems"])
        train = problems.parent / read_json(problems)["files"]["train"]["path"]
        save_file(self.batch, run.folder / "batch.safetensors")
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
        self.found = load_file(run.folder / "losses.safetensors")

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
