"""Log-probabilities of a reference model, in the trainer or on a server of its own."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForCausalLM, PreTrainedModel

from r1zero.reference.protocol import Scorer
from r1zero.train.backends.split.loss import Row, micro_batches, padded, token_logps


def load(folder: Path) -> PreTrainedModel:
    """A model in evaluation mode, in float32 and without gradients but those it is trained for."""
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="sdpa"
    )
    return model.eval()


@torch.no_grad()
def rows_logps(
    model: PreTrainedModel, rows: Sequence[Row], temperature: float, most: int
) -> Iterator[tuple[Row, Tensor]]:
    """Log-probabilities `[T]` of the tokens of each row, in passes of at most `most` rows."""
    for part in micro_batches(rows, most):
        logps, mask, _ = token_logps(model, part, temperature)
        for row, values, here in zip(part, logps, mask, strict=True):
            yield row, values[here]


def load_scorer(folder: Path, dtype: str, compute_dtype: str, temperature: float) -> Scorer:
    """The reference model of a server, which computes what the trainer would, in float32."""
    model = load(folder)

    def score(input_ids: Tensor, mask: Tensor, kept: int, batch: int) -> Tensor:
        rows = [
            Row(ids[:-kept][here[:-kept]].tolist(), ids[-kept:][here[-kept:]].tolist(), 0.0, False)
            for ids, here in zip(input_ids, mask.bool(), strict=True)
        ]
        for row, logps in rows_logps(model, rows, temperature, batch):
            row.reference = logps
        found = padded([row.reference for row in rows])
        assert found is not None
        return torch.nn.functional.pad(found, (0, kept - found.shape[1]))

    return score


def as_request(rows: Sequence[Row]) -> tuple[Tensor, Tensor, int]:
    """Token ids and mask `[n, L]` of rows, and the tokens of the longest completion."""
    prompts = [torch.tensor(row.prompt_ids) for row in rows]
    completions = [torch.tensor(row.completion_ids) for row in rows]
    sides = ((prompts, "left"), (completions, "right"))
    ids = [pad_sequence(each, batch_first=True, padding_side=side) for each, side in sides]
    ones = [
        pad_sequence([torch.ones_like(one) for one in each], batch_first=True, padding_side=side)
        for each, side in sides
    ]
    return torch.cat(ids, dim=1), torch.cat(ones, dim=1), ids[1].shape[1]
