"""The section on the generator's weights says what the runs logged."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from r1zero.report.page.html import page
from r1zero.report.paper.document import Part
from r1zero.report.paper.rendering import to_svg
from r1zero.report.paper.sections import contents
from r1zero.report.results.inputs import RunResults
from r1zero.report.results.load import load
from report_files import made_up_metrics, paths, small_run

CHECKED, ALLOWED = "sampling/weight_sync_difference", "sampling/weight_sync_tolerance"
SAMPLED = "sampling/sampling_logp_difference/mean"


def results(
    folder: Path, *checks: Mapping[int, float], tolerances: tuple[float, ...] = (0.2, 0.25)
) -> list[RunResults]:
    """Runs of several seeds with differences on fixed prompts by step, and their tolerances."""
    runs = []
    for seed, found in enumerate(checks):
        rows: list[dict[str, Any]] = made_up_metrics(40, seed)
        for row in rows:
            step = row["step"]
            row[SAMPLED] = 0.004 + 0.0001 * step
            if step in found:
                row |= {CHECKED: found[step], ALLOWED: tolerances[seed]}
        run = small_run(folder, seed=seed)
        run.train(metrics=rows)
        runs.append(run)
    return load(*paths(*runs))


def section(runs: list[RunResults]) -> Part:
    return next(part for part in contents(runs, ()).parts if part.anchor == "weight-sync")


def test_runs_without_a_generator_have_no_such_section(tmp_path: Path) -> None:
    parts = contents(load(*paths(small_run(tmp_path))), ()).parts
    assert "weight-sync" not in [part.anchor for part in parts]


def test_the_largest_difference_is_named_with_its_run_step_and_tolerance(tmp_path: Path) -> None:
    runs = results(tmp_path, {1: 0.002, 2: 0.003, 12: 0.001}, {1: 0.002, 3: 0.17})
    text = " ".join(section(runs).paragraphs)
    for named in ("5 checks", "0.17 nats", "seed 1, step 3", "0.2 and 0.25"):
        assert named in text
    alone = " ".join(section(runs[:1]).paragraphs)
    for named in ("3 checks", "0.003 nats", "seed 0, step 2", "0.2."):
        assert named in alone
    assert "0.25" not in alone


def test_the_table_has_a_row_a_run(tmp_path: Path) -> None:
    table = section(results(tmp_path, {1: 0.002, 3: 0.17}, {1: 0.1})).tables[0]
    columns = ("seed", "checks", "largest_difference", "step", "tolerance")
    assert table.data.select(columns).rows() == [(0, 2, 0.17, 3, 0.2), (1, 1, 0.1, 1, 0.25)]
    assert table.data["completions_difference"].to_list() == pytest.approx([0.008, 0.008])
    assert table.rows[0][2:] == ("2", "0.17", "3", "0.2", "0.008")
    assert all(file.name == "metrics.jsonl" for file in table.files)


def test_the_trace_and_its_tolerance_are_drawn_and_on_the_page(tmp_path: Path) -> None:
    runs = results(tmp_path, {1: 0.002, 3: 0.17, 4: 0.003})
    found = section(runs)
    chart = found.figures[0].chart
    spec = chart.to_dict()
    drawn = [
        [(row["step"], row["value"]) for row in spec["datasets"][layer["data"]["name"]]]
        for layer in spec["vconcat"][0]["layer"]
        if "strokeDash" in layer["mark"] or layer["mark"]["type"] == "point"
    ]
    assert drawn == [[(1, 0.002), (3, 0.17), (4, 0.003)], [(1, 0.2), (3, 0.2), (4, 0.2)]]
    assert "nats per token" in to_svg(chart)
    html = page(contents(runs, ()), runs).decode()
    assert 'id="weight-sync"' in html
    assert "0.17 nats per token" in html


def test_a_run_that_logged_no_tolerance_has_a_dash(tmp_path: Path) -> None:
    run = small_run(tmp_path)
    run.train(metrics=[{**row, CHECKED: 0.004} for row in made_up_metrics(40, 0)])
    table = section(load(*paths(run))).tables[0]
    assert table.rows[0][-2:] == ("–", "–")
    assert table.data["tolerance"].to_list() == [None]
