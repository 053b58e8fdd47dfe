"""Metrics against their definitions, by enumeration of all subsets of the samples."""

from collections import Counter
from itertools import combinations
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1zero.evaluate.metrics import ks, majority_at_k, pass_at_k, repetition

# One problem: answers of its samples (None is none), and which answers are right.
answers = st.lists(st.none() | st.integers(0, 3), min_size=1, max_size=7)
problems = answers.flatmap(lambda vote: st.tuples(st.just(vote), st.sets(st.integers(0, 3))))
asked = problems.flatmap(lambda p: st.tuples(st.just(p), st.integers(1, len(p[0]))))


def outcomes(vote: list[int | None], right: set[int]) -> list[int]:
    return [int(answer in right) for answer in vote]


def winner(vote: list[int | None], right: set[int]) -> float:
    """Whether the most frequent answer is right, on average over those that tie."""
    counts = Counter(answer for answer in vote if answer is not None)
    tied = [answer for answer, count in counts.items() if count == max(counts.values())]
    return sum(answer in right for answer in tied) / len(tied) if tied else 0.0


@given(asked)
def test_pass_at_k_is_the_share_of_subsets_with_a_right_sample(
    case: tuple[tuple[list[int | None], set[int]], int],
) -> None:
    (vote, right), k = case
    correct = outcomes(vote, right)
    shares = [max(subset) for subset in combinations(correct, k)]
    assert pass_at_k([correct], k)[0] == pytest.approx(np.mean(shares))


@given(asked)
def test_majority_is_the_share_of_subsets_whose_most_frequent_answer_is_right(
    case: tuple[tuple[list[int | None], set[int]], int],
) -> None:
    (vote, right), k = case
    shares = [winner(list(subset), right) for subset in combinations(vote, k)]
    found = majority_at_k([outcomes(vote, right)], [vote], k)[0]
    assert found == pytest.approx(np.mean(shares))


@given(problems, st.permutations(range(4)), st.randoms(use_true_random=False))
def test_numbers_of_answers_and_order_of_samples_do_not_matter(
    problem: tuple[list[int | None], set[int]], names: list[int], random: object
) -> None:
    vote, right = problem
    renamed = [None if answer is None else names[answer] for answer in vote]
    correct = outcomes(vote, right)
    order = np.random.default_rng(0).permutation(len(vote))
    for k in range(1, len(vote) + 1):
        first = majority_at_k([correct], [vote], k)
        again = majority_at_k([[correct[i] for i in order]], [[renamed[i] for i in order]], k)
        assert again == pytest.approx(first)


def test_of_many_subsets_some_are_drawn_the_same_ones_each_time() -> None:
    # 16 samples of 32 have the right answer, the others all different ones: it loses where it is
    # drawn at most once.
    vote = [[0] * 16 + list(range(1, 17))]
    correct = [[1] * 16 + [0] * 16]
    alone = 16 * comb(16, 3) / comb(32, 4)
    none = comb(16, 4) / comb(32, 4)
    exact = 1 - none - alone * 3 / 4
    found = majority_at_k(correct, vote, 4)[0]
    assert comb(32, 4) > 2000
    assert found == pytest.approx(exact, abs=0.03)
    assert majority_at_k(correct, vote, 4)[0] == found


def test_k_of_one_is_the_mean_and_k_of_all_the_whole_vote() -> None:
    correct = np.array([[1, 0, 0, 1], [0, 0, 0, 0], [1, 1, 1, 0]])
    vote = np.array([[0, 1, 2, 0], [0, 0, 0, 0], [0, 0, 0, 1]])
    assert pass_at_k(correct, 1) == pytest.approx(correct.mean(axis=1))
    assert pass_at_k(correct, 4) == pytest.approx(correct.max(axis=1))
    assert majority_at_k(correct, vote, 1) == pytest.approx(correct.mean(axis=1))
    assert majority_at_k(correct, vote, 4) == pytest.approx([1, 0, 1])


@pytest.mark.parametrize(("n", "wanted"), [(1, [1]), (4, [1, 2, 4]), (6, [1, 2, 4, 6])])
def test_numbers_of_samples_are_powers_of_two_and_all(n: int, wanted: list[int]) -> None:
    assert ks(n) == wanted


@pytest.mark.parametrize("k", [0, 3])
def test_more_samples_than_there_are_is_an_error(k: int) -> None:
    with pytest.raises(ValueError, match=f"{k}.*2"):
        pass_at_k([[1, 0]], k)


def test_votes_of_other_samples_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"\(1, 3\).*\(1, 2\)"):
        majority_at_k([[1, 0]], [[0, 0, 0]], 1)


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("", 0),
        ("one two three four", 0),
        ("one two three four five six", 0),
        # Of five 4-grams the last is the first again.
        ("a b c d a b c d", 1 / 5),
        ("wait " * 8, 4 / 5),
        ("(1+2)*3 (1+2)*3", 4 / 11),
        ("我们先试我们先试", 1 / 5),
        ("!!!!!!!!", 4 / 5),
        ("a" * 8, 4 / 5),
        ("two words", 0),
    ],
)
def test_repetition_is_the_share_of_4_grams_that_occurred_before(text: str, share: float) -> None:
    assert repetition(text) == pytest.approx(share)


@given(st.text(max_size=200))
def test_repetition_of_any_text_is_a_share(text: str) -> None:
    assert 0 <= repetition(text) < 1
