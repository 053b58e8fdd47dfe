"""Posts: in the format of trl-lib/tldr, with summaries of their own facts."""

import re

from r1zero.tasks.tldr.generator import generate, words

PROBLEMS = generate(1000, seed=3)


def test_a_post_has_the_parts_of_the_published_ones() -> None:
    for problem in PROBLEMS:
        assert re.fullmatch(
            r"SUBREDDIT: r/\w+\n\nTITLE: [^\n]+\n\nPOST: [^\n]+\n\nTL;DR:", problem.row.prompt
        )
        assert re.fullmatch(r" \S[^\n]*\S", problem.row.completion)


def test_the_summary_is_the_facts_of_the_post() -> None:
    for problem in PROBLEMS:
        assert problem.row.completion == " " + " ".join(problem.facts)
        for fact in problem.facts:
            assert fact.removeprefix("and ").lower() in problem.row.prompt.lower()


def test_every_word_is_listed() -> None:
    known = words()
    for problem in PROBLEMS:
        text = problem.row.prompt + problem.row.completion
        for piece in sorted(known, key=len, reverse=True):
            text = text.replace(piece, "\0")
        assert not set(text) - set("\0.,?: "), text


def test_posts_are_distinct_and_none_is_excluded() -> None:
    held_out = {problem.key for problem in PROBLEMS}
    assert len(held_out) == len(PROBLEMS)
    assert not held_out & {p.key for p in generate(1000, seed=3, exclude=held_out)}
    assert generate(500, seed=3) == PROBLEMS[:500]
    assert generate(500, seed=4) != PROBLEMS[:500]
