"""Summaries: facts of the post in order, in lengths from a word to a line."""

import random
from collections import Counter

from r1zero.tasks.tldr.generator import generate
from r1zero.tasks.tldr.traces import summarise

POSTS = generate(3000, seed=5)


def test_a_summary_is_some_of_the_facts_in_order() -> None:
    rng = random.Random(0)
    counts: Counter[int] = Counter()
    for post in POSTS:
        left = summarise(post, rng)
        kept = 0
        for fact in post.facts:
            if left.startswith(f" {fact}"):
                left = left.removeprefix(f" {fact}")
                kept += 1
        assert left == ""
        counts[kept] += 1
    # Each number of facts is about as frequent; none at all becomes one.
    assert all(counts[kept] / len(POSTS) > 0.12 for kept in range(1, 6))


def test_lengths_lie_on_both_sides_of_the_one_that_is_rewarded() -> None:
    rng = random.Random(0)
    lengths = [len(summarise(post, rng)) for post in POSTS]
    assert min(lengths) < 10
    assert max(lengths) > 60
    assert 0.05 < sum(18 <= length <= 22 for length in lengths) / len(lengths) < 0.2
