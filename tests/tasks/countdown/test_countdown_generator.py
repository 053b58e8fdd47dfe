"""Rows that are drawn, and how they compare with the published ones."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import chi2_contingency, chisquare

from countdown_search import reachable
from graders import grade_countdown as grade
from r1zero.core.errors import UserError
from r1zero.tasks.countdown.generator import Row, generate
from r1zero.tasks.countdown.solver import solvable

# All samples are drawn with fixed seeds, so a test passes or fails for good; the level says how odd
# a sample may be before it counts as another distribution.
LEVEL = 0.001


@pytest.fixture(scope="module")
def real_rows(shared_data: Path) -> list[Row]:
    names = ("train_first10240", "test1024")
    folder = shared_data / "countdown"
    paths = [folder / f"countdown_tasks_3to4_{name}.jsonl" for name in names]
    values = [json.loads(line) for path in paths for line in path.read_text().splitlines()]
    return [Row(tuple(value["nums"]), value["target"]) for value in values]


@pytest.fixture(scope="module")
def drawn_rows(real_rows: list[Row]) -> list[Row]:
    """As many rows as there are real ones."""
    return generate(len(real_rows), numbers=[3, 4], seed=0)


def of_size(rows: Sequence[Row], k: int) -> list[Row]:
    return [row for row in rows if len(row.nums) == k]


def share_by_sums(rows: Sequence[Row]) -> float:
    """Share of rows, all with as many numbers, that take + and - alone."""
    numbers, targets = np.array([row.nums for row in rows]), np.array([row.target for row in rows])
    return float(solvable(numbers, targets, only_sums=True).mean())


def same_distribution(
    first: Sequence[Row], second: Sequence[Row], values: Callable[[Row], Sequence[int]]
) -> float:
    """P-value of the chi-square test that values of rows have one distribution in both samples."""
    counts = [Counter(value for row in rows for value in values(row)) for rows in (first, second)]
    columns = sorted(counts[0] | counts[1])
    table = [[count[column] for column in columns] for count in counts]
    return float(chi2_contingency(table).pvalue)


def test_rows_are_in_range_solvable_and_distinct() -> None:
    rows = generate(300, numbers=[3, 4], seed=5)
    assert len({row.key for row in rows}) == len(rows) == 300
    for row in rows:
        assert len(row.nums) in (3, 4)
        assert all(1 <= number <= 99 for number in row.nums)
        assert 10 <= row.target <= 100
        # Any solution of the solver's kind is one the grader takes.
        answer = reachable(row.nums)[row.target]
        assert grade(f"x</think>\n<answer>{answer}</answer>", row.nums, row.target).correct


def test_every_value_of_the_ranges_occurs() -> None:
    rows = generate(20_000, numbers=[3], seed=0)
    assert {number for row in rows for number in row.nums} == set(range(1, 100))
    assert {row.target for row in rows} == set(range(10, 101))


def test_a_seed_gives_the_same_rows_and_another_seed_others() -> None:
    first, again, other = (generate(200, numbers=[3, 4], seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert len({row.key for row in first} & {row.key for row in other}) < 5


def test_more_rows_begin_with_the_same_rows() -> None:
    assert generate(500, numbers=[3], seed=3)[:200] == generate(200, numbers=[3], seed=3)


def test_excluded_rows_do_not_come_in_any_order() -> None:
    kept_out = {row.key for row in generate(5_000, numbers=[3], seed=4)}
    rows = generate(5_000, numbers=[3], seed=4, exclude=kept_out)
    assert not kept_out & {row.key for row in rows}
    assert len(rows) == 5_000


def test_more_rows_than_there_are_is_an_error() -> None:
    with pytest.raises(UserError) as raised:
        generate(100_000, numbers=[2], seed=0)
    assert raised.value.where == "datasets: numbers [2]"
    found = int(raised.value.message.split()[-3])
    # Nearly all of them: for each two numbers there are some four targets, most of them too large.
    assert 5_000 < found < 4 * 99 * 100 / 2


def test_three_and_four_numbers_are_as_frequent_as_in_the_real_rows(
    real_rows: list[Row], drawn_rows: list[Row]
) -> None:
    assert same_distribution(real_rows, drawn_rows, lambda row: [len(row.nums)]) > LEVEL
    for rows in (real_rows, drawn_rows):
        assert len(of_size(rows, 3)) + len(of_size(rows, 4)) == len(rows)


@pytest.mark.parametrize("k", [3, 4])
def test_numbers_by_tens_are_as_frequent_as_in_the_real_rows(
    real_rows: list[Row], drawn_rows: list[Row], k: int
) -> None:
    real, drawn = of_size(real_rows, k), of_size(drawn_rows, k)
    assert same_distribution(real, drawn, lambda row: [n // 10 for n in row.nums]) > LEVEL
    # Not uniform: small numbers are in more solvable rows. So the test can tell.
    uniform = [Row(tuple(nums), 0) for nums in np.random.default_rng(0).integers(1, 100, (5000, k))]
    assert same_distribution(real, uniform, lambda row: [n // 10 for n in row.nums]) < LEVEL


@pytest.mark.parametrize("k", [3, 4])
def test_real_targets_are_uniform(real_rows: list[Row], k: int) -> None:
    counts = Counter(row.target for row in of_size(real_rows, k))
    assert chisquare([counts[target] for target in range(10, 101)]).pvalue > LEVEL


@pytest.mark.parametrize("k", [3, 4])
def test_targets_by_tens_are_as_frequent_as_in_the_real_rows(
    real_rows: list[Row], drawn_rows: list[Row], k: int
) -> None:
    real, drawn = of_size(real_rows, k), of_size(drawn_rows, k)
    assert same_distribution(real, drawn, lambda row: [row.target // 10]) > LEVEL


@pytest.mark.parametrize(("k", "share"), [(3, 0.71), (4, 0.345)])
def test_as_many_rows_take_sums_alone_as_of_the_real_rows(
    real_rows: list[Row], drawn_rows: list[Row], k: int, share: float
) -> None:
    # Some 5,600 rows each: one standard error is 0.006, so 0.02 is three of them.
    assert share_by_sums(of_size(real_rows, k)) == pytest.approx(share, abs=0.005)
    assert share_by_sums(of_size(drawn_rows, k)) == pytest.approx(share, abs=0.02)


def test_every_real_row_is_solvable(real_rows: list[Row]) -> None:
    for k in (3, 4):
        rows = of_size(real_rows, k)
        numbers = np.array([row.nums for row in rows])
        assert solvable(numbers, np.array([row.target for row in rows])).all()
