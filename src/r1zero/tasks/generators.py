"""Settings and helpers that the generators of mini datasets share."""

import random
import re
from abc import abstractmethod
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Literal, Protocol, TypeVar

from pydantic import Field

from r1zero.core.errors import UserError
from r1zero.core.section import Section

# Repeats in a row, besides excluded problems, after which hardly any new problem is left.
_REPEATS = 10_000


class Keyed(Protocol):
    """A problem with an identity."""

    @property
    def key(self) -> Any:
        """Hashable; the same for equal problems."""
        ...


class Row(Keyed, Protocol):
    """A raw row of a dataset: a named tuple with a key."""

    def _asdict(self) -> dict[str, Any]: ...


class Generated(Section):
    """Rows drawn on this machine, with the columns of a published dataset of the task."""

    kind: Literal["generated"]
    """Made on this machine, without a network."""
    task: str
    train: int = Field(ge=1)
    """Training rows."""
    test: int = Field(ge=1)
    """Held-out rows; none of their problems occurs in train."""
    seed: int = 0
    """Seed of the rows."""

    @abstractmethod
    def draw(self, count: int, *, seed: int, exclude: Collection[Any] = ()) -> Sequence[Row]:
        """Draw distinct rows, none of which has a key among `exclude`."""

    @property
    def split_names(self) -> list[Literal["train", "test"]]:
        """Its splits."""
        return ["train", "test"]


Problem = TypeVar("Problem", bound=Keyed)


def distinct(
    draw: Callable[[random.Random], Problem],
    count: int,
    *,
    seed: int,
    exclude: Collection[str] = (),
) -> list[Problem]:
    """Draw problems until there are `count` different ones.

    Args:
        draw: Draws one problem.
        count: Problems wanted.
        seed: Seed of the draws.
        exclude: Keys that must not occur, such as those of held-out problems.

    Raises:
        UserError: There are fewer such problems.

    """
    rng = random.Random(seed)
    seen = set(exclude)
    problems: list[Problem] = []
    repeats = 0
    while len(problems) < count:
        problem = draw(rng)
        repeats = repeats + 1 if problem.key in seen else 0
        if repeats > _REPEATS + len(exclude):
            raise UserError(
                f"{count} distinct rows are wanted, but only {len(problems)} were found",
                where="datasets",
                hint="ask for fewer rows",
            )
        if not repeats:
            seen.add(problem.key)
            problems.append(problem)
    return problems


def words_of(texts: Iterable[str]) -> list[str]:
    """Distinct words of some texts, each with the space before it; fields in braces are skipped."""
    plain = (re.sub(r"\{\w+\}", "", text) for text in texts)
    return list(dict.fromkeys(word for text in plain for word in re.findall(r" ?[A-Za-z]+", text)))
