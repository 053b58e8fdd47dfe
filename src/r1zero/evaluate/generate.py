"""Sampling completions with transformers."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from r1zero.sampling import sample
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
    ends: Sequence[str] = (),
) -> Iterator[list[Completion]]:
    """Sample `decoding.n_samples` completions for each prompt, in order.

    Args:
        model_path: Folder of model and tokenizer.
        prompts: Rendered prompts, used as they are.
        decoding: Temperature (0 is greedy), nucleus, samples per prompt.
        max_new_tokens: Length at which completions are cut off.
        seed: Seed of the sampling.
        ends: Tokens that end a completion, besides those the model's files name.

    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    tokenizer = AutoTokenizer.from_pretrained(model_path)
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    model = AutoModelForCausalLM.from_pretrained(model_path, dtype=dtype).to(device).eval()
    eos = model.generation_config.eos_token_id
    ending = set(eos if isinstance(eos, list) else [eos])
    vocabulary = tokenizer.get_vocab()
    ending |= {vocabulary[token] for token in ends if token in vocabulary}
    torch.manual_seed(seed)
    n = decoding.n_samples
    ids = [prompt for prompt in tokenizer(list(prompts))["input_ids"] for _ in range(n)]
    size = max(1, _BATCH[device] // n) * n
    for start in range(0, len(ids), size):
        drawn = sample(
            model,
            ids[start : start + size],
            max_new_tokens=max_new_tokens,
            eos=sorted(ending),
            pad=tokenizer.pad_token_id,
            temperature=decoding.temperature,
            top_p=decoding.top_p,
        )
        completions = [
            Completion(
                tokenizer.decode(tokens, skip_special_tokens=True),
                len(tokens),
                truncated=tokens[-1] not in ending,
            )
            for tokens in drawn
        ]
        for first in range(0, len(completions), n):
            yield completions[first : first + n]
