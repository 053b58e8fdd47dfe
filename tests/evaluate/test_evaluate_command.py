"""`r1zero evaluate`: base and checkpoints measured the same way, every number with its sources."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from r1zero.errors import UserError
from r1zero.evaluate import generate as generate_module
from r1zero.files import weights_hash
from r1zero.rewards.countdown import grade
from r1zero.train.checkpoints import identity, seal
from tiny import Run, make_run, stage

COLUMNS = [
    "problem_id",
    "sample",
    "completion",
    "length",
    "truncated",
    "correct",
    "lenient",
    "format",
    "extracted",
    "reason",
]


@pytest.fixture
def run(tiny_config: Path, tiny_task: Path, tiny_base: Path, tmp_path: Path) -> Run:
    """A run whose one checkpoint, of step 2, has the weights it started from."""
    base = tmp_path / "base"
    shutil.copytree(tiny_base.parent, base)
    made = make_run(tmp_path / "run", tiny_config, tiny_task, base / "manifest.json")
    checkpoint = made.checkpoints / "checkpoint-2"
    shutil.copytree(base, checkpoint)
    (checkpoint / "manifest.json").unlink()
    content = json.loads(made.file.read_text())
    seal(checkpoint, content["config_hash"])
    entry = {"step": 2, "path": str(checkpoint), "sha256": identity(checkpoint)}
    made.model.write_text(json.dumps({**content, "checkpoints": [entry]}))
    return made


@pytest.fixture(scope="session")
def suite(tiny_task: Path) -> Path:
    """Held-out problems."""
    return tiny_task.parent / "problems" / "test.parquet"


def evaluate(run: Run, suite: Path, step: int, name: str = "scores") -> dict[str, Any]:
    out = run.folder / f"{name}.json"
    manifest = suite.parents[1] / "manifest.json"
    options = ("--step", step, "--suite", "countdown_test", "--problems", manifest, "--out", out)
    stage("evaluate", run.model, *options)
    scores: dict[str, Any] = json.loads(out.read_text())
    return scores


def completions(scores: dict[str, Any]) -> pl.DataFrame:
    return pl.read_parquet(scores["completions"])


def change(run: Run, edit: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(run.model.read_text())
    edit(content)
    run.model.write_text(json.dumps(content))


def test_scores_name_what_was_measured_and_how(run: Run, suite: Path) -> None:
    scores, model = evaluate(run, suite, 2), json.loads(run.model.read_text())
    settings = model["settings"]
    assert scores["run"] == model["run"]
    assert scores["config_hash"] == model["config_hash"]
    assert scores["model_sha256"] == model["checkpoints"][0]["sha256"]
    assert (scores["suite"], scores["step"]) == ("countdown_test", 2)
    assert scores["suite_sha256"] == hashlib.sha256(suite.read_bytes()).hexdigest()
    assert scores["decoding"] == {
        **settings["evaluation"],
        "max_new_tokens": settings["sizes"]["max_completion_length"],
        "seed": model["run"]["seed"],
        "prompt": settings["prompt"],
    }
    assert scores["provenance"].keys() == {"commit", "versions", "hardware"}
    assert scores["seconds"] >= 0


def test_problems_are_the_first_of_the_suite_with_so_many_samples(run: Run, suite: Path) -> None:
    change(run, lambda model: model["settings"]["evaluation"].update(max_problems=5, n_samples=3))
    scores = evaluate(run, suite, 0)
    assert (scores["n_problems"], scores["n_samples"]) == (5, 3)
    wanted = pl.read_parquet(suite)["problem_id"].to_list()[:5]
    assert [problem["problem_id"] for problem in scores["problems"]] == wanted
    for key in ("correct", "lenient", "format", "length", "truncated"):
        assert all(len(problem[key]) == 3 for problem in scores["problems"])
    table = completions(scores)
    assert table.columns == COLUMNS
    assert table["problem_id"].to_list() == [name for name in wanted for _ in range(3)]
    assert table["sample"].to_list() == [0, 1, 2] * 5


def test_a_suite_with_fewer_problems_is_taken_whole(run: Run, suite: Path) -> None:
    change(run, lambda model: model["settings"]["evaluation"].update(max_problems=1000))
    assert evaluate(run, suite, 0)["n_problems"] == len(pl.read_parquet(suite))


def test_every_number_follows_from_the_completions(run: Run, suite: Path) -> None:
    scores = evaluate(run, suite, 2)
    table = completions(scores)
    problems = {row["problem_id"]: row for row in pl.read_parquet(suite).to_dicts()}
    longest = scores["decoding"]["max_new_tokens"]
    for row in table.to_dicts():
        problem = problems[row["problem_id"]]
        verdict = grade(row["completion"], problem["nums"], problem["target"])
        for key in ("correct", "lenient", "format", "extracted", "reason"):
            assert row[key] == getattr(verdict, key)
        assert row["length"] <= longest
        assert row["length"] == longest or not row["truncated"]
    for metric, column in (
        ("accuracy", "correct"),
        ("format", "format"),
        ("mean_length", "length"),
        ("truncated", "truncated"),
    ):
        assert scores["metrics"][metric] == pytest.approx(table[column].mean(), abs=1e-6)
        by_problem = [value for problem in scores["problems"] for value in problem[column]]
        assert by_problem == table[column].to_list()


def test_a_base_and_a_checkpoint_with_its_weights_score_the_same(run: Run, suite: Path) -> None:
    base, checkpoint = evaluate(run, suite, 0, "base"), evaluate(run, suite, 2, "checkpoint")
    assert completions(base).equals(completions(checkpoint))
    for key in base.keys() - {"step", "completions", "seconds"}:
        assert base[key] == checkpoint[key], key


def test_a_seed_gives_the_same_completions_and_another_seed_others(run: Run, suite: Path) -> None:
    first, again = (completions(evaluate(run, suite, 2)) for _ in range(2))
    change(run, lambda model: model["run"].update(seed=1))
    other = completions(evaluate(run, suite, 2))
    assert first.equals(again)
    assert first["completion"].to_list() != other["completion"].to_list()


def test_samples_of_a_problem_differ_unless_greedy(run: Run, suite: Path) -> None:
    for temperature, distinct in ((1.0, True), (0.0, False)):
        decoding = {"temperature": temperature}
        change(run, lambda model, changes=decoding: model["settings"]["evaluation"].update(changes))
        texts = completions(evaluate(run, suite, 2))["completion"].to_list()
        assert (texts[::2] != texts[1::2]) == distinct


def test_batches_change_no_greedy_completion(
    run: Run, suite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(run, lambda model: model["settings"]["evaluation"].update(temperature=0.0))
    whole = completions(evaluate(run, suite, 2))
    monkeypatch.setattr(generate_module, "_BATCH", {"cpu": 5, "cuda": 5})
    assert completions(evaluate(run, suite, 2)).equals(whole)


def test_completions_stand_beside_the_problem_they_answer(
    run: Run, suite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def echo(model: Any, prompts: list[list[int]], *, eos: list[int], **_: Any) -> list[list[int]]:
        return [[*prompt, eos[0]] for prompt in prompts]

    monkeypatch.setattr(generate_module, "sample", echo)
    monkeypatch.setattr(generate_module, "_BATCH", {"cpu": 5, "cuda": 5})
    prompts = dict(pl.read_parquet(suite).select("problem_id", "prompt").iter_rows())
    for problem, completion in (
        completions(evaluate(run, suite, 2)).select("problem_id", "completion").iter_rows()
    ):
        assert completion == prompts[problem]


def refusal(run: Run, suite: Path, step: int) -> UserError:
    with pytest.raises(UserError) as raised:
        evaluate(run, suite, step)
    assert not (run.folder / "scores.json").exists()
    return raised.value


def test_a_step_without_checkpoint_lists_those_there_are(run: Run, suite: Path) -> None:
    change(run, lambda model: model["checkpoints"].append({**model["checkpoints"][0], "step": 4}))
    assert str(refusal(run, suite, 3)) == (
        f"{run.model}: no checkpoint of step 3 (there are: 2, 4)"
    )


@pytest.mark.parametrize("step", [0, 2])
def test_weights_that_were_changed_are_refused(run: Run, suite: Path, step: int) -> None:
    folder = run.checkpoints / "checkpoint-2" if step else run.folder.parent / "base"
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    error = refusal(run, suite, step)
    assert error.where == str(folder)
    wanted = weights_hash(
        json.loads((run.folder.parent / "base/manifest.json").read_text())["files"]
    )
    assert f"{run.model} says {wanted[:12]}" in error.message


def test_weights_that_are_gone_are_refused(run: Run, suite: Path) -> None:
    shutil.rmtree(run.checkpoints / "checkpoint-2")
    assert refusal(run, suite, 2).message == "no such file"


@pytest.mark.slow
def test_a_trained_run_is_measured_at_each_of_its_steps(
    unbroken_run: Run, suite: Path, tmp_path: Path
) -> None:
    run = Run(tmp_path)
    shutil.copyfile(unbroken_run.model, run.model)
    scores = [evaluate(run, suite, step, f"step{step}") for step in (0, 2, 4, 6)]
    assert len({score["model_sha256"] for score in scores}) == 4
    for key in ("suite_sha256", "config_hash", "decoding", "n_problems"):
        assert all(score[key] == scores[0][key] for score in scores)
    assert completions(scores[-1])["truncated"].mean() < 1  # some completions end
