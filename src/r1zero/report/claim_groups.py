"""Which runs a claim speaks of: setups that fit, each with its seeds, and pairs of them."""

from collections.abc import Mapping, Sequence
from itertools import combinations, permutations
from math import isclose
from typing import Any

from r1zero.report.inputs import RunResults, SuiteResults
from r1zero.report.measures import Group, groups_of
from r1zero.report.setup_tables import flattened
from r1zero.settings.claims import Contrast, Needs

# Of the settings, what doesn't tell two setups apart: names, and what decides no weights.
_NO_PART = ("recipe", "seed", "placement", "backends", "evaluation")


def name_of(group: Group) -> str:
    """The recipe, or the variant of it; the backend too where that isn't TRL."""
    run = group.run
    return run.recipe if run.backend == "trl" else f"{run.recipe} ({run.backend})"


def own_suite(group: Group) -> str:
    """The test rows of the setup's own dataset; its first suite where they weren't measured."""
    own = setting(group, "dataset")
    return own if own in group.suites else group.suites[0]


def measured(group: Group) -> list[SuiteResults]:
    """Results on the setup's own held-out problems, one entry a seed."""
    return group.of_suite(own_suite(group))


def fitting(needs: Needs, runs: Sequence[RunResults]) -> tuple[list[Group], str]:
    """The setups that a claim speaks of; where there are none, what there is none of."""
    left = [(group, _met(needs, group)) for group in groups_of(runs) if group.suites]
    words: list[str] = []
    for place, (need, _) in enumerate(left[0][1] if left else []):
        words.append(need)
        left = [(group, met) for group, met in left if met[place][1]]
        if not left:
            break
    return [group for group, _ in left], f"run of {', '.join(words)}" if words else "run"


def _met(needs: Needs, group: Group) -> list[tuple[str, bool]]:
    """Each need in words, and whether a setup meets it: as many entries for any setup."""
    rewards = {term["name"] for term in setting(group, "rewards") or []}
    samples = measured(group)[0].base.n_samples
    met = []
    if not needs.variants:
        # Names of recipes have no hyphen: it begins what a variant varies.
        met.append(("a recipe itself", "-" not in group.run.recipe))
    if needs.tasks:
        met.append((f"the task {' or '.join(needs.tasks)}", group.run.task in needs.tasks))
    if needs.base_model:
        met.append(("a base model", _starts_from_a_base(group)))
    for key, value in needs.settings.items():
        met.append((f"{key} {value}", same(setting(group, key), value)))
    for key, least in needs.above.items():
        met.append((f"{key} above {least:g}", (setting(group, key) or 0) > least))
    for term in needs.rewards:
        met.append((f"the reward {term}", term in rewards))
    for term in needs.without_rewards:
        met.append((f"no reward {term}", term not in rewards))
    if needs.samples > 1:
        met.append((f"{needs.samples} samples of each problem", samples >= needs.samples))
    if needs.seeds > 1:
        met.append((f"{needs.seeds} seeds", len(group.runs) >= needs.seeds))
    return met


def _starts_from_a_base(group: Group) -> bool:
    """Whether the model was made on the spot, or isn't called an instruction-tuned one."""
    return bool(setting(group, "is_mini_base")) or "instruct" not in str(setting(group, "model"))


def pairs(options: Contrast, found: Sequence[Group]) -> list[tuple[Group, Group]]:
    """Pairs of setups that differ as the claim says and in nothing else, first and second."""
    if options.across is not None:
        key = options.across
        return [
            (first, second)
            for first, second in combinations(found, 2)
            if not same(setting(first, key), setting(second, key)) and _alike(first, second, [key])
        ]
    return [pair for pair in permutations(found, 2) if _differ_so(options, *pair)]


def _differ_so(options: Contrast, first: Group, second: Group) -> bool:
    have = [same(setting(first, key), value) for key, value in options.first.items()]
    have += [same(setting(second, key), value) for key, value in options.second.items()]
    for key, ratio in options.ratio.items():
        one, other = setting(first, key), setting(second, key)
        have.append(bool(one and other) and isclose(one, ratio * other, rel_tol=1e-6))
    return all(have) and _alike(first, second, [*options.first, *options.ratio])


def _alike(first: Group, second: Group, apart: Sequence[str]) -> bool:
    """Whether two setups are the same, and measured the same way, apart from some settings."""
    here, there = (flattened(group.runs[0].model.settings) for group in (first, second))
    told = {key for key in here.keys() | there.keys() if key.partition(".")[0] not in _NO_PART}
    if "backend" not in apart and first.run.backend != second.run.backend:
        return False
    one, other = (measured(group)[0].base.protocol for group in (first, second))
    return one == other and all(here.get(key) == there.get(key) for key in told - set(apart))


def setting(group: Group, key: str) -> Any:
    """A setting as `algorithm.beta`; None where the runs have none such."""
    value: Any = group.runs[0].model.settings
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def same(one: Any, other: Any) -> bool:
    """Whether two values of a setting are equal, numbers up to rounding."""
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in (one, other)):
        return bool(one == other)
    return isclose(one, other, rel_tol=1e-9)
