"""The claims ledger: what others assert, and which test of the results decides it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeAlias, get_args

from pydantic import BaseModel, Field, model_validator

from r1zero.core.errors import UserError
from r1zero.core.section import Name, Section
from r1zero.core.validation import read_yaml, validate
from r1zero.settings.load import CONFIG_FOLDER
from r1zero.settings.recipe import OptionValue
from r1zero.settings.run import RunSettings

Quantity: TypeAlias = Literal[
    "accuracy",
    "lenient_accuracy",
    "greedy_accuracy",
    "format",
    "mean_length",
    "truncated",
    "repetition",
    "pass_at_n",
    "final_accuracy",
    "saturation_lead",
    "drawdown",
    "wrong_length_growth",
]
"""What is measured of a run on held-out problems; `r1zero.report.claim_quantities` defines each."""


def _check_settings(*keys: Mapping[str, Any] | list[str]) -> None:
    """Raise `ValueError` for what is no setting of a run: no run would ever fit it."""
    for key in (key for group in keys for key in group):
        section: Any = RunSettings
        for part in key.split("."):
            fields = section.model_fields if _is_section(section) else {}
            if part not in fields:
                hint = f"; there are: {', '.join(fields)}" if fields else ""
                raise ValueError(f"'{key}' is no setting of a run{hint}")
            section = fields[part].annotation


def _is_section(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, BaseModel)


class Expected(Section):
    """Where the claim puts a number; one of the keys.

    It is settled if the whole 95 % interval lies there.
    """

    above: float | None = None
    """The number is larger than this."""
    below: float | None = None
    """The number is smaller than this."""
    within: float | None = Field(default=None, gt=0)
    """The number lies between minus and plus this: a test of equivalence."""

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if sum(value is not None for value in (self.above, self.below, self.within)) != 1:
            raise ValueError("wants one of `above`, `below` and `within`")
        return self


class Needs(Section):
    """Which runs the claim speaks of."""

    tasks: list[Name] = Field(default=[])
    """Their tasks; any if empty."""
    settings: dict[str, OptionValue] = Field(default={})
    """Settings that they have, such as `algorithm.loss_type: grpo`."""
    above: dict[str, float] = Field(default={})
    """Settings that exceed a number, such as `algorithm.beta: 0`."""
    rewards: list[str] = Field(default=[])
    """RewardFunctions that their reward has."""
    without_rewards: list[str] = Field(default=[])
    """RewardFunctions that it has not."""
    base_model: bool = False
    """Only those that start from a base model, not from an instruction-tuned one."""
    variants: bool = False
    """Ablations too, and not the recipes alone."""
    seeds: int = Field(default=1, ge=1)
    """Seeds of each setup, at least."""
    samples: int = Field(default=1, ge=1)
    """Sampled completions of each held-out problem, at least."""

    @model_validator(mode="after")
    def _settings_exist(self) -> Self:
        _check_settings(self.settings, self.above)
        return self


class Change(Section):
    """How far a quantity moves in the training, from step 0 to the last evaluated one."""

    quantity: Quantity
    """What is measured on the held-out problems."""
    expect: Expected
    """Where the claim puts its change: shares for rates, tokens for lengths."""
    given: dict[Quantity, Expected] = Field(default={})
    """What else has to be settled of a setup, or it is left out."""


class Contrast(Section):
    """How two setups differ that are otherwise the same: first minus second."""

    quantity: Quantity
    """What is measured on the held-out problems."""
    expect: Expected
    """Where the claim puts the difference."""
    first: dict[str, OptionValue] = Field(default={})
    """Settings of the first, such as `algorithm.beta: 0.04`."""
    second: dict[str, OptionValue] = Field(default={})
    """The second's values of the same settings."""
    ratio: dict[str, float] = Field(default={})
    """Settings of which the first has a multiple of the second's, such as `sizes.learning_rate: 2`;
    scales have learning rates of their own, but keep the ratio."""
    across: str | None = None
    """Instead of these: a setting of which any two values are compared, such as `backend`."""
    given_first: Expected | None = None
    """Where the quantity of the first has to lie, or the pair is left out."""
    expect_second: Expected | None = None
    """Where the claim puts the quantity of the second."""

    @model_validator(mode="after")
    def _says_what_differs(self) -> Self:
        if self.first.keys() != self.second.keys():
            raise ValueError("`first` and `second` want the same settings")
        if bool(self.first or self.ratio) == bool(self.across):
            raise ValueError("wants either `first` and `second`, or `across`")
        _check_settings(self.first, self.ratio, [self.across] if self.across else [])
        return self


class Trend(Section):
    """How metrics of the training move from its first to its last step."""

    metrics: dict[str, Expected] = Field(min_length=1)
    """Where the claim puts the change of each metric of `metrics.jsonl`, in its own unit."""
    given: dict[str, Expected] = Field(default={})
    """Changes that have to be settled, or the setup is left out."""
    starts_at: dict[str, float] = Field(default={})
    """Values that metrics have at the first step."""
    tolerance: float = Field(default=1e-6, ge=0)
    """How far they may be from these."""


class Logged(Section):
    """Bounds that metrics of the training keep at every step."""

    bounds: dict[str, tuple[float, float]] = Field(min_length=1)
    """Least and greatest value of each metric of `metrics.jsonl`."""


class Disk(Section):
    """The disk that the checkpoints of a recipe take at scale paper, by the plan's own model."""

    recipe: Name
    """The recipe."""
    gpus: int = Field(ge=1)
    """Cards that it is planned for."""
    gpu: str
    """Their kind, such as `h100-80g`."""
    over_gb: float = Field(gt=0)
    """What the claim says is passed, in 10^9 bytes."""


class Scaling(Section):
    """Steps and time of a recipe on more cards, beside those of the same on fewer."""

    fewer: Name
    """Recipe on fewer cards."""
    more: Name
    """Recipe on more cards."""
    cards: float = Field(gt=1)
    """How many times as many cards the second has."""
    steps: float = Field(gt=0)
    """Its optimizer steps, in those of the first."""
    time: Expected
    """Where the claim puts its training time, in that of the first."""


class Claim(Section):
    """Something that others assert of such trainings."""

    id: Name
    """Name of the claim."""
    statement: str = Field(min_length=1)
    """What is asserted, in one sentence."""
    source: str = Field(min_length=1)
    """Who asserts it: paper and section, repository, issue."""
    scales: list[Literal["mini", "paper"]] = Field(default=["mini", "paper"], min_length=1)
    """Scales at which it may be judged."""
    needs: Needs = Needs()
    """Which runs it speaks of."""
    takes: str = Field(min_length=1)
    """What it takes to test it: lines of the configuration, or a command."""
    test: str
    """The test that decides it."""
    options: Any
    """Options of the test."""

    @property
    def recipes(self) -> list[str]:
        """Recipes whose plans it is judged on."""
        return []


class ChangeClaim(Claim):
    """A claim on what a training changes."""

    test: Literal["change"]
    """The change of a held-out quantity in each setup."""
    options: Change
    """Which, and where the claim puts it."""


class ContrastClaim(Claim):
    """A claim on two setups."""

    test: Literal["contrast"]
    """The difference of a held-out quantity between two setups."""
    options: Contrast
    """Which, and where the claim puts it."""


class TrendClaim(Claim):
    """A claim on the course of a training."""

    test: Literal["trend"]
    """The trend of what the trainer logs."""
    options: Trend
    """Which, and where the claim puts it."""


class LoggedClaim(Claim):
    """A claim on every step of a training."""

    test: Literal["logged"]
    """Bounds on what the trainer logs."""
    options: Logged
    """Which bounds."""


class DiskClaim(Claim):
    """A claim on disk space."""

    test: Literal["disk"]
    """The size of a plan's checkpoints; needs no run."""
    options: Disk
    """Whose checkpoints, and what size they pass."""

    @property
    def recipes(self) -> list[str]:
        """The one that is planned."""
        return [self.options.recipe]


class ScalingClaim(Claim):
    """A claim on more cards."""

    test: Literal["scaling"]
    """Steps and time on more cards."""
    options: Scaling
    """Which recipes, and where the claim puts their ratios."""

    @property
    def recipes(self) -> list[str]:
        """Both, whose published steps are told where there are no runs."""
        return [self.options.fewer, self.options.more]


AnyClaim: TypeAlias = (
    ChangeClaim | ContrastClaim | TrendClaim | LoggedClaim | DiskClaim | ScalingClaim
)
_KINDS: dict[str, type[Claim]] = {
    get_args(kind.model_fields["test"].annotation)[0]: kind for kind in get_args(AnyClaim)
}


class Claims(Section):
    """`config/claims.yaml`: the claims that a report judges, in its order."""

    claims: list[Annotated[AnyClaim, Field(discriminator="test")]]
    """The claims."""


def load_claims(folder: Path = CONFIG_FOLDER) -> list[Claim]:
    """Read `claims.yaml`, or raise `UserError` that names the file, the claim and the key."""
    path = folder / "claims.yaml"
    content = read_yaml(path)
    entries = content.get("claims") if isinstance(content, dict) else None
    if not isinstance(entries, list) or len(content) > 1:
        raise UserError("wants the key `claims` alone, with a list", where=str(path))
    claims: dict[str, Claim] = {}
    for number, entry in enumerate(entries, start=1):
        claim = _claim(entry, number, path)
        if claim.id in claims:
            raise UserError(f"two claims have the id '{claim.id}'", where=str(path))
        claims[claim.id] = claim
    return list(claims.values())


def _claim(entry: Any, number: int, path: Path) -> Claim:
    """Check one entry by the model of its test, so that an error names the keys of that test."""
    if not isinstance(entry, Mapping):
        raise UserError("not a mapping", where=f"{path}: claim {number}")
    where = f"{path}: claim {entry.get('id', number)}"
    kind = _KINDS.get(str(entry.get("test")))
    if kind is None:
        hint = f"there are: {', '.join(_KINDS)}"
        raise UserError(f"unknown test '{entry.get('test', '')}'", where=where, hint=hint)
    return validate(entry, kind, where)
