"""Sampling completions with transformers."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from r1zero.settings.recipe import Evaluation

# Completions generated at once: a decode step on a CPU costs little more for many than for few.
_BATCH = {"cpu": 256, "cuda": 64}


class Completion(NamedTuple):
    """One sampled completion."""

    text: str
    length: int
    """Tokens, the end token included."""
    truncated: bool
    """Whether it was cut off at the length limit."""


def generate(
    model_path: Path,
    prompts: Sequence[str],
    decoding: Evaluation,
    *,
    max_new_tokens: int,
    seed: int,
) -> Iterator[list[Completion]]:
    """Sample `decoding.n_samples` completions for each prompt, in order.

    Args:
        model_path: Folder of model and tokenizer.
        prompts: Rendered prompts, used as they are.
        decoding: Temperature (0 is greedy), nucleus, samples per prompt.
        max_new_tokens: Length at which completions are cut off.
        seed: Seed of the sampling.

    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    tokenizer = AutoTokenizer.from_pretrained(model_path, padding_side="left")
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    model = AutoModelForCausalLM.from_pretrained(model_path, dtype=dtype).to(device).eval()
    sampling = (
        {"do_sample": True, "temperature": decoding.temperature, "top_p": decoding.top_p}
        if decoding.temperature > 0
        else {"do_sample": False}
    )
    torch.manual_seed(seed)
    # Sorting would save padding, but then a completion would depend on which others are asked for.
    size = max(1, _BATCH[device] // decoding.n_samples)
    for start in range(0, len(prompts), size):
        group = list(prompts[start : start + size])
        inputs = tokenizer(group, return_tensors="pt", padding=True).to(device)
        with torch.inference_mode():
            output = model.generate(
                input_ids=inputs["input_ids"],
                attention_mask=inputs["attention_mask"],
                max_new_tokens=max_new_tokens,
                num_return_sequences=decoding.n_samples,
                pad_token_id=tokenizer.pad_token_id,
                top_k=0,
                **sampling,
            )
        ids = output[:, inputs["input_ids"].shape[1] :].cpu()
        completions = _decode(ids, model.generation_config.eos_token_id, tokenizer)
        for first in range(0, len(completions), decoding.n_samples):
            yield completions[first : first + decoding.n_samples]


def _decode(ids: torch.Tensor, eos: int | list[int], tokenizer: object) -> list[Completion]:
    """Cut rows of token ids `[n, length]` at their first end token and decode them."""
    ends = torch.isin(ids, torch.tensor(eos))
    truncated = ~ends.any(dim=1)
    lengths = torch.where(truncated, ids.shape[1], ends.int().argmax(dim=1) + 1)
    return [
        Completion(
            tokenizer.decode(row[:length], skip_special_tokens=True),  # type: ignore[attr-defined]
            int(length),
            bool(cut),
        )
        for row, length, cut in zip(ids, lengths, truncated, strict=True)
    ]
