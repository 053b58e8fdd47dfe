import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from r1zero.core.errors import UserError
from r1zero.report.results.inputs import read_training
from r1zero.report.results.load import load
from report_files import RunFiles, edit, paths, provenance, small_run

Edit = Callable[[RunFiles], Path]


def edit_problems(path: Path, change: Callable[[list[dict[str, Any]]], None]) -> None:
    problems = json.loads(path.read_text())["problems"]
    change(problems)
    edit(path, problems=problems)


def test_runs_and_steps_are_ordered(tmp_path: Path) -> None:
    second, first = small_run(tmp_path, seed=1), small_run(tmp_path, seed=0)
    models, evaluations = paths(second, first)
    runs = load(models, reversed(evaluations))
    assert [result.run.seed for result in runs] == [0, 1]
    assert [item.step for item in runs[0].suites[0].evaluations] == [0, 20, 40]
    assert runs[0].suites[0].base.outcomes("correct").shape == (40, 2)


def test_problems_are_paired_by_id_and_not_by_place(tmp_path: Path) -> None:
    run = small_run(tmp_path)
    before = load(*paths(run))[0].suites[0].trained.outcomes("correct")
    edit_problems(run.evaluations["countdown_3", 40], list.reverse)
    after = load(*paths(run))[0].suites[0].trained.outcomes("correct")
    assert (before == after).all()


def edited(step: int, **changes: Any) -> Edit:
    """Change keys of an evaluation."""

    def spoil(run: RunFiles) -> Path:
        path = run.evaluations["countdown_3", step]
        edit(path, **changes)
        return path

    return spoil


def with_problems(change: Callable[[list[dict[str, Any]]], None]) -> Edit:
    """Change the problems of the evaluation of step 20."""

    def spoil(run: RunFiles) -> Path:
        path = run.evaluations["countdown_3", 20]
        edit_problems(path, change)
        return path

    return spoil


def without(*steps: int) -> Edit:
    """Leave out the evaluations of some steps."""

    def spoil(run: RunFiles) -> Path:
        for step in steps:
            del run.evaluations["countdown_3", step]
        return run.model

    return spoil


def evaluated(step: int, n_problems: int = 40, n_samples: int = 2) -> Edit:
    """Evaluate a step once more."""
    return lambda run: run.evaluate(step, [[1] * n_samples] * n_problems)


def unknown_run(run: RunFiles) -> Path:
    return edited(20, run={**run.run, "seed": 7})(run)


def other_decoding(run: RunFiles) -> Path:
    decoding = json.loads(run.evaluations["countdown_3", 40].read_text())["decoding"]
    return edited(40, decoding={**decoding, "temperature": 0.6, "greedy": False})(run)


def no_base_on_second_suite(run: RunFiles) -> Path:
    run.evaluate(40, [[1, 1]] * 40, suite="harder")
    return run.model


def missing_key(run: RunFiles) -> Path:
    edit(run.model, base_model=None)
    return run.model


def broken_json(run: RunFiles) -> Path:
    run.model.write_text("{")
    return run.model


def missing_metrics(run: RunFiles) -> Path:
    edit(run.model, metrics="nowhere.jsonl")
    return Path("nowhere.jsonl")


# How the inputs are spoiled, which gives the file that the error names, and what else it names.
@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (edited(20, config_hash="other"), "config_hash"),
        (edited(20, model_sha256="other"), "model_sha256"),
        (edited(0, model_sha256="other"), "model_sha256"),
        (evaluated(60), "60"),
        (unknown_run, "seed 7"),
        (other_decoding, "temperature 0.6"),
        (edited(40, suite_sha256="other"), "suite_sha256"),
        (with_problems(lambda problems: problems[0].update(problem_id="another")), "another"),
        (evaluated(40, n_problems=39), "p0039"),
        (evaluated(40, n_samples=1), "n_samples 1"),
        (edited(40, engine="vllm 0.31.0"), "vllm 0.31.0"),
        (without(0), "step 0"),
        (no_base_on_second_suite, "harder"),
        (without(20, 40), "countdown_3"),
        (without(0, 20, 40), "datawhale_r1"),
        (edited(20, provenance=provenance(transformers="5.0.0")), "transformers 5.0.0"),
        (with_problems(lambda problems: problems[0].update(problem_id="p0001")), "39"),
        (with_problems(lambda problems: problems[3].update(length=[1])), "p0003"),
        (missing_key, "base_model"),
        (broken_json, "JSON"),
        (missing_metrics, ""),
    ],
)
def test_refusals_name_the_file(tmp_path: Path, spoil: Edit, named: str) -> None:
    run = small_run(tmp_path)
    where = spoil(run)
    error = refused(run)
    assert error.where == str(where)
    assert named in error.message


def refused(*runs: RunFiles) -> UserError:
    with pytest.raises(UserError) as caught:
        load(*paths(*runs))
    return caught.value


def made_with(run: RunFiles, **versions: str) -> None:
    """Train a run with other versions of packages."""
    edit(run.model, provenance=provenance(**versions))


@pytest.mark.parametrize("package", ["trl", "torch", "transformers"])
def test_runs_of_different_versions_never_share_a_table(tmp_path: Path, package: str) -> None:
    first, second = small_run(tmp_path), small_run(tmp_path, seed=1)
    made_with(second, **{package: "0.1"})
    error = refused(first, second)
    assert error.where == str(second.model)
    assert f"{package} 0.1" in error.message
    assert str(first.model) in error.message


def test_backends_have_versions_of_their_own(tmp_path: Path) -> None:
    runs = [small_run(tmp_path, seed=seed) for seed in (0, 1)]
    others = [small_run(tmp_path, seed=seed, backend="swift") for seed in (0, 1)]
    for run in others:
        made_with(run, trl="0.29.0", transformers="5.19.0", **{"ms-swift": "4.6.0"})
    assert [result.run.backend for result in load(*paths(*runs, *others))] == [
        *("swift", "swift", "trl", "trl")
    ]
    made_with(others[1], trl="0.29.0", transformers="5.19.0", **{"ms-swift": "4.5.0"})
    error = refused(*runs, *others)
    assert error.where == str(others[1].model)
    assert "ms-swift 4.5.0" in error.message


@pytest.mark.parametrize("package", ["r1zero", "transformers", "math-verify"])
def test_all_backends_are_measured_by_the_same_versions(tmp_path: Path, package: str) -> None:
    run, other = small_run(tmp_path), small_run(tmp_path, backend="swift")
    for path in other.evaluations.values():
        edit(path, provenance=provenance(**{package: "0.0.1"}))
    error = refused(run, other)
    assert error.where == str(other.evaluations["countdown_3", 0])
    assert f"{package} 0.0.1" in error.message


def test_versions_of_other_packages_may_differ(tmp_path: Path) -> None:
    first, second = small_run(tmp_path), small_run(tmp_path, seed=1)
    made_with(second, snakemake="9.0")
    assert len(load(*paths(first, second))) == 2


def test_one_report_has_one_scale(tmp_path: Path) -> None:
    first, second = small_run(tmp_path), small_run(tmp_path, seed=1, scale="paper")
    error = refused(first, second)
    assert error.where == str(second.model)
    assert "paper" in error.message
    assert "mini" in error.message


def test_the_same_run_twice_is_refused(tmp_path: Path) -> None:
    run, copy = small_run(tmp_path), small_run(tmp_path / "copy")
    with pytest.raises(UserError) as caught:
        load([run.model, copy.model], run.evaluations.values())
    assert caught.value.where == str(copy.model)
    assert str(run.model) in caught.value.message


def test_the_same_evaluation_twice_is_refused(tmp_path: Path) -> None:
    models, evaluations = paths(small_run(tmp_path))
    with pytest.raises(UserError) as caught:
        load(models, [*evaluations, evaluations[1]])
    assert caught.value.where == str(evaluations[1])


def test_nothing_to_report() -> None:
    with pytest.raises(UserError):
        load([], [])


def test_training_metrics_skip_what_is_missing_but_no_failure_and_keep_the_last(
    tmp_path: Path,
) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(
        '{"step": 1, "reward": 0.5, "kl": NaN, "note": "text"}\n\n'
        '{"step": 2, "reward": 1}\n'
        '{"step": 2, "reward": 2, "entropy": null}\n'
    )
    expected = pl.DataFrame(
        {"step": [1, 1, 2], "metric": ["kl", "reward", "reward"], "value": [math.nan, 0.5, 2.0]}
    )
    assert read_training(path).equals(expected)


@pytest.mark.parametrize("line", ["{", "[]", '{"reward": 1}', '{"step": null}'])
def test_a_broken_line_of_metrics_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "reward": 1}\n' + line + "\n")
    with pytest.raises(UserError) as caught:
        read_training(path)
    assert caught.value.where == f"{path}:2"


def test_empty_metrics_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text("")
    with pytest.raises(UserError) as caught:
        read_training(path)
    assert caught.value.where == str(path)


def test_seeds_that_differ_in_more_than_the_seed_are_refused(tmp_path: Path) -> None:
    first, second = small_run(tmp_path), small_run(tmp_path, seed=1)
    second.train(settings={"algorithm.beta": 0.04})
    error = refused(first, second)
    assert error.where == str(second.model)
    assert "algorithm" in error.message


@pytest.mark.parametrize(
    "changed", [{"suite_sha256": "other"}, {"engine": "vllm 0.31.0"}, {"decoding": {"top_p": 0.5}}]
)
def test_seeds_that_were_measured_otherwise_are_refused(
    tmp_path: Path, changed: dict[str, Any]
) -> None:
    first, second = small_run(tmp_path), small_run(tmp_path, seed=1)
    for path in second.evaluations.values():
        edit(path, **changed)
    error = refused(first, second)
    assert error.where == str(second.evaluations["countdown_3", 0])
    assert str(first.evaluations["countdown_3", 0]) in error.message
