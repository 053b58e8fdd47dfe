import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from r1zero.report import figures
from r1zero.report.inputs import RunResults
from r1zero.report.load import load
from report_files import RunFiles, made_up_metrics, paths, small_run


@pytest.fixture
def two_seeds(tmp_path: Path) -> list[RunResults]:
    return load(*paths(small_run(tmp_path), small_run(tmp_path, seed=1)))


def test_points_are_the_evaluations(two_seeds: list[RunResults]) -> None:
    names = figures.series_names(two_seeds)
    points = figures.held_out_points(two_seeds, names, "countdown_test", "correct", 100)
    assert [(row["seed"], row["step"]) for row in points] == [
        (seed, step) for seed in (0, 1) for step in (0, 20, 40)
    ]
    evaluations = [item for result in two_seeds for item in result.suites[0].evaluations]
    for row, evaluation in zip(points, evaluations, strict=True):
        assert row["value"] == pytest.approx(100 * evaluation.outcomes("correct").mean())
        assert row["low"] < row["value"] < row["high"]
        assert abs(row["shown_step"] - row["step"]) < 1


def test_training_lines_are_moving_means(two_seeds: list[RunResults]) -> None:
    names = figures.series_names(two_seeds)
    raw = [row["value"] for row in figures.training_lines(two_seeds[:1], names, "entropy", 1)]
    smooth = figures.training_lines(two_seeds[:1], names, "entropy", 1, window=3)
    assert raw == [row["entropy"] for row in made_up_metrics(40, seed=0)]
    assert smooth[5]["value"] == pytest.approx(sum(raw[4:7]) / 3)
    assert smooth[0]["value"] == pytest.approx(sum(raw[:2]) / 2)
    assert len(smooth) == len(raw)


def test_series_are_recipes_and_backends_where_these_differ(tmp_path: Path) -> None:
    first, second = small_run(tmp_path), small_run(tmp_path, "tinyzero", seed=1)
    third = small_run(tmp_path, backend="split")
    assert set(figures.series_names(load(*paths(first, second))).values()) == {
        "datawhale_r1",
        "tinyzero",
    }
    assert set(figures.series_names(load(*paths(first, third))).values()) == {
        "datawhale_r1 (split)",
        "datawhale_r1 (trl)",
    }


def test_svg_is_the_same_each_time(two_seeds: list[RunResults]) -> None:
    for draw in (figures.learning_curve, figures.training):
        first, second = (figures.to_svg(draw(two_seeds)) for _ in range(2))
        assert first == second
        assert ElementTree.fromstring(first).tag.endswith("svg")
        ids = re.findall(r'id="(clip\d+)"', first)
        assert len(ids) == len(set(ids))
        assert set(re.findall(r"url\(#(clip\d+)\)", first)) <= set(ids)


def test_figures_say_what_they_show(two_seeds: list[RunResults]) -> None:
    curve = figures.to_svg(figures.learning_curve(two_seeds))
    for text in ("Accuracy on countdown_test", "mean length (tokens)", "optimizer step", "seed"):
        assert text in curve
    panels = figures.to_svg(figures.training(two_seeds))
    assert all(title in panels for title in figures.TRAINING_PANELS.values())


def test_figures_fit_a_readme(two_seeds: list[RunResults]) -> None:
    for draw in (figures.learning_curve, figures.training):
        width = re.search(r'<svg[^>]* width="(\d+)"', figures.to_svg(draw(two_seeds)))
        assert width is not None
        assert 700 < int(width[1]) <= 830


def test_missing_metrics_leave_their_panel_out(tmp_path: Path) -> None:
    run = small_run(tmp_path)
    run.train(metrics=[{"step": step, "reward": step / 10} for step in range(1, 41)])
    runs = load(*paths(run))
    panels = figures.to_svg(figures.training(runs))
    assert "Reward, all terms" in panels
    assert "KL to the reference" not in panels
    assert "correctness reward" not in figures.to_svg(figures.learning_curve(runs))


def test_a_run_that_never_solves_anything_is_drawn(tmp_path: Path) -> None:
    run = RunFiles(tmp_path)
    run.train(steps=[0, 20], metrics=[{"step": 1, "reward": 0.0}])
    for step in (0, 20):
        run.evaluate(step, [[0], [0]])
    assert "NaN" not in figures.to_svg(figures.learning_curve(load(*paths(run))))
