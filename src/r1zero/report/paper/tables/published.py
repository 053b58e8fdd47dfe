"""The project's scores beside those that were published for the same recipe."""

from collections.abc import Sequence
from pathlib import Path

from r1zero.core.formatting import number
from r1zero.report.paper.document import Table
from r1zero.report.paper.text import arrow, delta
from r1zero.report.results.inputs import Run
from r1zero.report.results.published import Published
from r1zero.report.statistics.measures import Change, Group
from r1zero.settings.recipe import PublishedScore

_CHANGE = "change here [95 % interval]"


def published_table(
    groups: Sequence[Group], published: dict[str, Published], names: dict[Run, str]
) -> Table | None:
    """One row per published score, of recipes at the scale that was published.

    Scores of another scale are of other models and problems, and are not compared.
    """
    rows, data = [], []
    files: list[Path] = []
    for group in groups:
        found = published.get(group.run.recipe)
        if found is None or group.run.scale != "paper":
            continue
        files.append(found.path)
        for score in found.scores:
            here = _here(group, score)
            if here is not None:
                files += [item.trained.source for item in group.of_suite(score.suite)]
            there = "–" if score.base is None else number(score.base)
            rows.append(
                {
                    "recipe": names[group.run],
                    "suite": score.suite,
                    "metric": score.metric,
                    "published": f"{there} → {number(score.trained)}",
                    "here": arrow(here) if here else "not measured",
                    _CHANGE: delta(here) if here else "–",
                    "protocol there": score.protocol,
                    "protocol here": _protocol(group, score) if here else "–",
                    "source": score.source,
                }
            )
            data.append(
                {
                    **group.run.setup,
                    "suite": score.suite,
                    "metric": score.metric,
                    "published_base": score.base,
                    "published_trained": score.trained,
                    "base": here.base * 100 if here else None,
                    "trained": here.trained * 100 if here else None,
                    "protocol": score.protocol,
                    "source": score.source,
                }
            )
    if not rows:
        return None
    return Table.of(
        "published",
        "Beside what was published",
        "Base → trained in per cent. The protocols differ in the ways that are named: a difference"
        " between the columns is no failure by itself.",
        rows,
        data,
        numeric=("published", "here", _CHANGE),
        files=files,
    )


def _here(group: Group, score: PublishedScore) -> Change | None:
    """The same measure of this project, if it was taken."""
    if score.suite not in group.suites or score.metric not in group.measures(score.suite):
        return None
    return group.change(score.suite, score.metric)


def _protocol(group: Group, score: PublishedScore) -> str:
    item = group.of_suite(score.suite)[0].base
    tokens = item.decoding.get("max_new_tokens", "?")
    if score.metric == "greedy_accuracy":
        return f"{item.n_problems} problems, greedy, {tokens} tokens"
    how = f"temperature {item.decoding.get('temperature', '?')}"
    return f"{item.n_problems} × {item.n_samples} samples, {how}, {tokens} tokens"
