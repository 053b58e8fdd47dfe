"""What the results cannot show, derived from the results themselves."""

from collections.abc import Sequence

import numpy as np

from r1zero.core.formatting import listed, number, plural
from r1zero.report.claims.verdicts import Judged
from r1zero.report.results.inputs import Run
from r1zero.report.statistics.measures import Group

# Share of completions at the length limit from which it is named.
_MANY_TRUNCATED = 0.05


def limits_of(
    groups: Sequence[Group], verdicts: Sequence[Judged], names: dict[Run, str]
) -> tuple[str, ...]:
    """One paragraph per limit."""
    found = [
        _seeds(groups, names),
        _scale(groups),
        _backends(groups),
        _problems(groups),
        _truncated(groups, names),
        _diverged(groups, names),
        _untested(verdicts),
        _commits(groups),
    ]
    return tuple(text for text in found if text)


def _seeds(groups: Sequence[Group], names: dict[Run, str]) -> str:
    single = [names[group.run] for group in groups if len(group.runs) == 1]
    few = sorted({len(group.runs) for group in groups if 1 < len(group.runs) < 5})
    text = ""
    if single:
        text = (
            f"{listed(single)}: one seed. The intervals cover problems and the sampling of"
            " completions; another seed of the training may end elsewhere."
        )
    if few:
        counts = listed(few)
        text += f"{' ' if text else ''}With {counts} seeds the spread between seeds is itself"
        text += " known only roughly, and the intervals are wide for it."
    return text


def _scale(groups: Sequence[Group]) -> str:
    scale = groups[0].run.scale
    if scale == "paper":
        return ""
    models = listed(group.runs[0].model.base_model.name for group in groups)
    return (
        f"Scale {scale}: the algorithms are those of the recipes, the models ({models}) and"
        " problems are small ones made for this scale. That a claim holds here says that the"
        " mechanism works at this size, not that it holds for large language models."
        f" {_bases(groups)} The models were made so that there is something to gain, so a gain"
        " tests the pipeline."
    )


def _bases(groups: Sequence[Group]) -> str:
    """Whether intervals cover other bases."""
    several = [group.units < len(group.runs) for group in groups]
    if all(several):
        return (
            "Each setup was trained on several bases, and intervals cover what others would learn."
        )
    who = "All seeds of a setup" if not any(several) else "Of some setups all seeds"
    return (
        f"{who} start from the same model, and no interval covers what others would have learned."
    )


def _backends(groups: Sequence[Group]) -> str:
    backends = {group.run.backend for group in groups}
    if len(backends) > 1:
        return ""
    return f"One backend, {listed(backends)}: a fault that is its own would not show."


def _problems(groups: Sequence[Group]) -> str:
    widest = 0.0
    where = ""
    for group in groups:
        for suite in group.suites:
            change = group.change(suite, "accuracy")
            half = (change.delta.high - change.delta.low) / 2
            if half > widest:
                widest = half
                where = f"{suite} ({plural(change.n_problems, 'problem')})"
    if not where:
        return ""
    return (
        f"The widest interval of a change of accuracy is ±{number(widest * 100)} points, on"
        f" {where}; differences smaller than an interval are not settled by these data."
    )


def _truncated(groups: Sequence[Group], names: dict[Run, str]) -> str:
    cut = [
        f"{names[group.run]} on {suite} ({number(change.trained * 100)} %)"
        for group in groups
        for suite in group.suites
        if (change := group.change(suite, "truncated")).trained >= _MANY_TRUNCATED
    ]
    if not cut:
        return ""
    return (
        f"After training, many completions hit the length limit: {listed(cut)}. Their lengths are"
        f" lower bounds. {_found_in_truncated(groups)}"
    )


def _found_in_truncated(groups: Sequence[Group]) -> str:
    """What the truncated completions hold: right answers anywhere, and repetition."""
    right, repeated = [], []
    for group in groups:
        for suite in group.suites:
            for item in (found.trained for found in group.of_suite(suite)):
                cut = item.outcomes("truncated") > 0
                right.append(item.outcomes("lenient")[cut])
                repeated.append(item.outcomes("repetition")[cut])
    hits = np.concatenate(right)
    repetition = float(np.concatenate(repeated).mean()) * 100
    return (
        f"{int(hits.sum())} of {plural(len(hits), 'truncated completion')} hold a right answer, and"
        f" {number(repetition)} % of their 4-grams are repetitions."
    )


def _diverged(groups: Sequence[Group], names: dict[Run, str]) -> str:
    found = [
        f"{names[group.run]}, seed {result.run.seed} ({result.diverged})"
        for group in groups
        for result in group.runs
        if result.diverged
    ]
    if not found:
        return ""
    return f"Trainings diverged: {listed(found)}. Their curves show the other steps alone."


def _untested(verdicts: Sequence[Judged]) -> str:
    untested = sum(item.verdict in ("not tested", "not at this scale") for item in verdicts)
    if not untested:
        return ""
    return (
        f"{untested} of {plural(len(verdicts), 'claim')} were not tested; the table of claims says"
        " what it would take."
    )


def _commits(groups: Sequence[Group]) -> str:
    found = {result.model.provenance.commit for group in groups for result in group.runs}
    texts = []
    if len(found) > 1:
        texts.append(f"The runs were made by {len(found)} commits.")
    if any(commit.endswith("-dirty") or commit == "unknown" for commit in found):
        texts.append("Some were made by code that no commit holds.")
    return " ".join(texts)
