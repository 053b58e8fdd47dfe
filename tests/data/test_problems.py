"""The problems that an evaluation takes of a suite."""

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1zero.data.problems import read_problems

Names = st.lists(st.text(min_size=1, max_size=8), unique=True, min_size=1, max_size=40)


def taken(names: list[str], most: int | None, path: Path) -> list[str]:
    pl.DataFrame({"problem_id": names}, {"problem_id": pl.String}).write_parquet(path)
    return [row["problem_id"] for row in read_problems(path, most)]


@given(names=Names, most=st.integers(1, 50), more=st.integers(0, 50), data=st.data())
def test_a_draw_depends_on_the_problems_alone(
    names: list[str],
    most: int,
    more: int,
    data: st.DataObject,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    path = tmp_path_factory.mktemp("suite") / "test.parquet"
    few = taken(names, most, path)
    assert len(few) == min(most, len(names))
    assert few == [name for name in names if name in few]
    assert set(few) <= set(taken(names, most + more, path))
    other_order = data.draw(st.permutations(names))
    assert set(taken(other_order, most, path)) == set(few)


@given(names=Names)
def test_without_a_limit_all_are_taken(
    names: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("suite") / "test.parquet"
    assert taken(names, None, path) == names


def test_a_draw_is_not_the_beginning_of_the_file(tmp_path: Path) -> None:
    names = [f"{place:04d}" for place in range(1000)]
    drawn = [int(name) for name in taken(names, 100, tmp_path / "test.parquet")]
    # In each quarter of the file about a quarter of the draw; 25 ± 5 standard deviations of 4.3.
    for quarter in range(4):
        assert 4 <= sum(250 * quarter <= place < 250 * (quarter + 1) for place in drawn) <= 46
