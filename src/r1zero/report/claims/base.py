"""A claim: a statement with its source, the setups it is about, and the test that decides it."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self, TypeAlias

from r1zero.report.claims.findings import Finding
from r1zero.report.statistics.measures import Group
from r1zero.settings import Sources, load_sources

Kind: TypeAlias = Literal["empirical", "identity", "arithmetic"]
"""What decides a claim: how trainings end, which differs between seeds; an identity of the method,
which one training shows as well as many; or arithmetic on settings, without any training."""


@dataclass(frozen=True)
class Needs:
    """Which setups a claim is about: recipes or variants on one backend, with their seeds."""

    tasks: tuple[str, ...] = ()
    """Their tasks; any task if empty."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Values of settings, such as `algorithm.loss_type: grpo`."""
    above: Mapping[str, float] = field(default_factory=dict)
    """Settings that exceed a number, such as `algorithm.beta: 0`."""
    rewards: tuple[str, ...] = ()
    """Reward functions that they use."""
    without_rewards: tuple[str, ...] = ()
    """Reward functions that they do not use."""
    base_model: bool = False
    """Whether they have to start from a base model, not from an instruction-tuned one."""
    variants: bool = False
    """Whether variants of recipes (ablations) count too."""
    seeds: int = 1
    """Fewest seeds of a setup."""
    samples: int = 1
    """Fewest sampled completions of each held-out problem."""


@dataclass(frozen=True)
class Configured:
    """The configuration, for claims that are decided by a plan."""

    folder: Path
    """Folder with the recipes."""
    sources: Sources
    table: Path
    """File that states the sources."""

    @classmethod
    def of(cls, folder: Path) -> Self:
        """The configuration of a folder, with the sources of its `sources.yaml`."""
        return cls(folder, load_sources(folder), folder / "sources.yaml")


class Setups(NamedTuple):
    """What a test gets: the setups that meet the needs of its claim, and the configuration."""

    groups: Sequence[Group]
    configured: Configured


@dataclass(frozen=True)
class Evidence:
    """What a test found."""

    findings: tuple[Finding, ...] = ()
    missing: str = ""
    """What would have been needed, if there are no findings."""
    left_out: tuple[Finding, ...] = ()
    """Preconditions of setups that are not settled, so that these setups show nothing."""


@dataclass(frozen=True)
class Claim:
    """A statement of the literature and the test that decides it."""

    id: str
    statement: str
    source: str
    """Who says it: paper and section, repository, issue."""
    scales: tuple[Literal["mini", "paper"], ...]
    """Scales at which it may be judged."""
    needs: Needs
    takes: str
    """What it takes to test it: lines of the configuration, or a command."""
    plans: tuple[str, ...]
    """Recipes whose plans it is decided by; then the test is called without any run, too."""
    test: Callable[..., Evidence]
    kind: Kind = "empirical"

    @property
    def parameters(self) -> dict[str, Any]:
        """Thresholds of the test: its keyword-only parameters with their defaults."""
        parameters = inspect.signature(self.test).parameters.values()
        return {item.name: item.default for item in parameters if item.kind is item.KEYWORD_ONLY}


def claim(
    *,
    source: str,
    takes: str,
    needs: Needs | None = None,
    scales: tuple[Literal["mini", "paper"], ...] = ("mini", "paper"),
    plans: tuple[str, ...] = (),
    kind: Kind = "empirical",
) -> Callable[[Callable[..., Evidence]], Claim]:
    """Make a function the test of a claim.

    The name of the function is the claim's id, and the first paragraph of its docstring the
    statement. See `Claim` for the arguments.
    """

    def of(test: Callable[..., Evidence]) -> Claim:
        statement = inspect.cleandoc(test.__doc__ or "").partition("\n\n")[0]
        return Claim(
            test.__name__, statement, source, scales, needs or Needs(), takes, plans, test, kind
        )

    return of
