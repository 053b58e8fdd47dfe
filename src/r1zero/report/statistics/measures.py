"""Measures of a model on a suite, and of groups of runs that differ in their seed alone.

A measure has one value per problem and sample, or one per problem, so that the problem is the unit
of every interval.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from r1zero.evaluate.metrics import MEANS, ks, majority_at_k, pass_at_k
from r1zero.report.results.inputs import Evaluation, Run, RunResults, SuiteResults
from r1zero.report.statistics.intervals import (
    Interval,
    Outcomes,
    hierarchical_delta,
    hierarchical_mean,
)

_LABELS = {
    "accuracy": "accuracy (%)",
    "lenient_accuracy": "lenient accuracy (%)",
    "greedy_accuracy": "greedy accuracy (%)",
    "format": "format (%)",
    "mean_length": "mean length (tokens)",
    "truncated": "truncated (%)",
    "repetition": "repeated 4-grams (%)",
    "terminated_accuracy": "accuracy of ended (%)",
    "terminated_format": "format of ended (%)",
    "terminated_length": "length of ended (tokens)",
    "terminated_repetition": "repeated in ended (%)",
    "truncated_repetition": "repeated in truncated (%)",
    "step_errors": "wrong steps (%)",
    "attempts": "attempts",
    "by_chance": "random search (%)",
}
BEHAVIOUR = ("format", "mean_length", "truncated", "repetition")
# Means over the completions that ended by themselves, or over those that were cut at the limit:
# an outcome, and whether the completions are the truncated ones.
ENDINGS = {
    "terminated_accuracy": ("correct", False),
    "terminated_format": ("format", False),
    "terminated_length": ("length", False),
    "terminated_repetition": ("repetition", False),
    "truncated_repetition": ("repetition", True),
}
# Of tasks whose thought is a search; the first is a mean over steps.
SEARCHES = ("step_errors", "attempts", "by_chance")
_IN_UNITS = {"mean_length", "terminated_length", "attempts"}


@dataclass(frozen=True)
class Change:
    """A measure of base and trained model, and their difference with its interval."""

    measure: str
    n_seeds: int
    n_problems: int
    n_samples: int
    base: float
    trained: float
    delta: Interval

    @property
    def verdict(self) -> Literal["higher", "lower", "not settled"]:
        """Direction of the change; `not settled` if the interval contains 0."""
        if not self.delta.settled:
            return "not settled"
        return "higher" if self.delta.low > 0 else "lower"


@dataclass(frozen=True)
class Group:
    """Runs that differ only in their seeds: one recipe or variant on one backend.

    Training seeds are nested in bases: a seed on one base has nothing in common with the same seed
    on another. So where there are several bases they are the units of intervals, with the mean
    over the seeds of each (`per_base`).
    """

    runs: tuple[RunResults, ...]

    @property
    def run(self) -> Run:
        """The first run's identity."""
        return self.runs[0].run

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of the runs by dotted key, such as `algorithm.beta`."""
        return self.runs[0].model.flat_settings

    @property
    def seeds(self) -> list[int]:
        """Seeds of the runs."""
        return [result.run.seed for result in self.runs]

    @property
    def units(self) -> int:
        """Units of intervals: bases if there are several, else seeds."""
        bases = {result.run.base_seed for result in self.runs}
        return len(bases) if len(bases) > 1 else len(self.runs)

    @property
    def suites(self) -> list[str]:
        """Suites that every run was measured on."""
        return [
            suite.name
            for suite in self.runs[0].suites
            if all(suite.name in {item.name for item in result.suites} for result in self.runs)
        ]

    def of_suite(self, name: str) -> list[SuiteResults]:
        """Results on a suite, one per seed."""
        return [suite for result in self.runs for suite in result.suites if suite.name == name]

    def measures(self, suite: str) -> list[str]:
        """Names of what was measured on a suite."""
        found = [measures_of(item) for item in self.of_suite(suite)]
        return [name for name in found[0] if all(name in others for others in found)]

    def changes(self, suite: str) -> list[Change]:
        """Every measure of a suite before and after training, over seeds and problems."""
        return [self.change(suite, name) for name in self.measures(suite)]

    def change(self, suite: str, measure: str) -> Change:
        """One measure of a suite before and after training."""
        return change_of(self.of_suite(suite), measure)

    def means(self, suite: str, measure: str) -> dict[int, Interval]:
        """Mean of a measure over seeds and problems by step, where every seed was evaluated."""
        found = self.of_suite(suite)
        steps = set.intersection(*({item.step for item in one.evaluations} for one in found))
        return {
            step: hierarchical_mean(
                per_base(
                    runs_of(found),
                    [
                        values(item, measure)
                        for one in found
                        for item in one.evaluations
                        if item.step == step
                    ],
                )
            )
            for step in sorted(steps)
        }


def per_base(runs: Sequence[Run], outcomes: Sequence[Outcomes]) -> list[Outcomes]:
    """Outcomes of each base, [n_problems, n_samples]: the mean over its seeds.

    A base that differs from others adds its variance to all of its seeds, so the means of bases are
    what is independent (nested random effects; Searle, Casella & McCulloch 1992, chapter 3). Of a
    single base the seeds are left as they are.

    Args:
        runs: The run of each entry of `outcomes`.
        outcomes: Outcomes of runs, each [n_problems, n_samples].

    """
    bases: dict[int, list[Outcomes]] = {}
    for run, values_of_run in zip(runs, outcomes, strict=True):
        bases.setdefault(run.base_seed, []).append(values_of_run)
    if len(bases) < 2:
        return list(outcomes)
    return [np.mean(of_base, axis=0) for of_base in bases.values()]


class Spread(NamedTuple):
    """Spread of an accuracy over bases and the seeds of each, as shares between 0 and 1."""

    bases: int
    seeds: int
    """Most seeds of a base."""
    between: float
    """Standard deviation between bases, beyond what their seeds explain."""
    within: float
    """Standard deviation between the seeds of a base; NaN with one seed of each."""
    share: float
    """Share of the variance of one run that is the base's; NaN with one seed of each."""


def spread_of(group: Group, suite: str, model: Literal["base", "trained"]) -> Spread:
    """Components of the variance of an accuracy (Searle, Casella & McCulloch 1992, chapter 3)."""
    bases: dict[int, list[float]] = {}
    for item in group.of_suite(suite):
        evaluation: Evaluation = getattr(item, model)
        mean = float(values(evaluation, "accuracy").mean())
        bases.setdefault(item.base.run.base_seed, []).append(mean)
    seeds = max(map(len, bases.values()))
    means = float(np.var([np.mean(found) for found in bases.values()], ddof=1))
    if min(map(len, bases.values())) < 2:
        return Spread(len(bases), seeds, means**0.5, nan, nan)
    within = float(np.mean([np.var(found, ddof=1) for found in bases.values()]))
    between = max(means - within / seeds, 0.0)
    whole = between + within
    share = between / whole if whole > 0 else nan
    return Spread(len(bases), seeds, between**0.5, within**0.5, share)


def runs_of(suites: Sequence[SuiteResults]) -> list[Run]:
    """The run of each of some results."""
    return [suite.base.run for suite in suites]


def files_of(groups: Sequence[Group], *, ends_only: bool = False) -> tuple[Path, ...]:
    """Files of all runs; with `ends_only` the first and last evaluation of each suite alone."""
    results = [result for group in groups for result in group.runs]
    if not ends_only:
        return tuple(path for result in results for path in result.files)
    suites = [suite for result in results for suite in result.suites]
    return tuple(item.source for suite in suites for item in (suite.base, suite.trained))


def groups_of(runs: Sequence[RunResults]) -> list[Group]:
    """Group runs by recipe and backend; the order of runs is kept."""
    found: dict[tuple[str, str], list[RunResults]] = {}
    for result in runs:
        found.setdefault((result.run.recipe, result.run.backend), []).append(result)
    return [Group(tuple(members)) for members in found.values()]


def names_of(groups: Sequence[Group]) -> dict[Run, str]:
    """Name each run by its recipe, with the backend if there are several."""
    several = len({group.run.backend for group in groups}) > 1
    return {
        result.run: f"{result.run.recipe} ({result.run.backend})" if several else result.run.recipe
        for group in groups
        for result in group.runs
    }


def change_of(suites: Sequence[SuiteResults], measure: str) -> Change:
    """One measure before and after training, of one suite of runs that differ in their seed."""
    base = [values(suite.base, measure) for suite in suites]
    trained = [values(suite.trained, measure) for suite in suites]
    return Change(
        measure,
        len(suites),
        suites[0].base.n_problems,
        samples_of(suites[0].base, measure),
        float(np.mean([item.mean() for item in base])),
        float(np.mean([item.mean() for item in trained])),
        hierarchical_delta(
            per_base(runs_of(suites), base),
            per_base(runs_of(suites), trained),
            linearised=measure in (*ENDINGS, "step_errors"),
        ),
    )


def measures_of(suite: SuiteResults) -> list[str]:
    """Names of what was measured on a suite, in reading order."""
    larger = [k for k in ks(suite.base.n_samples) if k > 1]
    # A base model may give no answer at all, where the task has votes all the same.
    voted = any(
        vote is not None
        for item in (suite.base, suite.trained)
        for problem in item.problems
        for vote in problem.vote
    )
    greedy = all(item.greedy is not None for item in (suite.base, suite.trained))
    return [
        "accuracy",
        "lenient_accuracy",
        *(["greedy_accuracy"] if greedy else []),
        *(f"pass@{k}" for k in larger),
        *(f"maj@{k}" for k in larger if voted),
        *BEHAVIOUR,
        *(name for name in (*ENDINGS, *SEARCHES) if _measured(suite, name)),
    ]


def _measured(suite: SuiteResults, measure: str) -> bool:
    """Whether base and trained model have the measure, which needs completions of its kind."""
    return all(conditional(item, measure) is not None for item in (suite.base, suite.trained))


def conditional(evaluation: Evaluation, measure: str) -> Outcomes | None:
    """Values of a measure of `ENDINGS` or `SEARCHES`; None if no completion counts for it."""
    if measure in ENDINGS:
        field, of_truncated = ENDINGS[measure]
        truncated = evaluation.outcomes("truncated")
        return ratio_of_means(evaluation, field, truncated if of_truncated else 1 - truncated)
    if not evaluation.problems[0].steps:
        return None
    if measure == "step_errors":
        steps = evaluation.outcomes("steps")
        return _ratio(evaluation.outcomes("wrong_steps") / np.maximum(steps, 1), steps)
    found = evaluation.outcomes(measure)
    return None if np.isnan(found).any() else found


def ratio_of_means(evaluation: Evaluation, field: str, weight: Outcomes) -> Outcomes | None:
    """Mean of a field over some completions, linearised: values [n_problems, 1] with that mean.

    The value of problem i is the ratio plus its first-order influence on it (the delta method;
    Cochran 1977, "Sampling Techniques", section 6.3), since problems differ in how many of their
    completions count.

    Args:
        evaluation: The evaluation.
        field: An outcome of the completions.
        weight: 1 for the completions that count and 0 for others, [n_problems, n_samples].

    Returns:
        None if no completion counts.

    """
    return _ratio(evaluation.outcomes(field), weight)


def _ratio(outcomes: Outcomes, weight: Outcomes) -> Outcomes | None:
    if not weight.any():
        return None
    ratio = float((weight * outcomes).sum() / weight.sum())
    influence = (weight * (outcomes - ratio)).mean(axis=1, keepdims=True) / weight.mean()
    return np.asarray(ratio + influence)


def samples_of(evaluation: Evaluation, measure: str) -> int:
    """Completions of each problem that a measure takes into account."""
    return 1 if measure == "greedy_accuracy" else evaluation.n_samples


def values(evaluation: Evaluation, measure: str) -> Outcomes:
    """Values of a measure, [n_problems, n_samples] or [n_problems, 1], ordered by problem_id."""
    if measure not in evaluation.known:
        evaluation.known[measure] = _values(evaluation, measure)
    return evaluation.known[measure]


def _values(evaluation: Evaluation, measure: str) -> Outcomes:
    if measure in MEANS:
        return evaluation.outcomes(MEANS[measure])
    if measure in (*ENDINGS, *SEARCHES):
        found = conditional(evaluation, measure)
        if found is None:
            raise ValueError(f"{evaluation.source}: no {measure}")
        return found
    if measure == "greedy_accuracy":
        if evaluation.greedy is None:
            raise ValueError(f"{evaluation.source}: no greedy completions")
        return evaluation.greedy
    kind, _, k = measure.partition("@")
    correct = evaluation.outcomes("correct")
    if kind == "pass":
        return pass_at_k(correct, int(k))[:, None]
    return majority_at_k(correct, evaluation.outcomes("vote"), int(k))[:, None]


def label(measure: str) -> str:
    """A measure with its unit, as it is shown."""
    return _LABELS.get(measure, f"{measure} (%)")


def factor(measure: str) -> float:
    """What a value is multiplied by to be shown: 100 for shares."""
    return 1 if measure in _IN_UNITS else 100


def best_k(measures: Sequence[str], kind: Literal["pass", "maj"]) -> str | None:
    """The measure of a kind with the largest k, if there is one."""
    found = [name for name in measures if name.startswith(f"{kind}@")]
    return max(found, key=lambda name: int(name.partition("@")[2])) if found else None
