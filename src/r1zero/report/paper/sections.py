"""The sections of the paper: text, tables and figures in order."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from r1zero.core.formatting import listed, plural
from r1zero.report.claims.verdicts import Judged
from r1zero.report.paper import figures
from r1zero.report.paper.abstract import abstract_of, setups
from r1zero.report.paper.document import Contents, Figure, Part, Table
from r1zero.report.paper.figure_data import smoothing
from r1zero.report.paper.limits import limits_of
from r1zero.report.paper.samples import RULE, samples_of
from r1zero.report.paper.tables import scores
from r1zero.report.paper.tables.agreement import (
    backends_table,
    on_several_backends,
    runs_table,
)
from r1zero.report.paper.tables.claims import claims_table, needs_table
from r1zero.report.paper.tables.comparisons import (
    Ablation,
    ablations_of,
    ablations_table,
)
from r1zero.report.paper.tables.provenance import environments_table, files_table, provenance_table
from r1zero.report.paper.tables.published import published_table
from r1zero.report.paper.tables.setup import cost_table, protocol_table, recipes_table
from r1zero.report.paper.text import setting
from r1zero.report.paper.weight_sync import weight_sync
from r1zero.report.results.inputs import Run, RunResults
from r1zero.report.results.published import Published
from r1zero.report.statistics.measures import Group, files_of, groups_of, names_of

_RANDOM_SEARCH = (
    " Dashed: random search with as many attempts as the held-out completions of the step make."
)


def contents(
    runs: Sequence[RunResults],
    verdicts: Sequence[Judged],
    published: Mapping[str, Published] | None = None,
    files: Sequence[Path] = (),
    released: Table | None = None,
) -> Contents:
    """Make a report.

    Args:
        runs: Results, as `load` returns them.
        verdicts: Verdicts on the claims, judged on these runs.
        published: Published scores by recipe.
        files: Every file that was read, for the appendix.
        released: Scores of released models beside the published ones.

    """
    groups = groups_of(runs)
    names = names_of(groups)
    ablations = ablations_of(groups)
    parts = [
        _setup(groups, names),
        _results(groups, names),
        _curves(_without_arms(groups, ablations), names),
        _pass_at_k(groups, names),
        _ablations(ablations),
        _backends(groups),
        weight_sync(groups, names),
        _claims(verdicts),
        _published(groups, dict(published or {}), names),
        _released(released),
        Part("cost", "Cost", (), (cost_table(runs, names),)),
        _samples(groups, names),
        Part("limits", "Limits", limits_of(groups, verdicts, names)),
        _provenance(runs, names, files),
    ]
    scale = groups[0].run.scale
    recipes = list(dict.fromkeys(group.run.recipe for group in groups))
    subject = recipes[0] if len(recipes) == 1 else setups(groups)
    return Contents(
        title=f"R1-Zero replication: {subject} at scale {scale}{_from_instruct(groups)}",
        abstract=abstract_of(groups, verdicts, names),
        parts=tuple(part for part in parts if part is not None),
    )


def _from_instruct(groups: Sequence[Group]) -> str:
    """What the title says of instruction-tuned models, from which R1-Zero does not start."""
    starts = {group.runs[0].model.starts_from for group in groups}
    if "an instruction-tuned model" not in starts:
        return ""
    return ", from an instruction-tuned model" if len(starts) == 1 else ", some from such models"


def _how_bases_were_made(groups: Sequence[Group]) -> tuple[str, ...]:
    """How mini bases were made, if there are any."""
    bases = [g.runs[0].model for g in groups if g.runs[0].model.starts_from == "a mini base"]
    if not bases:
        return ()
    return (
        f"{listed(model.base_model.name for model in bases)}: no language model, but a small"
        " transformer made for this scale. It was pre-trained, supervised, on written solutions of"
        " the same task in the recipes' prompts, in which choices are made at random, on purpose:"
        " it knows format and arithmetic and chooses badly, which leaves reinforcement learning"
        " something to gain. Held-out problems do not occur in its solutions.",
    )


def _setup(groups: Sequence[Group], names: dict[Run, str]) -> Part:
    runs = sum(len(group.runs) for group in groups)
    tasks = listed(group.run.task for group in groups)
    return Part(
        "setup",
        "Setup",
        (
            f"{plural(runs, 'run')} of {setups(groups)} on {tasks}, trained with"
            f" {listed(group.run.backend for group in groups)}. A recipe is a published GRPO setup,"
            " a variant differs from one in what its name says; a scale changes their sizes and"
            " never the algorithm.",
            "The base model (step 0) and every checkpoint are measured in the same way: the same"
            " template, problems, decoding and number of samples. The grader is that of the reward"
            " in training; accuracy is its strict verdict, also where a reward pays the lenient"
            " one.",
            *_how_bases_were_made(groups),
        ),
        (recipes_table(groups, names), protocol_table(groups, names)),
    )


def _by_task(groups: Sequence[Group]) -> dict[str, list[Group]]:
    tasks = dict.fromkeys(group.run.task for group in groups)
    return {task: [group for group in groups if group.run.task == task] for task in tasks}


def _results(groups: Sequence[Group], names: dict[Run, str]) -> Part:
    places = sum(len(group.suites) for group in groups)
    searches, bases = scores.searches_table(groups), scores.bases_table(groups)
    figure = Figure(
        name="changes",
        title="Change of accuracy",
        caption=(
            "Trained minus base model on held-out problems, in percentage points, with the 95 %"
            " intervals of the table."
        ),
        chart=figures.changes(groups, names),
        files=files_of(groups),
    )
    return Part(
        "results",
        "Main result",
        (
            "An interval that contains 0 settles nothing: the verdict then says so, whatever the"
            " estimate is.",
        ),
        (
            scores.main_table(groups),
            scores.behaviour_table(groups),
            scores.endings_table(groups),
            *(table for table in (searches, bases) if table),
        ),
        (figure,) if places > 1 else (),
    )


def _curves(groups: Sequence[Group], names: dict[Run, str]) -> Part:
    found = []
    for task, members in _by_task(groups).items():
        window = smoothing(members)
        searched = figures.has_random_search(members)
        smoothed = f", as moving means over {window} logged steps" if window > 1 else ""
        several = any(len(group.runs) > 1 for group in members)
        found += [
            Figure(
                name=f"learning_curve_{task}",
                title=f"Learning curves, {task}",
                caption=(
                    "Accuracy and completion length on held-out problems, with 95 % intervals over"
                    f" {'seeds and problems' if several else 'problems'}; step 0 is the base model."
                    f"{' Thin lines: the seeds.' if several else ''}"
                    f" Light lines: the completions sampled in training{smoothed}."
                    f"{_RANDOM_SEARCH if searched else ''}"
                ),
                chart=figures.learning_curve(members, names),
                files=files_of(members),
            ),
            Figure(
                name=f"training_{task}",
                title=f"Training, {task}",
                caption=(
                    "Logged by the trainer: means over the completions of each optimizer step"
                    f"{'; bands from the lowest to the highest seed' if several else ''}."
                ),
                chart=figures.training(members, names),
                files=tuple(result.model.metrics for group in members for result in group.runs),
            ),
        ]
    return Part(
        "curves",
        "Learning curves",
        (
            "What the trainer logs are completions of training problems, sampled as the recipe"
            " samples. They are no measure of a model: that is held-out accuracy."
            f"{_sampled_otherwise(groups, names)}",
        ),
        figures=tuple(found),
    )


def _sampled_otherwise(groups: Sequence[Group], names: dict[Run, str]) -> str:
    """Where training and evaluation sample at different temperatures."""
    found = []
    for group in groups:
        training = group.settings.get("algorithm.temperature")
        measured = {
            item.base.decoding.get("temperature") for result in group.runs for item in result.suites
        }
        if training is not None and measured != {training}:
            evaluation = listed(setting(value) for value in measured)
            found.append(f"{names[group.run]} {setting(training)} (held-out: {evaluation})")
    if not found:
        return ""
    return f" Their temperature is another than that of the evaluation: {listed(found)}."


def _pass_at_k(groups: Sequence[Group], names: dict[Run, str]) -> Part | None:
    table = scores.pass_at_k_table(groups)
    if table is None:
        return None
    text = (
        "A gain at k = 1 that shrinks with k says that the training made answers likelier which the"
        " base model could find already."
    )
    found = [
        Figure(
            name=f"pass_at_k_{task}",
            title=f"pass@k, {task}",
            caption="Base (dashed) and trained model, with 95 % intervals.",
            chart=chart,
            files=files_of(members),
        )
        for task, members in _by_task(groups).items()
        if (chart := figures.pass_at_k(members, names)) is not None
    ]
    return Part("pass-at-k", "pass@k", (text,), (table,), tuple(found))


def _ablations(found: Sequence[Ablation]) -> Part:
    if not found:
        text = "No two recipes differ in one or two settings alone: no ablation was run."
        return Part("ablations", "Ablations", (text,))
    text = "The arms of an ablation were found by their settings, which differ in what is named."
    drawn = []
    for ablation in found:
        arms, recipe = (ablation.reference, *ablation.arms), ablation.reference.run.recipe
        drawn.append(
            Figure(
                name=f"ablation_{recipe}",
                title=f"Variants of {recipe}",
                caption="Learning curves of the arms, drawn as those above.",
                chart=figures.learning_curve(arms, _names_of_arms(ablation)),
                files=files_of(arms),
            )
        )
    return Part("ablations", "Ablations", (text,), (ablations_table(found),), tuple(drawn))


def _backends(groups: Sequence[Group]) -> Part:
    title = "Agreement of backends"
    compared = on_several_backends(groups)
    if not compared:
        backends = listed(group.run.backend for group in groups)
        text = f"Every recipe was run on one backend ({backends}): agreement was not tested."
        return Part("backends", title, (text,))
    found = [group for members in compared.values() for group in members]
    tables = [table for table in (backends_table(found), runs_table(found)) if table]
    text = "The same recipe, trained by different programs, measured on the same problems."
    return Part(
        "backends",
        title,
        (text,),
        tuple(tables),
        tuple(
            Figure(
                name=f"backends_{recipe}",
                title=f"{recipe} on several backends",
                caption="Lines are means over the seeds. Bands of held-out accuracy and length are"
                " 95 % intervals; those of KL and reward, which the trainer logged, reach from the"
                " lowest to the highest seed.",
                chart=figures.agreement(members),
                files=files_of(members),
            )
            for recipe, members in compared.items()
        ),
    )


def _claims(verdicts: Sequence[Judged]) -> Part:
    text = (
        "What the literature asserts, judged on these runs. Reproduced and contradicted are said"
        " only where the whole interval says so, and of more than one training seed. Nothing is"
        f" corrected for the number of claims, which is {len(verdicts)}."
    )
    if not verdicts:
        return Part("claims", "Claims", ("No claims were judged.",))
    needs = needs_table(verdicts)
    tables = (claims_table(verdicts), *([needs] if needs else []))
    return Part("claims", "Claims", (text,), tables)


def _published(
    groups: Sequence[Group], published: dict[str, Published], names: dict[Run, str]
) -> Part | None:
    table = published_table(groups, published, names)
    if table is not None:
        text = "Published figures were measured by others, in the ways that are named."
        return Part("published", "Published figures", (text,), (table,))
    if not published:
        return None
    text = (
        f"Scores were published for {listed(published)}, of other models and problems than those of"
        f" scale {groups[0].run.scale}: they are compared at scale paper only."
    )
    return Part("published", "Published figures", (text,))


def _released(table: Table | None) -> Part | None:
    if table is None:
        return None
    text = (
        "Models that others trained and released, scored here under this project's protocol:"
        " whether their published scores come out again says how far the two protocols agree."
    )
    return Part("released", "Released models", (text,), (table,))


def _samples(groups: Sequence[Group], names: dict[Run, str]) -> Part | None:
    found = samples_of(groups, names)
    return Part("samples", "Samples", (RULE,), samples=tuple(found)) if found else None


def _provenance(runs: Sequence[RunResults], names: dict[Run, str], files: Sequence[Path]) -> Part:
    found: list[Table] = [
        scores.seeds_table(groups_of(runs)),
        provenance_table(runs, names),
        environments_table(runs),
    ]
    if files:
        found.append(files_table(files))
    return Part(
        "provenance",
        "Appendix: runs and files",
        (
            "Every number of this report comes from these files. report.json beside the report has"
            " the whole checksums of what was read and of what was written.",
        ),
        tuple(found),
    )


def _without_arms(groups: Sequence[Group], found: Sequence[Ablation]) -> list[Group]:
    """Leave out variants of recipes, which have curves of their own in the part on ablations."""
    arms = {arm.run for item in found for arm in item.arms if "-" in arm.run.recipe}
    return [group for group in groups if group.run not in arms]


def _names_of_arms(ablation: Ablation) -> dict[Run, str]:
    """Name each arm by the varied settings, such as `beta 0.04`; recipes keep their names too."""
    reference = ablation.reference.settings
    plain = [key for key in ablation.keys if not isinstance(reference.get(key), list)]
    names: dict[Run, str] = {}
    for arm in (ablation.reference, *ablation.arms):
        own = arm.settings
        held = ", ".join(f"{key.rpartition('.')[2]} {setting(own.get(key))}" for key in plain)
        recipe = f"{arm.run.recipe} ({held})" if held else arm.run.recipe
        name = held if "-" in arm.run.recipe else recipe
        names |= {result.run: name for result in arm.runs}
    return names
