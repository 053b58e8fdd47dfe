"""Endless batches of pre-training texts of similar lengths."""

import random
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

# Sequences that are sorted by length together: many give little padding, few a quick start.
_WINDOW = 1024
IGNORED = -100


class Batch(NamedTuple):
    """Token ids `[n, length]` and targets of the same shape; `IGNORED` marks prompt and padding."""

    input_ids: Tensor
    labels: Tensor


def batches(
    texts: Iterator[tuple[str, str]],
    tokenizer: PreTrainedTokenizerFast,
    *,
    tokens: int,
    rng: random.Random,
) -> Iterator[Batch]:
    """Tokenize (prompt, completion) pairs and group them into batches of at most `tokens` tokens.

    The loss is on the completion only, including its end token.
    """
    while True:
        window = [next(texts) for _ in range(_WINDOW)]
        prompts = tokenizer([prompt for prompt, _ in window])["input_ids"]
        answers = tokenizer([text + tokenizer.eos_token for _, text in window])["input_ids"]
        groups = _group(sorted(zip(prompts, answers, strict=True), key=_length), tokens)
        rng.shuffle(groups)
        for group in groups:
            yield _collate(group, tokenizer.pad_token_id)


Pair = tuple[Sequence[int], Sequence[int]]


def _length(pair: Pair) -> int:
    return len(pair[0]) + len(pair[1])


def _padded(pair: Pair) -> int:
    """Length padded to a multiple of 8: a CPU compiles and caches a kernel for each shape."""
    return -(-_length(pair) // 8) * 8


def _group(pairs: list[Pair], tokens: int) -> list[list[Pair]]:
    """Split pairs, sorted by length, into groups whose padded size is at most `tokens`."""
    groups: list[list[Pair]] = [[]]
    for pair in pairs:
        if groups[-1] and _padded(pair) * (len(groups[-1]) + 1) > tokens:
            groups.append([])
        groups[-1].append(pair)
    return groups


def _collate(pairs: list[Pair], pad: int) -> Batch:
    length = max(map(_padded, pairs))
    input_ids = torch.full((len(pairs), length), pad)
    labels = torch.full((len(pairs), length), IGNORED)
    for i, (prompt, answer) in enumerate(pairs):
        end = len(prompt) + len(answer)
        input_ids[i, :end] = torch.tensor([*prompt, *answer])
        labels[i, len(prompt) : end] = torch.tensor(answer)
    return Batch(input_ids, labels)
