"""Tables of comparisons: variants that differ in a few settings."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from r1zero.report.paper.document import Table, limits
from r1zero.report.paper.text import arrow, interval, setting
from r1zero.report.statistics.intervals import Interval, Outcomes, two_sample_delta
from r1zero.report.statistics.measures import Group, files_of, per_base, runs_of, values

# Most settings that may differ between the arms of an ablation.
_MOST_DIFFERENCES = 2
_AGAINST = "against the recipe [95 % interval]"


@dataclass(frozen=True)
class Ablation:
    """A recipe, and the groups whose settings differ from its settings in `keys` alone."""

    reference: Group
    arms: tuple[Group, ...]

    @property
    def keys(self) -> list[str]:
        """Dotted keys of the settings in which any arm differs from the reference."""
        return sorted({key for arm in self.arms for key in differences(self.reference, arm)})


def differences(first: Group, second: Group) -> dict[str, tuple[Any, Any]]:
    """Settings that differ between two groups, by dotted key, with both values."""
    one, other = first.settings, second.settings
    return {
        key: (one.get(key), other.get(key))
        for key in sorted(one.keys() | other.keys())
        if one.get(key) != other.get(key)
    }


def ablations_of(groups: Sequence[Group]) -> list[Ablation]:
    """Find ablations by the differences in settings, regardless of the names of the runs.

    Each group is in at most one ablation. The reference is preferably a recipe, not a variant, and
    of these the one with the most arms.
    """
    found: list[Ablation] = []
    remaining = sorted(groups, key=lambda group: group.run.recipe)
    while remaining:
        candidates = [Ablation(group, _arms_of(group, remaining)) for group in remaining]
        best = min(
            (candidate for candidate in candidates if candidate.arms),
            key=lambda item: ("-" in item.reference.run.recipe, -len(item.arms)),
            default=None,
        )
        if best is None:
            break
        found.append(best)
        taken = {best.reference.run, *(arm.run for arm in best.arms)}
        remaining = [group for group in remaining if group.run not in taken]
    return found


def _arms_of(reference: Group, groups: Sequence[Group]) -> tuple[Group, ...]:
    """The groups that differ from a reference in a few settings alone."""
    return tuple(
        group
        for group in groups
        if group.run.backend == reference.run.backend
        and group.run.task == reference.run.task
        and _are_measured_alike(reference, group)
        and 0 < len(differences(reference, group)) <= _MOST_DIFFERENCES
    )


def _are_measured_alike(first: Group, second: Group) -> bool:
    """Whether two groups share a suite, and were measured in the same way on all that they share.

    One may have more suites, as that of many samples for a claim on pass@k.
    """
    here, there = _protocols(first), _protocols(second)
    shared = here.keys() & there.keys()
    return bool(shared) and all(here[suite] == there[suite] for suite in shared)


def _protocols(group: Group) -> dict[str, Any]:
    """What was measured and how, by suite."""
    return {suite.name: suite.base.protocol for suite in group.runs[0].suites}


def ablations_table(found: Sequence[Ablation]) -> Table:
    """One row per arm and suite: its settings, its accuracy, and the difference to the recipe."""
    rows, data = [], []
    places = [
        (ablation, suite, arm)
        for ablation in found
        for suite in ablation.reference.suites
        for arm in (ablation.reference, *ablation.arms)
        if suite in arm.suites
    ]
    for ablation, suite, arm in places:
        reference = ablation.reference
        values = ((key, arm.settings.get(key, "–")) for key in ablation.keys)
        what = "; ".join(f"{key.rpartition('.')[2]} {setting(value)}" for key, value in values)
        against = None if arm is reference else between(reference, arm, suite)
        change, length = (arm.change(suite, name) for name in ("accuracy", "mean_length"))
        rows.append(
            {
                "recipe": reference.run.recipe,
                "varied": what,
                "suite": suite,
                "seeds": str(len(arm.runs)),
                "accuracy (%)": arrow(change),
                _AGAINST: interval(against, 100) if against else "reference",
                "length (tokens)": arrow(length),
            }
        )
        data.append(
            {
                "reference": reference.run.recipe,
                **arm.run.setup,
                "settings": what,
                "suite": suite,
                "n_seeds": len(arm.runs),
                "base": change.base,
                "trained": change.trained,
                **limits(against, "delta_reference"),
                "length_base": length.base,
                "length_trained": length.trained,
            }
        )
    return Table.of(
        "ablations",
        "Variants of a recipe",
        "Runs that differ in the named settings and in nothing else. The difference is between the"
        " trained models, in percentage points of accuracy, with a 95 % interval; a single run is"
        " given the other arm's spread between seeds, and one run against one has no interval.",
        rows,
        data,
        numeric=("seeds", "accuracy (%)", _AGAINST, "length (tokens)"),
        files=files_of(
            [group for item in found for group in (item.reference, *item.arms)], ends_only=True
        ),
    )


def between(first: Group, second: Group, suite: str) -> Interval:
    """Accuracy of the second group's trained models minus the first's, on the same problems."""
    return two_sample_delta(_trained(first, suite), _trained(second, suite))


def _trained(group: Group, suite: str) -> list[Outcomes]:
    found = group.of_suite(suite)
    return per_base(runs_of(found), [values(item.trained, "accuracy") for item in found])
