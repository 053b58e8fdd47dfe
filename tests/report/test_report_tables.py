from pathlib import Path

import polars as pl
import pytest
from rich.console import Console

from r1zero.report.load import load
from r1zero.report.tables import (
    main_table,
    markdown_table,
    signed,
    to_csv,
    to_latex,
    to_markdown,
    to_terminal,
    verdict,
)
from report_files import RunFiles, paths, small_run

HEADER = (
    "recipe,backend,seed,suite,metric,n_problems,n_samples,base,trained,delta,delta_low,delta_high"
)


@pytest.fixture
def two_problems(tmp_path: Path) -> pl.DataFrame:
    """Deltas 0 and 1 of accuracy, whose interval is known: see test_report_statistics."""
    run = RunFiles(tmp_path)
    run.train(steps=[0, 20])
    run.evaluate(0, [[0], [0]], length=[[10], [20]])
    run.evaluate(20, [[0], [1]], length=[[16], [26]])
    return main_table(load(*paths(run)))


def test_rows_computed_by_hand(two_problems: pl.DataFrame) -> None:
    run = "datawhale_r1,trl,0,countdown_test"
    assert to_csv(two_problems).splitlines() == [
        HEADER,
        f"{run},accuracy,2,1,0.0,0.5,0.5,0.0,1.0",
        f"{run},lenient_accuracy,2,1,0.0,0.5,0.5,0.0,1.0",
        f"{run},format,2,1,1.0,1.0,0.0,0.0,0.0",
        f"{run},mean_length,2,1,15.0,21.0,6.0,6.0,6.0",
        f"{run},truncated,2,1,0.0,0.0,0.0,0.0,0.0",
    ]


def test_markdown_says_what_is_not_settled(two_problems: pl.DataFrame) -> None:
    lines = to_markdown(two_problems).splitlines()
    assert lines[2] == (
        "| datawhale_r1 | trl | 0 | countdown_test | accuracy (%) | 0.0 | 50.0 "
        "| +50.0 [0.0, +100.0] | not settled: the interval contains 0 |"
    )
    assert lines[5].endswith("| mean length (tokens) | 15.0 | 21.0 | +6.0 [+6.0, +6.0] |  |")


def test_latex_has_the_same_numbers(two_problems: pl.DataFrame) -> None:
    text = to_latex(two_problems)
    assert (
        r"datawhale\_r1 & trl & 0 & countdown\_test & accuracy (\%) & 0.0 & 50.0 "
        r"& +50.0 [0.0, +100.0] \\" in text
    )
    assert all(rule in text for rule in (r"\toprule", r"\midrule", r"\bottomrule"))


def test_terminal_leaves_out_constant_columns(two_problems: pl.DataFrame) -> None:
    console = Console(width=200, record=True, quiet=False, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(to_terminal(two_problems))
    text = console.export_text()
    assert "+50.0 [0.0, +100.0]" in text
    assert "backend" not in text


def test_trained_is_the_last_evaluated_step(tmp_path: Path) -> None:
    run = small_run(tmp_path)
    result = load(*paths(run))[0]
    row = main_table([result]).row(0, named=True)
    last = next(item for item in result.suites[0].evaluations if item.step == 40)
    assert row["trained"] == pytest.approx(last.outcomes("correct").mean(), abs=1e-6)
    assert row["delta"] == pytest.approx(row["trained"] - row["base"], abs=2e-6)


def test_every_run_suite_and_metric_has_a_row(tmp_path: Path) -> None:
    first, second = small_run(tmp_path), small_run(tmp_path, seed=1)
    for step in (0, 40):
        first.evaluate(step, [[0, 1]] * 5, suite="harder")
    table = main_table(load(*paths(first, second)))
    assert table.select("seed", "suite", "metric").is_unique().all()
    assert len(table) == 3 * 5


def test_one_problem_has_no_limits(tmp_path: Path) -> None:
    run = RunFiles(tmp_path)
    run.train(steps=[0, 20])
    run.evaluate(0, [[0, 0]])
    run.evaluate(20, [[0, 1]])
    table = main_table(load(*paths(run)))
    assert to_csv(table).splitlines()[1].endswith("accuracy,1,2,0.0,0.5,0.5,,")
    assert "+50.0 [–, –] | not settled: one problem gives no interval" in to_markdown(table)
    assert "+50.0 [--, --]" in to_latex(table)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.01, 0.2, "better"),
        (-0.2, -0.01, "worse"),
        (-0.1, 0.2, "not settled: the interval contains 0"),
        (0.0, 0.2, "not settled: the interval contains 0"),
    ],
)
def test_verdict(low: float, high: float, expected: str) -> None:
    row = {"metric": "accuracy", "delta": 0.0, "delta_low": low, "delta_high": high}
    assert verdict(row) == expected
    assert verdict({**row, "metric": "format"}) == ""


def test_signs() -> None:
    assert [signed(value) for value in (1.25, -1.0, 0.04, -0.04)] == ["+1.2", "−1.0", "0.0", "0.0"]


def test_markdown_cells_cannot_break_the_row() -> None:
    assert markdown_table(["a", "b"], [["x|y", "z"]], numeric={1}) == (
        "| a | b |\n| --- | ---: |\n| x\\|y | z |\n"
    )
