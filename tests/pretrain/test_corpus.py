"""Batches of traces: no larger than asked for, with loss on completions alone."""

import random
from itertools import islice

import pytest

from r1zero.pretrain.corpus import IGNORED, Batch, batches
from r1zero.pretrain.tokenizer import END, build_tokenizer

TOKENIZER = build_tokenizer(["solve: "])


def pairs(seed: int = 0):
    """Prompts and completions of many lengths."""
    rng = random.Random(seed)
    while True:
        yield f"solve: {'p' * rng.randint(1, 9)}", "c" * rng.randint(1, 90)


def some_batches(tokens: int, count: int = 40, seed: int = 0) -> list[Batch]:
    stream = batches(pairs(), TOKENIZER, tokens=tokens, rng=random.Random(seed))
    return list(islice(stream, count))


@pytest.mark.parametrize("tokens", [110, 500, 3000])
def test_batches_hold_at_most_so_many_tokens(tokens: int) -> None:
    sizes = [batch.input_ids.numel() for batch in some_batches(tokens)]
    assert max(sizes) <= tokens
    # And are well filled: less than that takes a group that the next window cut short.
    assert sorted(sizes)[len(sizes) // 2] > 0.7 * tokens


def test_a_sequence_that_is_longer_comes_alone() -> None:
    assert all(len(batch.input_ids) == 1 for batch in some_batches(1))


def test_loss_falls_on_the_completion_and_its_end_alone() -> None:
    for input_ids, labels in some_batches(500):
        assert input_ids.shape == labels.shape
        for ids, wanted in zip(input_ids, labels, strict=True):
            text = TOKENIZER.decode(ids)
            prompt, completion = text[: text.index("c")], text[text.index("c") :]
            learned = TOKENIZER.decode(wanted[wanted != IGNORED])
            assert learned == completion.partition(END)[0] + END
            # Where there is a label it is the token at that place, not the next one.
            assert (ids[wanted != IGNORED] == wanted[wanted != IGNORED]).all()
            assert (wanted[: len(TOKENIZER(prompt)["input_ids"])] == IGNORED).all()


def test_padding_is_little() -> None:
    batch_list = some_batches(3000)
    filled = sum(int((ids != TOKENIZER.pad_token_id).sum()) for ids, _ in batch_list)
    # Lengths are rounded up to a multiple of 8, of some 40 tokens here.
    assert filled / sum(ids.numel() for ids, _ in batch_list) > 0.85


def test_every_text_is_in_one_batch() -> None:
    numbered = ((f"solve: {i}", f"={i}") for i in range(1024))
    stream = batches(numbered, TOKENIZER, tokens=200, rng=random.Random(0))
    seen: list[int] = []
    while len(seen) < 1024:
        for ids in next(stream).input_ids:
            seen.append(int(TOKENIZER.decode(ids).partition("=")[2].partition(END)[0]))
    assert sorted(seen) == list(range(1024))


def test_a_seed_gives_the_same_batches() -> None:
    first, again, other = (some_batches(500, 5, seed) for seed in (1, 1, 2))
    assert all((a.input_ids == b.input_ids).all() for a, b in zip(first, again, strict=True))
    assert any(
        a.input_ids.shape != b.input_ids.shape or (a.input_ids != b.input_ids).any()
        for a, b in zip(first, other, strict=True)
    )
