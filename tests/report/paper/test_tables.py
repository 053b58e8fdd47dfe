"""The tables against numbers computed here, from the JSON files and by other means."""

import json
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import polars as pl
import pytest

from r1zero.core.formatting import number
from r1zero.report.paper.tables import scores
from r1zero.report.paper.tables.setup import cost_table
from r1zero.report.results.load import load
from r1zero.report.statistics.intervals import hierarchical_delta
from r1zero.report.statistics.measures import groups_of, names_of
from report_files import STEPS, RunFiles, paths, small_run, two_steps


def problems(run: RunFiles, step: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run.evaluations["countdown_3", step].read_text())[
        "problems"
    ]
    return found


def of_file(path: Path, measure: str) -> float:
    """A measure of one evaluation file."""
    problems = json.loads(path.read_text())["problems"]
    name, _, k = measure.partition("@")
    fields = {"accuracy": "correct", "lenient_accuracy": "lenient", "mean_length": "length"}
    if measure.startswith("terminated_"):  # nothing is truncated
        measure = measure.removeprefix("terminated_")
    if measure == "greedy_accuracy":
        return fmean(problem["greedy"]["correct"] for problem in problems)
    if name == "pass":
        return fmean(
            any(subset) for item in problems for subset in combinations(item["correct"], int(k))
        )
    if name == "maj":
        return fmean(vote for item in problems for vote in plurality(item, int(k)))
    field = fields.get(measure, measure)
    return fmean(value for problem in problems for value in problem[field])


def plurality(problem: dict[str, Any], k: int) -> list[float]:
    """Correctness of the most frequent answer of each subset, ties counting in equal parts."""
    right = dict(zip(problem["vote"], problem["correct"], strict=True))
    outcomes = []
    for subset in combinations(problem["vote"], k):
        most = max(subset.count(answer) for answer in subset)
        winners = {answer for answer in subset if subset.count(answer) == most}
        outcomes.append(fmean(right[answer] for answer in winners))
    return outcomes


@pytest.fixture
def two_seeds(tmp_path: Path) -> list[RunFiles]:
    return [small_run(tmp_path), small_run(tmp_path, seed=1)]


def test_the_main_and_behaviour_tables_are_means_over_the_seeds(two_seeds: list[RunFiles]) -> None:
    groups = groups_of(load(*paths(*two_seeds)))
    found = [scores.main_table(groups).data, scores.behaviour_table(groups).data]
    rows = [row for frame in found for row in frame.iter_rows(named=True)]
    assert [row["metric"] for row in rows] == [
        *("accuracy", "lenient_accuracy", "greedy_accuracy", "pass@2", "maj@2"),
        *("format", "mean_length", "truncated", "repetition"),
    ]
    for row in rows:
        means = {
            step: fmean(
                of_file(run.evaluations["countdown_3", step], row["metric"]) for run in two_seeds
            )
            for step in (0, 40)
        }
        assert (row["n_seeds"], row["n_problems"]) == (2, 40)
        assert row["base"] == pytest.approx(means[0], abs=1e-6)
        assert row["trained"] == pytest.approx(means[40], abs=1e-6)
        assert row["delta"] == pytest.approx(means[40] - means[0], abs=2e-6)


def test_limits_are_those_of_the_hierarchical_interval(two_seeds: list[RunFiles]) -> None:
    groups = groups_of(load(*paths(*two_seeds)))
    row = scores.main_table(groups).data.row(0, named=True)
    outcomes = {
        step: [
            np.array([item["correct"] for item in problems(run, step)], dtype=float)
            for run in two_seeds
        ]
        for step in (0, 40)
    }
    expected = hierarchical_delta(outcomes[0], outcomes[40])
    assert row["delta_low"] == pytest.approx(expected.low, abs=1e-6)
    assert row["delta_high"] == pytest.approx(expected.high, abs=1e-6)


def test_the_table_of_seeds_has_each_run_by_itself(two_seeds: list[RunFiles]) -> None:
    table = scores.seeds_table(groups_of(load(*paths(*two_seeds))))
    assert table.data.select("seed", "suite", "metric").is_unique().all()
    for row in table.data.iter_rows(named=True):
        run = two_seeds[row["seed"]]
        for column, step in (("base", 0), ("trained", 40)):
            expected = of_file(run.evaluations["countdown_3", step], row["metric"])
            assert row[column] == pytest.approx(expected, abs=1e-6)


def test_pass_at_k_has_every_k(tmp_path: Path) -> None:
    run = two_steps(tmp_path, *(np.random.default_rng(0).random((2, 12, 6)) < 0.3))
    table = scores.pass_at_k_table(groups_of(load(*paths(run))))
    assert table is not None
    assert table.data["k"].to_list() == [1, 2, 4, 6]
    for row in table.data.iter_rows(named=True):
        expected = of_file(run.evaluations["countdown_3", 20], f"pass@{row['k']}")
        assert row["trained"] == pytest.approx(expected, abs=1e-6)


def test_one_sample_has_no_pass_at_k(tmp_path: Path) -> None:
    groups = groups_of(load(*paths(two_steps(tmp_path, [[0], [1]], [[0], [1]]))))
    assert scores.pass_at_k_table(groups) is None
    assert "pass" not in " ".join(scores.main_table(groups).headings)


def test_a_base_model_without_an_answer_still_votes(tmp_path: Path) -> None:
    run = two_steps(
        tmp_path, [[0, 0], [0, 0]], [[1, 1], [1, 0]], vote=([[None, None]] * 2, [[0, 0], [0, 1]])
    )
    table = scores.main_table(groups_of(load(*paths(run))))
    row = table.data.row(by_predicate=pl.col("metric") == "maj@2", named=True)
    assert (row["base"], row["trained"]) == (0.0, 0.75)


def test_a_row_by_hand(tmp_path: Path) -> None:
    run = two_steps(tmp_path, [[0], [0]], [[0], [1]], length=([[10], [20]], [[16], [26]]))
    groups = groups_of(load(*paths(run)))
    table = scores.main_table(groups)
    assert table.headings[-2:] == ("lenient (%)", "greedy (%)")
    row = table.rows[0]
    assert row[:4] == ("datawhale_r1", "countdown_3", "1", "0.0 → 50.0")
    assert row[4].startswith("+50.0 [")
    assert row[5:] == ("not settled", "0.0 → 50.0", "0.0 → 50.0")
    assert scores.behaviour_table(groups).rows[0][3] == "15.0 → 21.0"


def test_a_settled_change_has_a_direction(tmp_path: Path) -> None:
    some, all_right = [[0]] * 30 + [[1]] * 10, [[1]] * 40
    run, worse = two_steps(tmp_path, some, all_right), two_steps(tmp_path, all_right, some, seed=1)
    table = scores.seeds_table(groups_of(load(*paths(run, worse))))
    assert [row[-1] for row in table.rows] == ["higher", "lower"]


def test_one_problem_has_no_limits(tmp_path: Path) -> None:
    table = scores.main_table(groups_of(load(*paths(two_steps(tmp_path, [[0, 0]], [[0, 1]])))))
    assert table.data["delta_low"][0] is None
    assert table.rows[0][4:6] == ("+50.0 [–, –]", "not settled")


def test_completions_that_ended_are_counted_apart_from_truncated_ones(tmp_path: Path) -> None:
    run = two_steps(
        tmp_path,
        [[0, 1], [0, 0]],
        [[1, 0], [1, 0]],
        length=([[10, 20], [30, 40]], [[50, 272], [70, 272]]),
        truncated=([[0, 0], [0, 0]], [[0, 1], [0, 1]]),
        format=([[1, 1], [0, 1]], [[1, 0], [1, 0]]),
        repetition=([[0.1, 0.1], [0.1, 0.1]], [[0.2, 0.9], [0.4, 0.7]]),
    )
    groups = groups_of(load(*paths(run)))
    table = scores.endings_table(groups)
    assert table.rows[0][2:] == (
        *("25.0 → 100.0", "75.0 → 100.0", "25.0 → 60.0", "10.0 → 30.0", "– → 80.0"),
    )
    assert "truncated_repetition" not in table.data["metric"].to_list()
    assert scores.searches_table(groups) is None


def test_searches_are_set_beside_random_search(tmp_path: Path) -> None:
    run = two_steps(
        tmp_path,
        [[0, 1], [0, 0]],
        [[1, 0], [1, 0]],
        steps=([[2, 2], [0, 4]], [[2, 2], [4, 0]]),
        wrong_steps=([[1, 0], [0, 1]], [[0, 0], [4, 0]]),
        attempts=([[1, 1], [1, 2]], [[1, 1], [2, 1]]),
        by_chance=([[0.25, 0.25], [0.5, 0.75]], [[0.25, 0.25], [0.75, 0.5]]),
    )
    table = scores.searches_table(groups_of(load(*paths(run))))
    assert table is not None
    assert table.rows[0][2:] == (
        *("25.0 → 50.0", "25.0 → 50.0"),
        *(f"{number(1.25)} → {number(1.25)}", "43.8 → 43.8"),
    )


def test_core_hours_are_of_base_training_and_evaluation_and_a_base_counts_once(
    tmp_path: Path,
) -> None:
    runs = [small_run(tmp_path, seed=seed) for seed in (0, 1)]
    layout = {"train": {"processes": 2, "threads": 3}, "evaluate": {"threads": 2}}
    for run in runs:
        run.train(
            settings={"computation": layout},
            train_seconds=3600.0,
            base_cost={"seconds": 1800.0, "cores": 4},
        )
    found = load(*paths(*runs))
    table = cost_table(found, names_of(groups_of(found)))
    evaluated = 12.5 * len(STEPS) * 2 / 3600
    for row in table.data.iter_rows(named=True):
        assert (row["base_core_hours"], row["train_core_hours"]) == (2, 6)
        assert row["evaluation_core_hours"] == pytest.approx(evaluated, abs=1e-6)
        assert row["core_hours"] == pytest.approx(8 + evaluated, abs=1e-6)
    shown = dict(zip(table.headings, table.rows[-1], strict=True))
    assert shown["base"] == "30.0 min"
    assert shown["core hours"] == f"{2 + 2 * (6 + evaluated):.2f}"


def test_backends_are_named_where_there_are_several(tmp_path: Path) -> None:
    first, second = small_run(tmp_path), small_run(tmp_path, backend="split")
    names = names_of(groups_of(load(*paths(first, second))))
    assert set(names.values()) == {"datawhale_r1 (split)", "datawhale_r1 (trl)"}
