import math
import re
from pathlib import Path
from xml.etree import ElementTree

import pypdfium2
import pytest

from r1zero.report.paper import figure_data, figures
from r1zero.report.paper.rendering import svg_to_pdf, svg_to_png, to_svg
from r1zero.report.results.load import load
from r1zero.report.statistics.measures import Group, groups_of, names_of
from report_files import RunFiles, made_up_metrics, paths, small_run, two_steps


@pytest.fixture
def two_seeds(tmp_path: Path) -> list[Group]:
    return groups_of(load(*paths(small_run(tmp_path), small_run(tmp_path, seed=1))))


def test_points_are_means_over_the_seeds_evaluations(two_seeds: list[Group]) -> None:
    names = names_of(two_seeds)
    points = figure_data.held_out_points(two_seeds, names, "countdown_3", "accuracy")
    assert [row["step"] for row in points] == [0, 20, 40]
    evaluations = [result.suites[0].evaluations for result in two_seeds[0].runs]
    for row, first, second in zip(points, *evaluations, strict=True):
        means = [item.outcomes("correct").mean() for item in (first, second)]
        assert row["value"] == pytest.approx(100 * sum(means) / 2)
        assert row["low"] < row["value"] < row["high"]
        assert abs(row["shown_step"] - row["step"]) < 1
    seeds = figure_data.seed_points(two_seeds, names, "countdown_3", "accuracy")
    assert [(row["seed"], row["step"]) for row in seeds] == [
        (seed, step) for seed in ("0", "1") for step in (0, 20, 40)
    ]


def test_training_bands_go_from_the_lowest_to_the_highest_seed(two_seeds: list[Group]) -> None:
    bands = figure_data.training_bands(two_seeds, names_of(two_seeds), "entropy", 1)
    logged = [[row["entropy"] for row in made_up_metrics(40, seed)] for seed in (0, 1)]
    for row, first, second in zip(bands, *logged, strict=True):
        assert row["value"] == pytest.approx((first + second) / 2)
        assert (row["low"], row["high"]) == (min(first, second), max(first, second))


def test_training_lines_are_moving_means(tmp_path: Path) -> None:
    groups = groups_of(load(*paths(small_run(tmp_path))))
    names = names_of(groups)
    raw = [row["value"] for row in figure_data.training_bands(groups, names, "entropy", 1)]
    smooth = figure_data.training_bands(groups, names, "entropy", 1, window=3)
    assert smooth[5]["value"] == pytest.approx(sum(raw[4:7]) / 3)
    assert smooth[0]["value"] == pytest.approx(sum(raw[:2]) / 2)
    assert len(smooth) == len(raw)


def test_long_lines_are_thinned_and_keep_their_mean_and_limits(tmp_path: Path) -> None:
    run = small_run(tmp_path)
    logged = made_up_metrics(5000, seed=0)
    run.train(metrics=logged)
    groups = groups_of(load(*paths(run)))
    bands = figure_data.training_bands(groups, names_of(groups), "entropy", 1)
    raw = [row["entropy"] for row in logged]
    assert len(bands) == 400
    assert sum(row["value"] for row in bands) / 400 == pytest.approx(sum(raw) / 5000, rel=1e-3)
    limits = min(row["low"] for row in bands), max(row["high"] for row in bands)
    assert limits == (min(raw), max(raw))


def test_pass_points_start_at_accuracy_and_rise(two_seeds: list[Group]) -> None:
    points = figure_data.pass_points(two_seeds, names_of(two_seeds), "countdown_3")
    for model in ("base", "trained"):
        line = [row["value"] for row in points if row["model"] == model]
        change = two_seeds[0].change("countdown_3", "accuracy")
        assert line[0] == pytest.approx(100 * getattr(change, model))
        assert line == sorted(line)


def test_files_are_the_same_each_time_and_well_formed(two_seeds: list[Group]) -> None:
    names = names_of(two_seeds)
    for draw in (figures.learning_curve, figures.pass_at_k, figures.changes):
        chart = draw(two_seeds, names)
        assert chart is not None
        svg = to_svg(chart)
        assert svg == to_svg(chart)
        assert ElementTree.fromstring(svg).tag.endswith("svg")
        ids = re.findall(r'id="(clip\d+)"', svg)
        assert len(ids) == len(set(ids))
        assert set(re.findall(r"url\(#(clip\d+)\)", svg)) <= set(ids)
        assert svg_to_pdf(svg) == svg_to_pdf(svg)
        assert len(pypdfium2.PdfDocument(svg_to_pdf(svg))) == 1
        assert svg_to_png(svg).startswith(b"\x89PNG")
        width = re.search(r'<svg[^>]* width="(\d+)"', svg)
        assert width is not None
        assert int(width[1]) <= 830


def test_figures_say_what_they_show(two_seeds: list[Group]) -> None:
    names = names_of(two_seeds)
    curve = to_svg(figures.learning_curve(two_seeds, names))
    for text in ("countdown_3", "(%)", "(tokens)", "step"):
        assert text in curve
    panels = to_svg(figures.training(two_seeds, names))
    assert all(title in panels for title in figures.TRAINING_PANELS.values())


def test_what_is_no_number_is_not_drawn(tmp_path: Path) -> None:
    run = small_run(tmp_path)
    losses = [math.nan if step > 30 else step / 10 for step in range(1, 41)]
    run.train(metrics=[{"step": step, "kl": loss} for step, loss in enumerate(losses, 1)])
    groups = groups_of(load(*paths(run)))
    bands = figure_data.training_bands(groups, names_of(groups), "kl", 1)
    assert [row["step"] for row in bands] == list(range(1, 31))
    assert figures.TRAINING_PANELS["kl"] in to_svg(figures.training(groups, names_of(groups)))


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ({}, [25.0, 75.0]),
        ({"right": 2.0, "wrong": -2.0}, [56.25, 68.75]),
        ({"lenient": True}, []),
        ({"right": 1.0, "wrong": 1.0}, []),
    ],
)
def test_right_in_training_is_a_share_of_strict_verdicts(
    options: dict[str, float], shown: list[float], tmp_path: Path
) -> None:
    run = small_run(tmp_path)
    rewards = [{"name": "correct", "weight": 1.0, "options": options}]
    metrics = [{"step": step, "rewards/correct/mean": step / 2 - 0.25} for step in (1, 2)]
    run.train(metrics=metrics, settings={"rewards": rewards})
    groups = groups_of(load(*paths(run)))
    rows = figure_data.share_right(groups, names_of(groups))
    assert [row["value"] for row in rows] == pytest.approx(shown)


def test_missing_metrics_leave_their_panel_out(tmp_path: Path) -> None:
    run = small_run(tmp_path)
    run.train(metrics=[{"step": step, "reward": step / 10} for step in range(1, 41)])
    groups = groups_of(load(*paths(run)))
    panels = to_svg(figures.training(groups, names_of(groups)))
    assert figures.TRAINING_PANELS["reward"] in panels
    assert figures.TRAINING_PANELS["kl"] not in panels
    assert "right in training" not in to_svg(figures.learning_curve(groups, names_of(groups)))


def test_a_run_that_never_solves_anything_is_drawn(tmp_path: Path) -> None:
    run = RunFiles(tmp_path)
    run.train(steps=[0, 20], metrics=[{"step": 1, "reward": 0.0}])
    for step in (0, 20):
        run.evaluate(step, [[0], [0]])
    groups = groups_of(load(*paths(run)))
    names = names_of(groups)
    assert "NaN" not in to_svg(figures.learning_curve(groups, names))
    assert "NaN" not in to_svg(figures.changes(groups, names))
    assert figures.pass_at_k(groups, names) is None


def test_random_search_is_drawn_dashed_where_every_step_has_it(tmp_path: Path) -> None:
    run = two_steps(
        tmp_path,
        [[0, 1], [0, 0]],
        [[1, 0], [1, 0]],
        **{name: ([[1, 1], [1, 1]],) * 2 for name in ("steps", "wrong_steps", "attempts")},
        by_chance=([[0.25, 0.25], [0.5, 0.5]], [[0.75, 0.75], [0.5, 0.5]]),
    )
    groups = groups_of(load(*paths(run)))
    names = names_of(groups)
    points = figure_data.held_out_points(groups, names, "countdown_3", "by_chance")
    assert [row["value"] for row in points] == [37.5, 62.5]
    drawn = figures.learning_curve(groups, names).to_json()
    assert "37.5" in drawn
    assert '"strokeDash"' in drawn
    without = groups_of(load(*paths(small_run(tmp_path / "without"))))
    assert '"strokeDash"' not in figures.learning_curve(without, names_of(without)).to_json()
