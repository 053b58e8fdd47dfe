"""Draw Countdown rows `nums, target` with the distribution of the published ones."""

from collections.abc import Collection, Iterator, Sequence
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from pydantic import Field

from r1zero.core.errors import UserError
from r1zero.tasks.countdown.solver import solvable
from r1zero.tasks.generators import Generated

# The ranges of Jiayi-Pan/Countdown-Tasks-3to4.
LARGEST_NUMBER = 99
TARGETS = (10, 100)
_BATCH = 1 << 14
# Repeats in a row, besides excluded rows, after which hardly any new row is left.
_REPEATS = 10_000


class Row(NamedTuple):
    """One problem."""

    nums: tuple[int, ...]
    target: int

    @property
    def key(self) -> tuple[tuple[int, ...], int]:
        """Identity up to the order of the numbers."""
        return tuple(sorted(self.nums)), self.target


class CountdownRows(Generated):
    """Rows with the distribution of Countdown-Tasks-3to4."""

    task: Literal["countdown"]
    """Task of the rows."""
    numbers: list[Annotated[int, Field(ge=2, le=4)]] = Field(min_length=1)
    """How many numbers a row has, 2 to 4; each count is equally likely."""

    def draw(self, count: int, *, seed: int, exclude: Collection[Any] = ()) -> list[Row]:
        """Draw distinct rows."""
        return generate(count, numbers=self.numbers, seed=seed, exclude=exclude)


def generate(
    count: int, *, numbers: Sequence[int], seed: int, exclude: Collection[object] = ()
) -> list[Row]:
    """Draw distinct rows with the distribution of Countdown-Tasks-3to4.

    Targets are uniform in 10..100, numbers uniform in 1..99 among those that can reach the target
    (see `solver.solvable`); each entry of `numbers` is an equally likely count of
    numbers.

    Args:
        count: Rows to draw.
        numbers: Possible counts of numbers in a row, e.g. `[3, 4]`.
        seed: Seed of the rows.
        exclude: Keys (`Row.key`) that must not occur, such as those of held-out rows.

    Raises:
        UserError: There are fewer such rows.

    """
    rng = np.random.default_rng(seed)
    seen = set(exclude)
    rows: list[Row] = []
    pools = {k: _stream(k, np.random.default_rng([seed, k])) for k in set(numbers)}
    repeats = 0
    while len(rows) < count:
        row = next(pools[int(rng.choice(numbers))])
        repeats = repeats + 1 if row.key in seen else 0
        if repeats > _REPEATS + len(exclude):
            raise UserError(
                f"{count} distinct rows are wanted, but only {len(rows)} were found",
                where=f"datasets: numbers {list(numbers)}",
                hint="ask for fewer rows or for more numbers",
            )
        if not repeats:
            seen.add(row.key)
            rows.append(row)
    return rows


def _stream(k: int, rng: np.random.Generator) -> Iterator[Row]:
    """Yield rows of `k` numbers without end."""
    waiting: dict[int, list[Row]] = {target: [] for target in range(TARGETS[0], TARGETS[1] + 1)}
    while True:
        target = int(rng.integers(*TARGETS, endpoint=True))
        # Some targets are reached more often than others. Each has its own queue, so that all
        # are equally frequent.
        while not waiting[target]:
            nums = rng.integers(1, LARGEST_NUMBER, size=(_BATCH, k), endpoint=True)
            targets = rng.integers(*TARGETS, size=_BATCH, endpoint=True)
            for index in np.flatnonzero(solvable(nums, targets)):
                row = Row(tuple(map(int, nums[index])), int(targets[index]))
                waiting[row.target].append(row)
        yield waiting[target].pop()
