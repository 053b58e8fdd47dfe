import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from page_files import write_evaluations, write_rollouts
from r1zero.core.errors import UserError
from r1zero.report.page import browser
from r1zero.report.results.inputs import RunResults
from r1zero.report.results.load import load
from report_files import RunFiles, paths, small_run


def unpacked(packed: browser.Packed) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(gzip.decompress(packed.data))
    return content


def texts(content: dict[str, Any], column: str) -> list[str]:
    return [content["texts"][place] for place in content["columns"][column]]


def noise(generator: np.random.Generator, length: int = 200) -> str:
    """Text that gzip can't shorten by much."""
    return "".join(map(chr, generator.integers(33, 126, length)))


def trained(folder: Path, *, seed: int = 0, steps: int = 40, characters: int = 200) -> RunFiles:
    """A run whose training kept 3 groups of 4 incompressible completions at each step."""
    run = small_run(folder, seed=seed)
    generator = np.random.default_rng(seed)
    write_rollouts(
        run,
        [
            {
                "step": step,
                "problem_id": f"t{step}-{group}",
                "completion": noise(generator, characters),
            }
            for step in range(1, steps + 1)
            for group in range(3)
            for _ in range(4)
        ],
    )
    return run


def results(*runs: RunFiles) -> list[RunResults]:
    return load(*paths(*runs))


def test_all_completions_are_there_with_what_is_known_of_them(tmp_path: Path) -> None:
    run = RunFiles(tmp_path)
    run.train()
    write_evaluations(run)
    write_rollouts(run, [{"completion": "first", "rewards/correct": -1.0}, {"completion": "more"}])
    packed = browser.pack(results(run), megabytes=1)
    content = unpacked(packed)
    assert packed.kept == packed.found == 2 + 3 * 3 * 2
    assert content["sources"] == [{"run": 0, "suite": None}, {"run": 0, "suite": "countdown_3"}]
    assert texts(content, "completion")[:3] == ["first", "more", "step 0 problem 0 sample 0"]
    columns = content["columns"]
    assert columns["step"] == [1, 1, *[0] * 6, *[20] * 6, *[40] * 6]
    assert columns["right"] == [0, 0, *[0] * 12, *[1] * 6]
    assert columns["rewards/format"][:3] == [1, 1, None]
    assert columns["source"] == [0, 0, *[1] * 18]


def test_a_positive_correctness_term_is_right_whatever_it_pays(tmp_path: Path) -> None:
    run = small_run(tmp_path)
    write_rollouts(run, [{"rewards/correct": value} for value in (2.0, 1.0, 0.0, -1.0, None)])
    content = unpacked(browser.pack(results(run), megabytes=1))
    assert content["columns"]["right"] == [1, 1, 0, 0, None]


def test_a_text_is_written_once(tmp_path: Path) -> None:
    run = small_run(tmp_path)
    write_rollouts(run, [{"completion": "the same", "prompt": "the prompt"}] * 50)
    content = unpacked(browser.pack(results(run), megabytes=1))
    assert content["texts"].count("the same") == content["texts"].count("the prompt") == 1


def test_values_that_json_does_not_know_are_null(tmp_path: Path) -> None:
    run = small_run(tmp_path)
    write_rollouts(run, [{"reward": float("nan"), "advantage": float("inf")}, {"reward": 0.5}])
    columns = unpacked(browser.pack(results(run), megabytes=1))["columns"]
    assert columns["reward"] == [None, 0.5]
    assert columns["advantage"] == [None, 0]


def test_over_the_budget_whole_groups_stay_from_first_to_last_step(tmp_path: Path) -> None:
    packed = browser.pack(results(trained(tmp_path)), megabytes=0.03)
    content = unpacked(packed)
    kept = pl.DataFrame(
        {"step": content["columns"]["step"], "problem": texts(content, "problem_id")}
    )
    assert len(packed.data) <= 30_000
    assert packed.found == 480
    assert 60 <= packed.kept == len(kept) < 480
    assert set(kept.group_by("step", "problem").len()["len"]) == {4}
    assert kept["step"].min() == 1
    assert kept["step"].max() == 40
    gaps = kept["step"].unique().sort().diff().drop_nulls()
    assert gaps.max() <= 2 * gaps.min() + 1


def test_of_evaluations_the_same_problems_stay_at_every_step(tmp_path: Path) -> None:
    run = RunFiles(tmp_path)
    run.train()
    write_evaluations(run, n_problems=300)
    content = unpacked(browser.pack(results(run), megabytes=0.004))
    problems = texts(content, "problem_id")
    steps = content["columns"]["step"]
    rows = list(zip(problems, steps, strict=True))
    at = [{problem for problem, step in rows if step == wanted} for wanted in (0, 20, 40)]
    assert at[0] == at[1] == at[2]
    assert 2 <= len(at[0]) < 300


def test_a_short_run_leaves_its_share_to_a_long_one(tmp_path: Path) -> None:
    short, long = trained(tmp_path, seed=1, steps=2), trained(tmp_path, seed=2, steps=60)
    packed = browser.pack(results(short, long), megabytes=0.05)
    content = unpacked(packed)
    by_run = [content["sources"][source]["run"] for source in content["columns"]["source"]]
    assert by_run.count(0) == 24
    assert by_run.count(1) > 100
    assert len(packed.data) <= 50_000


def test_each_run_has_a_group_in_the_smallest_page(tmp_path: Path) -> None:
    runs = results(trained(tmp_path, seed=1), trained(tmp_path, seed=2))
    content = unpacked(browser.pack(runs, megabytes=0.000001))
    assert set(content["columns"]["source"]) == {0, 1}
    assert {1, 40} == set(content["columns"]["step"])


def test_what_packs_well_is_still_kept_small_enough_to_unpack(tmp_path: Path) -> None:
    run = small_run(tmp_path)
    write_rollouts(
        run,
        [{"step": step, "completion": f"{step}" + "x" * 20_000} for step in range(1, 101)],
    )
    packed = browser.pack(results(run), megabytes=0.05)
    assert len(gzip.decompress(packed.data)) <= 50_000 * 12
    assert 2 <= packed.kept < 100


def test_runs_without_completions_make_an_empty_browser(tmp_path: Path) -> None:
    run = small_run(tmp_path)
    pl.DataFrame().write_parquet(run.folder / "rollouts.parquet")
    packed = browser.pack(results(run, small_run(tmp_path, seed=1)), megabytes=1)
    assert (packed.kept, packed.found) == (0, 0)
    assert unpacked(packed)["runs"] == ["datawhale_r1, seed 0", "datawhale_r1, seed 1"]


@pytest.mark.parametrize("content", [None, b"not Parquet", pl.DataFrame({"step": [1]})])
def test_a_broken_file_is_named(tmp_path: Path, content: bytes | pl.DataFrame | None) -> None:
    run = RunFiles(tmp_path)
    run.train()
    write_evaluations(run)
    path = run.folder / "completions-20.parquet"
    path.unlink()
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        content.write_parquet(path)
    with pytest.raises(UserError) as error:
        browser.pack(results(run), megabytes=1)
    assert error.value.where == str(path)
    assert not isinstance(content, pl.DataFrame) or "problem_id" in error.value.message


@pytest.mark.parametrize("megabytes", [0.02, 1])
def test_the_same_files_give_the_same_bytes(tmp_path: Path, megabytes: float) -> None:
    runs = results(trained(tmp_path))
    first = browser.pack(runs, megabytes=megabytes)
    assert browser.pack(runs, megabytes=megabytes) == first


@given(count=st.integers(0, 500), share=st.floats(0, 1.5))
def test_what_is_kept_is_even_and_has_both_ends(count: int, share: float) -> None:
    kept = browser.evenly(count, share)
    assert kept == sorted(set(kept))
    assert len(kept) == min(count, max(2, int(count * share)))
    if count:
        assert (kept[0], kept[-1]) == (0, count - 1)
        gaps = np.diff(kept)
        assert gaps.size == 0 or gaps.max() - gaps.min() <= 1
