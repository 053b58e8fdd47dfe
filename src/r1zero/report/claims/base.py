"""A claim: a statement with its source, the setups it is about, and the test that decides it."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self, TypeAlias

from r1zero.report.claims.findings import FEWEST_SEEDS, Finding
from r1zero.report.statistics.measures import Group
from r1zero.settings import Sources, load_sources

ScaleName: TypeAlias = Literal["mini", "paper"]
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
    checkpoints: bool = False
    """Whether it takes the checkpoints in between, not only step 0 and the last one."""


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
    arms: Arms
    """How the setups of a pair differ, for claims about pairs."""


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
    scales: tuple[ScaleName, ...]
    """Scales at which it may be judged."""
    needs: Needs
    arms: Arms
    """How the setups of a pair differ, if it is about pairs."""
    recipes: Mapping[ScaleName, str]
    """Recipe that the target `claims` trains for it at a scale, with the variants of the arms; none
    where that target cannot decide it."""
    takes: str
    """What it takes to test it: lines of the configuration, or a command."""
    plans: tuple[str, ...]
    """Recipes whose plans it is decided by; then the test is called without any run, too."""
    test: Callable[..., Evidence]
    kind: Kind = "empirical"

    @property
    def seeds(self) -> int:
        """Training seeds that the target `claims` trains for it."""
        return max(self.needs.seeds, FEWEST_SEEDS if self.kind == "empirical" else 1)

    @property
    def parameters(self) -> dict[str, Any]:
        """Thresholds of the test: its keyword-only parameters with their defaults."""
        parameters = inspect.signature(self.test).parameters.values()
        return {item.name: item.default for item in parameters if item.kind is item.KEYWORD_ONLY}


def claim(
    *,
    source: str,
    takes: str = "",
    needs: Needs | None = None,
    arms: Arms | None = None,
    recipes: Mapping[ScaleName, str] | str = "",
    scales: tuple[ScaleName, ...] = ("mini", "paper"),
    plans: tuple[str, ...] = (),
    kind: Kind = "empirical",
) -> Callable[[Callable[..., Evidence]], Claim]:
    """Make a function the test of a claim.

    The name of the function is the claim's id, and the first paragraph of its docstring the
    statement. See `Claim` for the arguments. One recipe stands for all scales.
    """
    trained = dict.fromkeys(scales, recipes) if isinstance(recipes, str) else dict(recipes)
    trained = {scale: recipe for scale, recipe in trained.items() if recipe}
    by_target = [f"{recipe} at scale {scale}" for scale, recipe in trained.items()]

    def of(test: Callable[..., Evidence]) -> Claim:
        return Claim(
            id=test.__name__,
            statement=inspect.cleandoc(test.__doc__ or "").partition("\n\n")[0],
            source=source,
            scales=scales,
            needs=needs or Needs(),
            arms=arms or Arms(),
            recipes=trained,
            takes=takes or f"`snakemake --cores all claims` ({', '.join(by_target)})",
            plans=plans,
            test=test,
            kind=kind,
        )

    return of
