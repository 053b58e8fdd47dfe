"""Countdown rows `{nums, target}`: drawn here, or read from files, checked and kept apart."""

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from r1zero.errors import UserError
from r1zero.tasks.countdown.solver import solvable

# The ranges of Jiayi-Pan/Countdown-Tasks-3to4.
LARGEST_NUMBER = 99
TARGETS = (10, 100)
_BATCH = 1 << 14
# Known rows one after another, besides excluded ones, after which hardly any new one is left.
_REPEATS = 10_000


class Row(NamedTuple):
    """One problem."""

    nums: tuple[int, ...]
    target: int

    @property
    def key(self) -> tuple[tuple[int, ...], int]:
        """Identity up to the order of the numbers."""
        return tuple(sorted(self.nums)), self.target

    @property
    def problem_id(self) -> str:
        """The same identity as text, e.g. `19-35-44=98`."""
        return "-".join(map(str, sorted(self.nums))) + f"={self.target}"


def generate(
    count: int, *, numbers: Sequence[int], seed: int, exclude: Collection[object] = ()
) -> list[Row]:
    """Draw distinct rows with the distribution of Countdown-Tasks-3to4.

    Targets are uniform in 10..100, numbers uniform in 1..99 among those that can reach the target
    (see `solver.solvable`); each entry of `numbers` is an equally likely count of numbers.

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
                f"{count} distinct rows were asked for, {len(rows)} were found",
                where=f"datasets: numbers {list(numbers)}",
                hint="ask for fewer rows or for more numbers",
            )
        if not repeats:
            seen.add(row.key)
            rows.append(row)
    return rows


def _stream(k: int, rng: np.random.Generator) -> Iterator[Row]:
    """Rows of `k` numbers without end."""
    waiting: dict[int, list[Row]] = {target: [] for target in range(TARGETS[0], TARGETS[1] + 1)}
    while True:
        target = int(rng.integers(*TARGETS, endpoint=True))
        # Some targets are reached more often than others; each is served from its own queue, so
        # that they stay equally frequent.
        while not waiting[target]:
            nums = rng.integers(1, LARGEST_NUMBER, size=(_BATCH, k), endpoint=True)
            targets = rng.integers(*TARGETS, size=_BATCH, endpoint=True)
            for index in np.flatnonzero(solvable(nums, targets)):
                row = Row(tuple(map(int, nums[index])), int(targets[index]))
                waiting[row.target].append(row)
        yield waiting[target].pop()


def read(path: Path, numbers: Sequence[int] | None = None) -> list[Row]:
    """Read rows from a JSON-lines file with `nums` and `target`; other keys are left alone.

    Args:
        path: The file.
        numbers: Keep the rows with one of these counts of numbers; all if None.

    Raises:
        UserError: The file, the line and the key that is wrong.

    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise UserError("no such file", where=str(path)) from None
    rows = [_parse(line, f"{path}, line {i}") for i, line in enumerate(lines, 1) if line.strip()]
    kept = [row for row in rows if numbers is None or len(row.nums) in numbers]
    if not kept:
        raise UserError("no row with the wanted count of numbers", where=str(path))
    return kept


def _parse(line: str, where: str) -> Row:
    try:
        value = json.loads(line)
        nums, target = value["nums"], value["target"]
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(
            f"not a row: {error}", where=where, hint='wanted: {"nums": [44, 19, 35], "target": 98}'
        ) from None
    if not isinstance(nums, list) or not nums or not all(type(n) is int and n > 0 for n in nums):
        raise UserError("nums is not a list of positive integers", where=where)
    if type(target) is not int:
        raise UserError("target is not an integer", where=where)
    return Row(tuple(nums), target)


def distinct(rows: Iterable[Row], exclude: Collection[object] = ()) -> list[Row]:
    """Keep the first of rows that are equal up to order, and none whose key is excluded."""
    seen = set(exclude)
    kept = []
    for row in rows:
        if row.key not in seen:
            seen.add(row.key)
            kept.append(row)
    return kept
