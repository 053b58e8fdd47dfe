"""The project's scores beside those that were published for the same recipe."""

from collections.abc import Sequence
from pathlib import Path

from r1zero.core.formatting import number, signed
from r1zero.evaluate.metrics import ks
from r1zero.report.paper.document import Table
from r1zero.report.paper.text import arrow, delta
from r1zero.report.results.inputs import Evaluation, ReleasedResults, Run
from r1zero.report.results.published import Published, published_of_model
from r1zero.report.statistics.intervals import hierarchical_mean
from r1zero.report.statistics.measures import Change, Group, values
from r1zero.settings.load import CONFIG_FOLDER
from r1zero.settings.recipe import PublishedScore

_HERE, _DIFFERENCE = "here [95 % interval]", "here − published [95 % interval]"
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


def released_table(
    released: Sequence[ReleasedResults], folder: Path = CONFIG_FOLDER
) -> Table | None:
    """One row per score of a released model: the published ones beside ours.

    A suite for which no score was published has a row with its accuracy.

    Args:
        released: The models and their evaluations.
        folder: Folder of the recipes, which state the published scores.

    """
    rows, data = [], []
    files: list[Path] = []
    for result in released:
        recipe, name = result.model.run.recipe, result.model.base_model.name
        files += [result.model.source, folder / "recipes" / f"{recipe}.yaml"]
        published = published_of_model(name, recipe, folder)
        for item in result.evaluations:
            files.append(item.source)
            scores = [score for score in published if score.suite == item.suite]
            measured: list[PublishedScore | None] = [
                score for score in scores if _has(item, score.metric)
            ]
            for score in measured or [None]:
                metric = score.metric if score else "accuracy"
                found = hierarchical_mean([values(item, metric)])
                low, high = found.low * 100, found.high * 100
                here = found.estimate * 100
                there = score.trained if score else None
                rows.append(
                    {
                        "model": name,
                        "recipe": recipe,
                        "suite": item.suite,
                        "metric": metric,
                        "published": "–" if there is None else number(there),
                        _HERE: f"{number(here)} [{number(low)}, {number(high)}]",
                        _DIFFERENCE: "–"
                        if there is None
                        else f"{signed(here - there)}"
                        f" [{signed(low - there)}, {signed(high - there)}]",
                        "protocol there": f"{score.protocol} ({score.source})" if score else "–",
                        "protocol here": f"{_taken(item, metric)}, {item.decoding['prompt']}",
                    }
                )
                data.append(
                    {
                        "model": name,
                        "recipe": recipe,
                        "suite": item.suite,
                        "metric": metric,
                        "published": there,
                        "here": here,
                        "low": low,
                        "high": high,
                        "difference": None if there is None else here - there,
                        "n_problems": item.n_problems,
                        "n_samples": item.n_samples,
                        "protocol": score.protocol if score else None,
                        "source": score.source if score else None,
                    }
                )
    if not rows:
        return None
    return Table.of(
        "released",
        "Released models",
        "In per cent, scored here as the base models are, with the prompt of the recipe that"
        " published them. Intervals are over the problems of the suite and do not cover the"
        " published score, which is taken as it stands. Where the protocols differ, so may the"
        " scores.",
        rows,
        data,
        numeric=("published", _HERE, _DIFFERENCE),
        files=files,
    )


def _has(item: Evaluation, metric: str) -> bool:
    """Whether an evaluation measured a metric of `PublishedScore`."""
    if metric == "greedy_accuracy":
        return item.greedy is not None
    _, at, k = metric.partition("@")
    return not at or int(k) in ks(item.n_samples)


def _protocol(group: Group, score: PublishedScore) -> str:
    return _taken(group.of_suite(score.suite)[0].base, score.metric)


def _taken(item: Evaluation, metric: str) -> str:
    """How a metric was measured here."""
    tokens = item.decoding.get("max_new_tokens", "?")
    if metric == "greedy_accuracy":
        return f"{item.n_problems} problems, greedy, {tokens} tokens"
    how = f"temperature {item.decoding.get('temperature', '?')}"
    return f"{item.n_problems} × {item.n_samples} samples, {how}, {tokens} tokens"
