"""Tables of scores: base and trained model, over all seeds and for each seed, and pass@k."""

from collections.abc import Collection, Sequence
from statistics import fmean

from r1zero.core.formatting import number
from r1zero.report.paper.document import Table, limits
from r1zero.report.paper.text import arrow, delta
from r1zero.report.statistics.measures import (
    BEHAVIOUR,
    ENDINGS,
    SEARCHES,
    Change,
    Group,
    best_k,
    change_of,
    conditional,
    factor,
    files_of,
    label,
    measures_of,
    names_of,
    spread_of,
)

_INTERVAL = "change [95 % interval]"


def main_table(groups: Sequence[Group]) -> Table:
    """One row per recipe and suite: accuracy before and after training."""
    names = names_of(groups)
    places = [(group, suite) for group in groups for suite in group.suites]
    found = {
        kind: [_found(group, suite, kind) for group, suite in places]
        for kind in ("lenient_accuracy", "greedy_accuracy", "pass", "maj")
    }
    found = {kind: measures for kind, measures in found.items() if any(measures)}
    ks = {kind: {_k(name) for name in measures} - {""} for kind, measures in found.items()}
    largest = " Of pass@k and maj@k the largest k is shown." if "pass" in found else ""
    rows = [
        {
            "recipe": names[group.run],
            "suite": suite,
            "seeds": str(len(group.runs)),
            **_scored("accuracy (%)", group.change(suite, "accuracy")),
            **{
                _heading(kind, ks[kind]): _of_k(group.change(suite, name), ks[kind])
                if (name := measures[index])
                else "–"
                for kind, measures in found.items()
            },
        }
        for index, (group, suite) in enumerate(places)
    ]
    headings = (_heading(kind, ks[kind]) for kind in found)
    return Table.of(
        "main",
        "Base and trained model on held-out problems",
        "Step 0 → last evaluated step. Accuracy is the mean over sampled completions, taken where"
        " the prompt asks for the answer; lenient accuracy takes it wherever it stands. Changes are"
        " in percentage points, with a 95 % interval paired by problem"
        f" {_covers(groups)}.{largest}",
        rows,
        [
            _long(group, suite, change)
            for group, suite in places
            for change in group.changes(suite)
            if change.measure not in (*BEHAVIOUR, *ENDINGS, *SEARCHES)
        ],
        numeric={"seeds", "accuracy (%)", _INTERVAL, *headings},
        files=files_of(groups, ends_only=True),
    )


def behaviour_table(groups: Sequence[Group]) -> Table:
    """One row per recipe and suite: form and length of completions before and after training."""
    names = names_of(groups)
    places = [
        (group, suite, [group.change(suite, name) for name in BEHAVIOUR])
        for group in groups
        for suite in group.suites
    ]
    return Table.of(
        "behaviour",
        "What the completions look like",
        "Step 0 → last evaluated step, means over sampled completions. Truncated completions hit"
        " the limit of new tokens; repeated 4-grams are those that occurred before in the same"
        " completion. The CSV file has the intervals.",
        [
            {"recipe": names[group.run], "suite": suite}
            | {label(change.measure): arrow(change) for change in changes}
            for group, suite, changes in places
        ],
        [_long(group, suite, change) for group, suite, changes in places for change in changes],
        numeric=set(map(label, BEHAVIOUR)),
        files=files_of(groups, ends_only=True),
    )


def endings_table(groups: Sequence[Group]) -> Table:
    """One row per recipe and suite: completions that ended apart from those cut at the limit."""
    return _conditional_table(
        groups,
        ENDINGS,
        "endings",
        "Completions that ended, and truncated ones",
        "Step 0 → last evaluated step. A completion that ended stopped by itself; a truncated one"
        " hit the limit of new tokens, which makes its format wrong and its length a lower bound."
        " Each column is a mean over the completions of its kind, a dash where there are none.",
    )


def searches_table(groups: Sequence[Group]) -> Table | None:
    """One row per recipe and suite: what the completions calculate; None if nothing counts it."""
    counted = [g for g in groups if any(g.of_suite(s)[0].base.problems[0].steps for s in g.suites)]
    if not counted:
        return None
    return _conditional_table(
        counted,
        SEARCHES,
        "searches",
        "What the completions calculate",
        "Step 0 → last evaluated step. A step is a written equation, wrong if its sides differ. An"
        " attempt takes as many operations as an answer needs. Random search has the attempts of"
        " each completion: it combines random numbers by random operations, remembers nothing, and"
        " knows a right answer when it finds one. Its chance is exact.",
        beside=("accuracy",),
    )


def _conditional_table(
    groups: Sequence[Group],
    measures: Collection[str],
    name: str,
    title: str,
    caption: str,
    beside: tuple[str, ...] = (),
) -> Table:
    names = names_of(groups)
    places = [(group, suite) for group in groups for suite in group.suites]
    return Table.of(
        name,
        title,
        caption,
        [
            {"recipe": names[group.run], "suite": suite}
            | {label(measure): arrow(group.change(suite, measure)) for measure in beside}
            | {label(measure): _ends(group, suite, measure) for measure in measures}
            for group, suite in places
        ],
        [
            _long(group, suite, change)
            for group, suite in places
            for change in group.changes(suite)
            if change.measure in (*measures, *beside)
        ],
        numeric=set(map(label, (*measures, *beside))),
        files=files_of(groups, ends_only=True),
    )


def _ends(group: Group, suite: str, measure: str) -> str:
    """Give `9.1 → 15.0` over the seeds that have such completions; a dash where none has."""
    cells = []
    for model in ("base", "trained"):
        each = (conditional(getattr(item, model), measure) for item in group.of_suite(suite))
        means = [float(found.mean()) for found in each if found is not None]
        cells.append(number(fmean(means) * factor(measure)) if means else "–")
    return " → ".join(cells)


def bases_table(groups: Sequence[Group]) -> Table | None:
    """How much of the spread is the base's; None where no setup was trained on several bases."""
    rows: list[dict[str, str]] = []
    data: list[dict[str, object]] = []
    names = names_of(groups)
    several = [group for group in groups if group.units < len(group.runs)]
    for group in several:
        for suite in group.suites:
            for measure in ("base", "trained"):
                spread = spread_of(group, suite, measure)
                rows.append(
                    {
                        "recipe": names[group.run],
                        "suite": suite,
                        "accuracy of": f"the {measure} model",
                        "bases × seeds": f"{spread.bases} × {spread.seeds}",
                        "between bases (points)": number(100 * spread.between),
                        "within a base (points)": number(100 * spread.within),
                        "share of the base (%)": number(100 * spread.share),
                    }
                )
                data.append(
                    {**group.run.setup, "suite": suite, "model": measure, **spread._asdict()}
                )
    if not rows:
        return None
    return Table.of(
        "bases",
        "How much of the spread is the base's",
        "Standard deviations of the accuracy between bases, and between the seeds of one base, and"
        " the share of the variance that is the base's: random effects, seeds nested in bases, by"
        " the analysis of variance. A part of either is the sampling of the evaluation.",
        rows,
        data,
        numeric=("bases × seeds", *list(rows[0])[4:]),
        files=files_of(several, ends_only=True),
    )


def seeds_table(groups: Sequence[Group]) -> Table:
    """One row per run and suite; the raw data have every measure."""
    names = names_of(groups)
    rows, data = [], []
    for group in groups:
        for result in group.runs:
            for suite in result.suites:
                changes = {name: change_of([suite], name) for name in measures_of(suite)}
                data += [
                    _long(
                        group,
                        suite.name,
                        change,
                        seed=result.run.seed,
                        base_seed=result.run.base_seed,
                    )
                    for change in changes.values()
                ]
                rows.append(
                    {
                        "recipe": names[result.run],
                        "seed": result.run.seeds,
                        "suite": suite.name,
                        "problems × samples": f"{suite.base.n_problems} × {suite.base.n_samples}",
                        "last step": str(suite.trained.step),
                        **_scored("accuracy (%)", changes["accuracy"]),
                    }
                )
    for row in data:
        del row["n_seeds"]
    return Table.of(
        "seeds",
        "Each run by itself",
        "The same comparison for each seed; its intervals cover the choice of problems and the"
        " sampling of completions, not the seed of the training.",
        rows,
        data,
        numeric={"seed", "problems × samples", "last step", "accuracy (%)", _INTERVAL},
        files=files_of(groups, ends_only=True),
    )


def pass_at_k_table(groups: Sequence[Group]) -> Table | None:
    """One row per recipe, suite and k; None if no suite has several samples."""
    names = names_of(groups)
    rows, data = [], []
    for group in groups:
        for suite in group.suites:
            found = [name for name in group.measures(suite) if name.startswith("pass@")]
            for name in ["accuracy", *found] if found else []:
                change = group.change(suite, name)
                k = _k(name) or "1"
                data.append(_long(group, suite, change, k=int(k)) | {"metric": f"pass@{k}"})
                rows.append(
                    {"recipe": names[group.run], "suite": suite, "k": k}
                    | _scored("pass@k (%)", change)
                )
    if not rows:
        return None
    return Table.of(
        "pass_at_k",
        "pass@k of base and trained model",
        "The share of problems of which at least one of k samples is right: the unbiased estimate"
        " of Chen et al. 2021 (arXiv 2107.03374, equation 1).",
        rows,
        data,
        numeric={"k", "pass@k (%)", _INTERVAL},
        files=files_of(groups, ends_only=True),
    )


def _found(group: Group, suite: str, kind: str) -> str | None:
    """Name of the measure of a kind on a suite, if it was measured."""
    measures = group.measures(suite)
    if kind in ("pass", "maj"):
        return best_k(measures, "pass" if kind == "pass" else "maj")
    return kind if kind in measures else None


def _k(measure: str | None) -> str:
    return (measure or "").partition("@")[2]


def _heading(kind: str, ks: set[str]) -> str:
    """Heading of a kind of measure, with its k if all rows have the same k."""
    if not ks:
        return f"{kind.removesuffix('_accuracy')} (%)"
    return f"{kind}@{next(iter(ks)) if len(ks) == 1 else 'k'} (%)"


def _of_k(change: Change, ks: set[str]) -> str:
    """The values of a change, with its k if the rows have different k."""
    return f"{arrow(change)} (k={_k(change.measure)})" if len(ks) > 1 else arrow(change)


def _scored(heading: str, change: Change) -> dict[str, str]:
    """Cells of a change: values, difference, verdict."""
    return {heading: arrow(change), _INTERVAL: delta(change), "verdict": change.verdict}


def _covers(groups: Sequence[Group]) -> str:
    if any(group.units < len(group.runs) for group in groups):
        return "that covers problems, seeds and bases"
    counts = {len(group.runs) for group in groups}
    if counts == {1}:
        return "(it covers problems and sampling, not the training seed: there is one)"
    if 1 in counts:
        return "that covers problems, and seeds where there are several"
    return "that covers problems and seeds"


def _long(group: Group, suite: str, change: Change, **more: int) -> dict[str, object]:
    """A row of raw numbers: shares between 0 and 1, lengths in tokens.

    `base` is step 0 and `trained` the last evaluated step; limits are NaN if there are none.
    """
    return {
        **group.run.setup,
        "suite": suite,
        "metric": change.measure,
        **more,
        "n_seeds": change.n_seeds,
        "n_problems": change.n_problems,
        "n_samples": change.n_samples,
        "base": change.base,
        "trained": change.trained,
        **limits(change.delta),
    }
