"""Tables of one recipe on several backends: each run, and whether two backends agree."""

from collections.abc import Iterator, Sequence
from itertools import combinations
from math import isnan, nan, sqrt
from typing import Any

import numpy as np
from scipy import stats

from r1zero.core.formatting import number, plural
from r1zero.report.claims.findings import measured, series
from r1zero.report.claims.literature import backends_agree
from r1zero.report.paper.document import Table, limits
from r1zero.report.paper.text import interval
from r1zero.report.results.inputs import Evaluation, RunResults
from r1zero.report.statistics.equivalence import MOST_SEEDS, POWER, Equivalence, equivalence
from r1zero.report.statistics.intervals import CONFIDENCE, Interval, Outcomes
from r1zero.report.statistics.measures import Group, files_of, values

MARGIN: float = backends_agree.parameters["margin"]
"""Largest difference in accuracy of backends that agree, as a share: that of the claim."""
# Metrics of the trainer are means over the steps since the last evaluation.
_TRAINER = ("kl", "reward")


def on_several_backends(groups: Sequence[Group]) -> dict[str, list[Group]]:
    """Groups by recipe, of the recipes that ran on several backends."""
    found: dict[str, list[Group]] = {}
    for group in groups:
        found.setdefault(group.run.recipe, []).append(group)
    return {recipe: members for recipe, members in found.items() if len(members) > 1}


def runs_table(groups: Sequence[Group]) -> Table:
    """One row per recipe, backend and seed; the raw numbers have one per evaluated step."""
    rows, data = [], []
    for group in groups:
        for result in group.runs:
            curve = list(_curve(group, result))
            data += curve
            last = curve[-1]
            rows.append(
                {
                    "recipe": group.run.recipe,
                    "backend": group.run.backend,
                    "seed": str(result.run.seed),
                    "accuracy (%)": number(last["accuracy"] * 100),
                    "length (tokens)": number(last["length"]),
                    "KL (nats)": _digits(last["kl"]),
                    "reward": _digits(last["reward"]),
                }
            )
    return Table.of(
        "backends_runs",
        "Runs of one recipe on several backends",
        "Held-out accuracy and length at the last step; KL and reward as the trainer logged them,"
        " means over the steps since the evaluation before. The CSV file has every evaluated step.",
        rows,
        data,
        numeric=("seed", "accuracy (%)", "length (tokens)", "KL (nats)", "reward"),
        files=files_of(groups),
    )


def _curve(group: Group, result: RunResults) -> Iterator[dict[str, Any]]:
    """What was measured at each evaluated step of a run."""
    place = group.runs.index(result)
    before = 0
    for item in measured(group)[place].evaluations:
        yield {
            **result.run.setup,
            "seed": result.run.seed,
            "step": item.step,
            "accuracy": float(values(item, "accuracy").mean()),
            "length": float(values(item, "mean_length").mean()),
            **{metric: _since(result, metric, before, item.step) for metric in _TRAINER},
        }
        before = item.step


def _since(result: RunResults, metric: str, before: int, step: int) -> float:
    """Mean of a metric of the trainer after one step and up to another; NaN if there is none."""
    steps, found = series(result, metric)
    chosen = found[(steps > before) & (steps <= step)]
    return float(chosen.mean()) if len(chosen) else nan


def _digits(value: float) -> str:
    return "–" if isnan(value) else f"{value:.3g}"


def backends_table(groups: Sequence[Group]) -> Table | None:
    """One row per recipe and pair of backends; None if no recipe ran on several."""
    rows, data, compared = [], [], list[Group]()
    for recipe, members in on_several_backends(groups).items():
        for first, second in combinations(members, 2):
            if not _comparable(first, second):
                continue
            compared += [first, second]
            backends = first.run.backend, second.run.backend
            found = agreement(first, second)
            means = [float(np.mean(_last(group, "accuracy"))) for group in (first, second)]
            length = _welch(*(_means(group, "mean_length") for group in (first, second)))
            data.append(
                {
                    "recipe": recipe,
                    **dict(zip(("first", "second"), backends, strict=True)),
                    "n_seeds_first": len(first.runs),
                    "n_seeds_second": len(second.runs),
                    **dict(zip(("accuracy_first", "accuracy_second"), means, strict=True)),
                    **limits(found.difference),
                    "margin": found.margin,
                    "p_equivalence": found.p_value,
                    "verdict": found.verdict,
                    "seeds_needed": found.seeds_needed,
                    "between_seeds": _between_seeds(first, second),
                    "length": length.estimate,
                    "length_low": length.low,
                    "length_high": length.high,
                }
            )
            rows.append(
                {
                    "recipe": recipe,
                    "backends": ", ".join(backends),
                    "seeds": f"{len(first.runs)}, {len(second.runs)}",
                    "accuracy (%)": ", ".join(number(mean * 100) for mean in means),
                    "between seeds": _points(_between_seeds(first, second)),
                    "difference [95 % interval]": interval(found.difference, 100),
                    "p": _digits(found.p_value),
                    "length [95 % interval]": interval(length, 1),
                    f"within {MARGIN * 100:g} points?": in_words(found),
                }
            )
    if not rows:
        return None
    return Table.of(
        "backends",
        "Do the backends agree?",
        "Second minus first, over the seeds, on the same problems. They agree if the whole interval"
        f" is within {MARGIN * 100:g} points, and differ if all of it is outside; p is that of the"
        " test that they do not agree (two one-sided tests). Between seeds: standard deviation of"
        f" the accuracy of one backend, in points. The seeds needed would settle with a chance of"
        f" {POWER:.0%} that equal backends agree.",
        rows,
        data,
        numeric=("seeds", "accuracy (%)", "between seeds", "p"),
        files=files_of(compared, ends_only=True),
    )


def _comparable(first: Group, second: Group) -> bool:
    """Whether both were measured on the same problems in the same way."""
    one, other = (measured(group)[0] for group in (first, second))
    return one.name == other.name and one.base.protocol == other.base.protocol


def agreement(first: Group, second: Group) -> Equivalence:
    """Whether two backends bring a recipe to the same held-out accuracy."""
    return equivalence(_last(first, "accuracy"), _last(second, "accuracy"), MARGIN)


def in_words(found: Equivalence) -> str:
    """The verdict; where it is open, how many seeds would settle it."""
    if found.verdict != "not settled":
        return found.verdict
    if isnan(found.difference.low):
        return "not settled: one seed each"
    if found.seeds_needed is None:
        return f"not settled, nor with {MOST_SEEDS} seeds: more problems are needed"
    return f"not settled: some {plural(found.seeds_needed, 'seed')} each are needed"


def _last(group: Group, measure: str) -> list[Outcomes]:
    trained: list[Evaluation] = [suite.trained for suite in measured(group)]
    return [values(item, measure) for item in trained]


def _means(group: Group, measure: str) -> list[float]:
    return [float(outcomes.mean()) for outcomes in _last(group, measure)]


def _between_seeds(*groups: Group) -> float:
    """Standard deviation of the accuracy between seeds, pooled; NaN with one seed each."""
    several = [_means(group, "accuracy") for group in groups if len(group.runs) > 1]
    return sqrt(np.mean([np.var(found, ddof=1) for found in several])) if several else nan


def _points(value: float) -> str:
    return "–" if isnan(value) else number(value * 100)


def _welch(first: Sequence[float], second: Sequence[float]) -> Interval:
    """Second mean minus first over the seeds, by Welch's interval."""
    estimate = float(np.mean(second) - np.mean(first))
    if min(len(first), len(second)) < 2:
        return Interval(estimate, nan, nan)
    test = stats.ttest_ind(second, first, equal_var=False)
    found = test.confidence_interval(CONFIDENCE)
    return Interval(estimate, float(found.low), float(found.high), float(test.df))
