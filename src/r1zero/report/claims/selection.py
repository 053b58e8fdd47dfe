"""Which setups a claim is about, and which of them form a pair."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, permutations
from math import isclose
from typing import Any

from r1zero.report.claims.base import Needs
from r1zero.report.claims.findings import measured
from r1zero.report.results.inputs import RunResults
from r1zero.report.statistics.measures import Group, groups_of

# Settings that do not tell two setups apart: names, and what does not affect the weights.
_NO_DIFFERENCE = ("recipe", "placement", "reference", "backends", "evaluation")


@dataclass(frozen=True)
class Arms:
    """How the two setups of a pair differ. In everything else they are the same."""

    settings: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    """Settings with their values in the first and the second setup."""
    ratio: Mapping[str, float] = field(default_factory=dict)
    """Settings of which the first setup has this multiple of the second's value."""
    across: str | None = None
    """A setting of which any two values are compared, in place of the others."""

    def __str__(self) -> str:
        apart = [f"{key} ({one} and {other})" for key, (one, other) in self.settings.items()]
        apart += [f"{key} ({value:g} : 1)" for key, value in self.ratio.items()]
        return self.across or " and ".join(apart)


def fitting(needs: Needs, runs: Sequence[RunResults]) -> tuple[list[Group], str]:
    """The setups that meet the needs; if there are none, what is missing in words."""
    left = [(group, _met(needs, group)) for group in groups_of(runs) if group.suites]
    words: list[str] = []
    for place, (need, _) in enumerate(left[0][1] if left else []):
        words.append(need)
        left = [(group, met) for group, met in left if met[place][1]]
        if not left:
            break
    return [group for group, _ in left], f"run of {', '.join(words)}" if words else "run"


def decoupled(groups: Sequence[Group]) -> Iterator[tuple[RunResults, RunResults]]:
    """Runs with the reference model on a server, each with the same run without one."""
    runs = [run for group in groups for run in group.runs]
    for remote, local in permutations(runs, 2):
        places = remote.model.reference, local.model.reference
        if (
            places in (("server", "trainer"), ("remote", "trainer"))
            and (remote.run.backend, remote.run.seed) == (local.run.backend, local.run.seed)
            and remote.model.data_hash == local.model.data_hash
            and _settings_of(remote) == _settings_of(local)
        ):
            yield remote, local


def _settings_of(run: RunResults) -> dict[str, Any]:
    """Settings that affect the weights."""
    settings = run.model.flat_settings
    kept = (key for key in settings if key.partition(".")[0] not in _NO_DIFFERENCE)
    return {key: settings[key] for key in kept}


def _met(needs: Needs, group: Group) -> list[tuple[str, bool]]:
    """Each need in words, and whether a setup meets it. The needs are the same for every setup."""
    rewards = {reward["name"] for reward in group.settings.get("rewards") or []}
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
    for name in needs.rewards:
        met.append((f"the reward {name}", name in rewards))
    for name in needs.without_rewards:
        met.append((f"no reward {name}", name not in rewards))
    if needs.samples > 1:
        met.append((f"{needs.samples} samples of each problem", samples >= needs.samples))
    if needs.seeds > 1:
        met.append((f"{needs.seeds} seeds", len(group.runs) >= needs.seeds))
    return met


def _starts_from_a_base(group: Group) -> bool:
    """Whether the model is a mini base, or its name does not say that it is instruction-tuned."""
    return group.runs[0].model.starts_from != "an instruction-tuned model"


def pairs(arms: Arms, found: Sequence[Group]) -> list[tuple[Group, Group]]:
    """Pairs of setups that differ as the arms say and in nothing else, first and second."""
    if arms.across is not None:
        key = arms.across
        return [
            (first, second)
            for first, second in combinations(found, 2)
            if not same(setting(first, key), setting(second, key)) and _alike(first, second, [key])
        ]
    return [pair for pair in permutations(found, 2) if _differ(arms, *pair)]


def _differ(arms: Arms, first: Group, second: Group) -> bool:
    """Whether two setups differ as the arms say and in nothing else."""
    have = []
    for key, (one, other) in arms.settings.items():
        have += [same(setting(first, key), one), same(setting(second, key), other)]
    for key, ratio in arms.ratio.items():
        one, other = setting(first, key), setting(second, key)
        have.append(bool(one and other) and isclose(one, ratio * other, rel_tol=1e-6))
    return all(have) and _alike(first, second, [*arms.settings, *arms.ratio])


def _alike(first: Group, second: Group, apart: Sequence[str]) -> bool:
    """Whether two setups are the same, and measured the same way, apart from some settings."""
    if "backend" not in apart and first.run.backend != second.run.backend:
        return False
    here, there = first.settings, second.settings
    told = {key for key in here | there if key.partition(".")[0] not in _NO_DIFFERENCE}
    one, other = (measured(group)[0].base.protocol for group in (first, second))
    return one == other and all(here.get(key) == there.get(key) for key in told - set(apart))


def setting(group: Group, key: str) -> Any:
    """A setting of a setup, such as `algorithm.beta`; None if it has no such setting."""
    return group.run.backend if key == "backend" else group.settings.get(key)


def same(one: Any, other: Any) -> bool:
    """Whether two values of a setting are equal, numbers up to rounding."""
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in (one, other)):
        return bool(one == other)
    return isclose(one, other, rel_tol=1e-9)
