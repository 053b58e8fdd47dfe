"""The reference model of a server, which computes what TRL's trainer would."""

from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor
from trl import GRPOTrainer
from trl.trainer.utils import add_fused_lm_head, create_model_from_path

from r1zero.reference.protocol import Scorer
from r1zero.train.backends.trl.length_bucketing import bucket_by_length
from r1zero.train.backends.trl.rendering import attention


def load_scorer(
    folder: Path, dtype: str, compute_dtype: str, temperature: float, *, bucketed: bool = True
) -> Scorer:
    """The reference model of a server, on a GPU if there is one.

    Args:
        folder: Folder of the model.
        dtype: Type of the weights.
        compute_dtype: Type of the arithmetic.
        temperature: Number that logits are divided by.
        bucketed: Whether to compute in buckets of similar lengths on a CPU, as trainers do there
            without DeepSpeed.

    """
    on_cpu = not torch.cuda.is_available()
    is_mixed = dtype != compute_dtype
    # A trainer without its `__init__`: the method below needs nothing of it but the accelerator.
    trainer = GRPOTrainer.__new__(GRPOTrainer)
    trainer.accelerator = Accelerator(cpu=on_cpu, mixed_precision="bf16" if is_mixed else "no")
    model = create_model_from_path(
        str(folder), dtype=dtype, attn_implementation=attention(on_cpu=on_cpu)
    )
    add_fused_lm_head(model, temperature=temperature)
    if on_cpu and bucketed:
        bucket_by_length(model, temperature, entropy=False)
    device = trainer.accelerator.device
    model = model.to(device).eval()

    @torch.no_grad()
    def score(input_ids: Tensor, mask: Tensor, kept: int, batch: int) -> Tensor:
        logps: Tensor = trainer._get_per_token_logps_and_entropies(
            model, input_ids.to(device), mask.to(device), kept, batch_size=batch
        )[0]
        return logps

    return score
