import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from r1zero.core.errors import UserError
from r1zero.report.inputs import read_training
from r1zero.report.load import load
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


def stale_config(run: RunFiles) -> Path:
    edit(run.evaluations["countdown_3", 20], config_hash="other")
    return run.evaluations["countdown_3", 20]


def stale_model(run: RunFiles) -> Path:
    edit(run.evaluations["countdown_3", 20], model_sha256="other")
    return run.evaluations["countdown_3", 20]


def other_base_model(run: RunFiles) -> Path:
    edit(run.evaluations["countdown_3", 0], model_sha256="other")
    return run.evaluations["countdown_3", 0]


def unknown_step(run: RunFiles) -> Path:
    path = run.evaluate(60, [[1, 1]] * 40)
    return path


def unknown_run(run: RunFiles) -> Path:
    path = run.evaluations["countdown_3", 20]
    edit(path, run={**run.run, "seed": 7})
    return path


def other_decoding(run: RunFiles) -> Path:
    path = run.evaluations["countdown_3", 40]
    decoding = json.loads(path.read_text())["decoding"]
    edit(path, decoding={**decoding, "temperature": 0.6, "greedy": False})
    return path


def other_engine(run: RunFiles) -> Path:
    path = run.evaluations["countdown_3", 40]
    edit(path, engine="vllm 0.31.0")
    return path


def other_suite(run: RunFiles) -> Path:
    edit(run.evaluations["countdown_3", 40], suite_sha256="other")
    return run.evaluations["countdown_3", 40]


def other_problem(run: RunFiles) -> Path:
    path = run.evaluations["countdown_3", 40]
    edit_problems(path, lambda problems: problems[0].update(problem_id="another"))
    return path


def fewer_problems(run: RunFiles) -> Path:
    return run.evaluate(40, [[1, 1]] * 39)


def fewer_samples(run: RunFiles) -> Path:
    return run.evaluate(40, [[1]] * 40)


def no_base(run: RunFiles) -> Path:
    del run.evaluations["countdown_3", 0]
    return run.model


def no_base_on_second_suite(run: RunFiles) -> Path:
    run.evaluate(40, [[1, 1]] * 40, suite="harder")
    return run.model


def no_trained_step(run: RunFiles) -> Path:
    del run.evaluations["countdown_3", 20], run.evaluations["countdown_3", 40]
    return run.model


def no_evaluation(run: RunFiles) -> Path:
    run.evaluations.clear()
    return run.model


def other_version_between_steps(run: RunFiles) -> Path:
    path = run.evaluations["countdown_3", 20]
    edit(path, provenance=provenance(transformers="5.0.0"))
    return path


def duplicated_problem(run: RunFiles) -> Path:
    path = run.evaluations["countdown_3", 20]
    edit_problems(path, lambda problems: problems[0].update(problem_id=problems[1]["problem_id"]))
    return path


def missing_sample(run: RunFiles) -> Path:
    path = run.evaluations["countdown_3", 20]
    edit_problems(path, lambda problems: problems[3].update(length=[1]))
    return path


def missing_key(run: RunFiles) -> Path:
    edit(run.model, base_model=None)
    return run.model


def broken_json(run: RunFiles) -> Path:
    run.model.write_text("{")
    return run.model


def missing_metrics(run: RunFiles) -> Path:
    edit(run.model, metrics="nowhere.jsonl")
    return Path("nowhere.jsonl")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (stale_config, "config_hash is other"),
        (stale_model, "model_sha256 is other"),
        (other_base_model, "model_sha256 is other"),
        (unknown_step, "step 60 is not among the checkpoints"),
        (unknown_run, "has no model.json here"),
        (other_decoding, "decoding differs in greedy, temperature"),
        (other_suite, "suite_sha256 differs"),
        (other_problem, "the problems differ"),
        (fewer_problems, "the problems differ, first in p0039"),
        (fewer_samples, "decoding differs in n_samples"),
        (other_engine, "engine vllm 0.31.0 differs"),
        (no_base, "no evaluation of step 0, the base model"),
        (no_base_on_second_suite, "no evaluation of step 0, the base model, on harder"),
        (no_trained_step, "no evaluation of a trained step"),
        (no_evaluation, "has no evaluation"),
        (other_version_between_steps, "made with transformers 5.0.0"),
        (duplicated_problem, "39 distinct problems in 40 entries"),
        (missing_sample, "p0003 doesn't have n_samples = 2 values in length"),
        (missing_key, "base_model"),
        (broken_json, "not valid JSON"),
        (missing_metrics, "no such file"),
    ],
)
def test_refusals_name_the_file(tmp_path: Path, spoil: Edit, message: str) -> None:
    run = small_run(tmp_path)
    named = spoil(run)
    with pytest.raises(UserError) as caught:
        load(*paths(run))
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{named}: ")


@pytest.mark.parametrize("package", ["trl", "torch", "transformers"])
def test_runs_of_different_versions_never_share_a_table(tmp_path: Path, package: str) -> None:
    first, second = small_run(tmp_path), small_run(tmp_path, seed=1)
    edit(second.model, provenance=provenance(**{package: "0.1"}))
    with pytest.raises(UserError, match=f"made with {package} 0.1") as caught:
        load(*paths(first, second))
    assert str(second.model) in str(caught.value)
    assert str(first.model) in str(caught.value)


def test_seeds_are_measured_in_the_same_way(tmp_path: Path) -> None:
    first, second = small_run(tmp_path), small_run(tmp_path, seed=1)
    for path in second.evaluations.values():
        decoding = json.loads(path.read_text())["decoding"]
        edit(path, decoding={**decoding, "temperature": 0.6})
    with pytest.raises(UserError, match="decoding or samples are not those of"):
        load(*paths(first, second))


def test_versions_of_other_packages_may_differ(tmp_path: Path) -> None:
    first, second = small_run(tmp_path), small_run(tmp_path, seed=1)
    edit(second.model, provenance=provenance(snakemake="9.0"))
    assert len(load(*paths(first, second))) == 2


def test_one_report_has_one_scale(tmp_path: Path) -> None:
    first, second = small_run(tmp_path), small_run(tmp_path, seed=1, scale="paper")
    with pytest.raises(UserError, match="one report has one scale"):
        load(*paths(first, second))


def test_the_same_run_twice_is_refused(tmp_path: Path) -> None:
    run, copy = small_run(tmp_path), small_run(tmp_path / "copy")
    with pytest.raises(UserError, match="the same run") as caught:
        load([run.model, copy.model], run.evaluations.values())
    assert str(copy.model) in str(caught.value)


def test_the_same_evaluation_twice_is_refused(tmp_path: Path) -> None:
    run = small_run(tmp_path)
    models, evaluations = paths(run)
    with pytest.raises(UserError, match="the same run, suite and step"):
        load(models, [*evaluations, evaluations[1]])


def test_nothing_to_report() -> None:
    with pytest.raises(UserError, match="nothing to report"):
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
    with pytest.raises(UserError, match=r"metrics\.jsonl:2: not a JSON object with a step"):
        read_training(path)


def test_empty_metrics_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text("")
    with pytest.raises(UserError, match="no training metrics"):
        read_training(path)


def test_seeds_that_differ_in_more_than_the_seed_are_refused(tmp_path: Path) -> None:
    first, second = small_run(tmp_path), small_run(tmp_path, seed=1)
    second.train(settings={"algorithm.beta": 0.04})
    with pytest.raises(UserError, match="settings differ in algorithm from those of") as caught:
        load(*paths(first, second))
    assert str(second.model) in str(caught.value)


def test_seeds_that_answered_other_problems_are_refused(tmp_path: Path) -> None:
    first, second = small_run(tmp_path), small_run(tmp_path, seed=1)
    for path in second.evaluations.values():
        edit(path, suite_sha256="other")
    with pytest.raises(UserError, match="other problems than") as caught:
        load(*paths(first, second))
    assert "of another seed" in str(caught.value)


def test_seeds_that_another_engine_measured_are_refused(tmp_path: Path) -> None:
    first, second = small_run(tmp_path), small_run(tmp_path, seed=1)
    for path in second.evaluations.values():
        edit(path, engine="vllm 0.31.0 (cuda, bfloat16)")
    with pytest.raises(UserError, match=r"engine vllm 0\.31\.0 \(cuda, bfloat16\), and"):
        load(*paths(first, second))
