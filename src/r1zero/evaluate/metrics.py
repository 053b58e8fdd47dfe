"""Metrics of an evaluation from the outcomes of its completions. The report uses them, too."""

import re
from collections.abc import Hashable, Sequence
from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Metrics that are the mean of an outcome of the completions.
MEANS = {
    "accuracy": "correct",
    "lenient_accuracy": "lenient",
    "format": "format",
    "mean_length": "length",
    "truncated": "truncated",
    "repetition": "repetition",
}
# Outcomes that only some tasks have: what `tasks.base.Search` counts.
SEARCH = ("steps", "wrong_steps", "attempts", "by_chance")

# `majority_at_k` uses all subsets of the samples up to this number, else this many random ones.
# Random subsets add a standard error of at most 0.5 / sqrt(2000) = 1.1 points to one problem, and
# far less to a mean over problems.
_MOST_SUBSETS = 2000
_SEED = 0

# A run of letters and digits; a character of a script without spaces between words; any other
# character except white space.
_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_UNSPACED}]|(?:(?![{_UNSPACED}])\w)+|[^\w\s]")
_GRAM = 4


def ks(n: int) -> list[int]:
    """Values of k for pass@k and maj@k: 1, 2, 4, ... and `n` itself."""
    powers = [2**i for i in range(n.bit_length())]
    return powers if powers[-1] == n else [*powers, n]


def pass_at_k(correct: ArrayLike, k: int) -> NDArray[np.float64]:
    """Probability that at least one of k samples is correct, for each problem.

    The unbiased estimator of Chen et al. 2021 (arXiv 2107.03374), equation 1: the share of the
    subsets of k of the n samples that contain a correct one.

    Args:
        correct: 0 or 1, `[n_problems, n_samples]`.
        k: Number of samples in a subset, at most `n_samples`.

    """
    outcomes = _outcomes(correct, k)
    n = outcomes.shape[1]
    by_count = [1 - comb(n - right, k) / comb(n, k) for right in range(n + 1)]
    counts: NDArray[np.float64] = np.array(by_count)[outcomes.sum(axis=1).astype(int)]
    return counts


def majority_at_k(correct: ArrayLike, vote: ArrayLike, k: int) -> NDArray[np.float64]:
    """Probability that the most frequent answer of k samples is correct, for each problem.

    Self-consistency (Wang et al. 2022, arXiv 2203.11171), as a mean over subsets of k of the n
    samples: all of them if there are at most 2,000, else 2,000 random ones with a fixed seed, the
    same for every problem. Answers that are equally frequent count equally. Samples without an
    answer do not vote; if no sample votes, the outcome is wrong.

    Args:
        correct: 0 or 1, `[n_problems, n_samples]`.
        vote: Samples with the same number have the same answer; NaN or None means no answer.
            `[n_problems, n_samples]`.
        k: Number of samples that vote, at most `n_samples`.

    """
    outcomes = _outcomes(correct, k)
    answers = np.asarray(vote, dtype=np.float64)
    if answers.shape != outcomes.shape:
        raise ValueError(f"votes of shape {answers.shape}, outcomes of {outcomes.shape}")
    subsets = _subsets(outcomes.shape[1], k)
    # One problem at a time, which bounds the memory.
    return np.array([_majority(o, a, subsets) for o, a in zip(outcomes, answers, strict=True)])


def _majority(
    correct: NDArray[np.float64], vote: NDArray[np.float64], subsets: NDArray[np.intp]
) -> float:
    """The same for one problem: outcomes and votes `[n]`, subsets of the samples `[subsets, k]`."""
    named = np.unique(vote[~np.isnan(vote)])
    if not len(named):
        return 0.0
    ballots = vote[:, None] == named  # [n, answers]
    right = (correct @ ballots) / ballots.sum(axis=0)
    counts = ballots[subsets].sum(axis=1)  # [subsets, answers]
    most = counts.max(axis=1, keepdims=True)
    leading = (counts == most) & (most > 0)
    return float(np.mean((leading @ right) / np.maximum(leading.sum(axis=1), 1)))


def _subsets(n: int, k: int) -> NDArray[np.intp]:
    if comb(n, k) <= _MOST_SUBSETS:
        return np.array(list(combinations(range(n), k)))
    generator = np.random.default_rng(_SEED)
    drawn: NDArray[np.intp] = generator.random((_MOST_SUBSETS, n)).argpartition(k - 1)[:, :k]
    return drawn


def repetition(text: str) -> float:
    """Share of the 4-grams of words that occurred before in the text, from 0 to below 1.

    This is seq-rep-4 of Welleck et al. 2020 (arXiv 1908.04319, section 6.1) on words instead of
    tokens, so that models with different tokenizers can be compared. A word is a run of letters and
    digits, one character of Chinese or Japanese, or any other visible character. A text of fewer
    than four words is split into its characters without white space, since a model that broke down
    may write one endless word.
    """
    words: Sequence[Hashable] = _WORD.findall(text)
    if len(words) < _GRAM:
        words = "".join(text.split())
    total = len(words) - _GRAM + 1
    if total < 1:
        return 0.0
    return 1 - len({tuple(words[i : i + _GRAM]) for i in range(total)}) / total


def _outcomes(correct: ArrayLike, k: int) -> NDArray[np.float64]:
    outcomes = np.asarray(correct, dtype=np.float64)
    if outcomes.ndim != 2:
        raise ValueError(f"outcomes are [n_problems, n_samples], not of shape {outcomes.shape}")
    if not 1 <= k <= outcomes.shape[1]:
        raise ValueError(f"k = {k} with {outcomes.shape[1]} samples per problem")
    return outcomes
