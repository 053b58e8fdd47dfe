"""What the generators of problems in words share: distinct draws, and what words they use."""

import random
import re
from collections.abc import Callable, Collection, Iterable
from typing import Protocol, TypeVar

from r1zero.core.errors import UserError

# Known problems one after another, besides excluded ones, after which hardly any new one is left.
_REPEATS = 10_000


class Keyed(Protocol):
    """A problem that can be told from others."""

    @property
    def key(self) -> str:
        """The same for equal problems."""
        ...


Problem = TypeVar("Problem", bound=Keyed)


def distinct(
    draw: Callable[[random.Random], Problem],
    count: int,
    *,
    seed: int,
    exclude: Collection[str] = (),
) -> list[Problem]:
    """Draw problems until `count` different ones are there.

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
                f"{count} distinct rows were asked for, {len(problems)} were found",
                where="datasets",
                hint="ask for fewer rows",
            )
        if not repeats:
            seen.add(problem.key)
            problems.append(problem)
    return problems


def words_of(texts: Iterable[str]) -> list[str]:
    """Distinct words of some texts, each with the space before it; fields in braces are none."""
    plain = (re.sub(r"\{\w+\}", "", text) for text in texts)
    return list(dict.fromkeys(word for text in plain for word in re.findall(r" ?[A-Za-z]+", text)))
