"""The project's scores beside those that were published for the same recipe."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from r1zero.core.formatting import number
from r1zero.report.paper.document import Table
from r1zero.report.paper.rendering import rounded
from r1zero.report.paper.text import arrow, delta
from r1zero.report.results.inputs import Run
from r1zero.report.results.published import Published
from r1zero.report.statistics.measures import Change, Group
from r1zero.settings.recipe import PublishedScore


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
                (
                    names[group.run],
                    score.suite,
                    score.metric,
                    f"{there} → {number(score.trained)}",
                    arrow(here) if here else "not measured",
                    delta(here) if here else "–",
                    score.protocol,
                    _protocol(group, score) if here else "–",
                    score.source,
                )
            )
            data.append(
                {
                    "recipe": group.run.recipe,
                    "backend": group.run.backend,
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
    return Table(
        name="published",
        title="Beside what was published",
        caption=(
            "Base → trained in per cent. The protocols differ in the ways that are named: a"
            " difference between the columns is no failure by itself."
        ),
        data=rounded(pl.DataFrame(data)),
        headings=(
            *("recipe", "suite", "metric", "published", "here", "change here [95 % interval]"),
            *("protocol there", "protocol here", "source"),
        ),
        rows=tuple(rows),
        numeric=frozenset({3, 4, 5}),
        files=tuple(dict.fromkeys(files)),
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
