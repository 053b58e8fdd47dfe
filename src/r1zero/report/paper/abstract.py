"""The abstract: sentences whose figures are formatted from the results."""

from collections import Counter
from collections.abc import Sequence
from typing import get_args

from r1zero.core.formatting import count, listed, number, plural
from r1zero.report.claims.base import Kind
from r1zero.report.claims.verdicts import Judged, Verdict
from r1zero.report.paper.text import delta, duration
from r1zero.report.results.inputs import Run
from r1zero.report.statistics.measures import Change, Group

# At most this many recipes and suites are told one by one; of more, only counts are given.
_MOST_TOLD = 3


def abstract_of(
    groups: Sequence[Group], verdicts: Sequence[Judged], names: dict[Run, str]
) -> tuple[str, ...]:
    """A few sentences: what was run, the outcome, the verdicts, the cost."""
    return tuple(
        sentence
        for sentence in (_what(groups), *_outcome(groups, names), _judged(verdicts), _cost(groups))
        if sentence
    )


def setups(groups: Sequence[Group]) -> str:
    """Count recipes and variants of recipes: `2 recipes and 1 variant`."""
    names = {group.run.recipe for group in groups}
    variants = sum("-" in name for name in names)
    counts = {"recipe": len(names) - variants, "variant": variants}
    return " and ".join(plural(n, noun) for noun, n in counts.items() if n)


def _what(groups: Sequence[Group]) -> str:
    models = listed(group.runs[0].model.base_model.name for group in groups)
    tasks = listed(group.run.task for group in groups)
    counts = sorted({len(group.runs) for group in groups})
    seeds = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    starts = listed(group.runs[0].model.starts_from for group in groups)
    return (
        f"We trained {models} ({starts}) on {tasks} with {setups(groups)} of GRPO and"
        f" {seeds} seed{'' if counts == [1] else 's'} each at scale {groups[0].run.scale},"
        " and measured the base model and every checkpoint on held-out problems in the same way."
    )


def _outcome(groups: Sequence[Group], names: dict[Run, str]) -> list[str]:
    places = [
        (f"{names[group.run]} on {suite}", group.change(suite, "accuracy"))
        for group in groups
        for suite in group.suites
    ]
    if len(places) <= _MOST_TOLD:
        return [_told(place, change) for place, change in places]
    verdicts = Counter(change.verdict for _, change in places)
    best = max(places, key=lambda item: item[1].delta.estimate)
    worst = min(places, key=lambda item: item[1].delta.estimate)
    return [
        f"Of {len(places)} comparisons of a recipe with its base model, accuracy rose in"
        f" {verdicts['higher']}, fell in {verdicts['lower']}, and is not settled in"
        f" {verdicts['not settled']} at 95 % confidence each.",
        f"The changes run from {delta(worst[1])} points ({worst[0]}) to"
        f" {delta(best[1])} points ({best[0]}).",
    ]


def _told(place: str, change: Change) -> str:
    values = f"from {number(change.base * 100)} % to {number(change.trained * 100)} %"
    verdict = {
        "higher": "Accuracy rose",
        "lower": "Accuracy fell",
        "not settled": "No change of accuracy is settled: it went",
    }[change.verdict]
    return f"{verdict} {values} with {place}, a change of {delta(change)} percentage points."


def _judged(verdicts: Sequence[Judged]) -> str:
    if not verdicts:
        return ""
    return " ".join(
        _judged_of(kind, [item for item in verdicts if item.claim.kind == kind])
        for kind in get_args(Kind)
        if any(item.claim.kind == kind for item in verdicts)
    )


_KINDS: dict[Kind, str] = {
    "empirical": "empirical claim",
    "identity": "claim that is an identity of the method",
    "arithmetic": "claim that is arithmetic on settings",
}


def _judged_of(kind: Kind, verdicts: Sequence[Judged]) -> str:
    found = Counter(item.verdict for item in verdicts)
    parts = [_counted(name, n) for name, n in found.most_common()]
    noun = _KINDS[kind]
    several = noun.replace("claim that is", "claims that are")
    what = noun if len(verdicts) == 1 else several if several != noun else f"{noun}s"
    return f"Of {len(verdicts)} {what}, {listed(parts)}."


def _counted(verdict: Verdict, n: int) -> str:
    if verdict == "not at this scale":
        return f"{n} can be judged at another scale only"
    return f"{n} {'was' if n == 1 else 'were'} {verdict}"


def _cost(groups: Sequence[Group]) -> str:
    runs = [result for group in groups for result in group.runs]
    seconds = sum(result.model.train_seconds for result in runs)
    tokens = sum(result.model.generated_tokens for result in runs)
    return f"Training took {duration(seconds)} in all and generated {count(tokens)} tokens."
