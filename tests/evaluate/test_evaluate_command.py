"""`r1zero evaluate`: base and checkpoints measured the same way, every number with its sources."""

import hashlib
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import psutil
import pytest
from transformers import AutoTokenizer

from graders import grade_countdown as grade
from r1zero.core.errors import UserError
from r1zero.core.files import weights_hash
from r1zero.core.locks import only_one
from r1zero.data.problems import read_problems
from r1zero.evaluate.engines import transformers as transformers_engine
from r1zero.evaluate.metrics import SEARCH, ks, majority_at_k, pass_at_k, repetition
from r1zero.evaluate.text import Tokens
from r1zero.tasks.countdown.search import search
from r1zero.train.checkpoints import seal, weights_hash_of
from tiny import ENVIRONMENT, Run, make_run, stage

# What differs between two evaluations that give the same results.
CLOCK = {"seconds", "tokens_per_second"}
COLUMNS = [
    "problem_id",
    "prompt",
    "decoding",
    "sample",
    "completion",
    "length",
    "truncated",
    "repetition",
    "correct",
    "lenient",
    "format",
    "extracted",
    "reason",
    *SEARCH,
]
POSITIONS = "max_position_embeddings"


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
    entry = {"step": 2, "path": str(checkpoint), "sha256": weights_hash_of(checkpoint)}
    made.model.write_text(json.dumps({**content, "checkpoints": [entry]}))
    decode(made, greedy=True)
    return made


@pytest.fixture(scope="session")
def suite(tiny_task: Path) -> Path:
    """Held-out problems."""
    return tiny_task.parent / "problems" / "test.parquet"


def options(run: Run, suite: Path, step: int, name: str = "scores") -> list[object]:
    manifest, out = suite.parents[1] / "manifest.json", run.folder / f"{name}.json"
    places = ("--problems", manifest, "--out", out)
    return [run.model, "--step", step, "--suite", "countdown_3", *places]


def evaluate(run: Run, suite: Path, step: int, name: str = "scores") -> dict[str, Any]:
    stage("evaluate", *options(run, suite, step, name))
    scores: dict[str, Any] = json.loads((run.folder / f"{name}.json").read_text())
    return scores


def base_folder(run: Run) -> Path:
    """Folder of the base model."""
    return Path(json.loads(run.model.read_text())["base_model"]["path"])


def completions(scores: dict[str, Any]) -> pl.DataFrame:
    return pl.read_parquet(scores["completions"])


def sampled(scores: dict[str, Any]) -> pl.DataFrame:
    return completions(scores).filter(decoding="sampled")


def decode(run: Run, **changes: Any) -> None:
    """Change how the run's models are measured."""
    change(run, lambda model: model["settings"]["evaluation"].update(changes))


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
    assert (scores["suite"], scores["step"]) == ("countdown_3", 2)
    assert scores["suite_sha256"] == hashlib.sha256(suite.read_bytes()).hexdigest()
    assert scores["decoding"] == {
        **{key: value for key, value in settings["evaluation"].items() if key != "suites"},
        "max_new_tokens": settings["sizes"]["max_completion_length"],
        "seed": model["run"]["seed"],
        "prompt": settings["prompt"],
    }
    assert scores["provenance"].keys() == {"commit", "versions", "hardware"}
    version = scores["provenance"]["versions"]["transformers"]
    assert scores["engine"] == f"transformers {version} (cpu, float32)"
    assert scores["tokens"] == completions(scores)["length"].sum()
    assert scores["tokens_per_second"] > 0
    assert scores["seconds"] >= 0


def test_a_summary_is_graded_by_the_target_that_the_recipe_rewards(run: Run, suite: Path) -> None:
    lengths = completions(evaluate(run, suite, 2))["completion"].str.len_chars()
    target = int(lengths[0])
    reward = {"name": "length", "weight": 1.0, "options": {"target": target}}
    change(run, lambda model: model["settings"].update(task="tldr", rewards=[reward]))
    correct = completions(evaluate(run, suite, 2))["correct"]
    assert correct.to_list() == [int(abs(n - target) <= target // 10) for n in lengths]
    assert 0 < correct.sum() < len(correct)


def test_problems_are_drawn_from_the_suite_with_so_many_samples(run: Run, suite: Path) -> None:
    decode(run, max_problems=5, n_samples=3)
    scores = evaluate(run, suite, 0)
    assert (scores["n_problems"], scores["n_samples"]) == (5, 3)
    wanted = [problem["problem_id"] for problem in read_problems(suite, 5)]
    assert [problem["problem_id"] for problem in scores["problems"]] == wanted
    for key in ("correct", "lenient", "format", "length", "truncated", "repetition", "vote"):
        assert all(len(problem[key]) == 3 for problem in scores["problems"])
    table = completions(scores)
    assert table.columns == COLUMNS
    assert table["problem_id"].to_list() == [name for name in wanted for _ in range(4)]
    assert table["decoding"].to_list() == [*["sampled"] * 3, "greedy"] * 5
    assert table["sample"].to_list() == [0, 1, 2, 0] * 5


def test_a_suite_may_have_sizes_of_its_own(run: Run, suite: Path) -> None:
    decode(run, max_problems=5, n_samples=3)
    stage("evaluate", *options(run, suite, 0), "--n-samples", 2, "--max-problems", 7)
    scores = json.loads((run.folder / "scores.json").read_text())
    assert (scores["n_problems"], scores["n_samples"]) == (7, 2)
    assert (scores["decoding"]["max_problems"], scores["decoding"]["n_samples"]) == (7, 2)


def test_completions_end_where_the_positions_of_the_model_do(run: Run, suite: Path) -> None:
    decode(run, max_problems=3, n_samples=2)
    tokens = Tokens(base_folder(run))
    prompts = tokens.encode([problem["prompt"] for problem in read_problems(suite, 3)])
    room = max(map(len, prompts)) + 5
    config = base_folder(run) / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {POSITIONS: room}))
    table = completions(evaluate(run, suite, 0))
    longest = {
        problem["problem_id"]: room - len(prompt)
        for problem, prompt in zip(read_problems(suite, 3), prompts, strict=True)
    }
    assert all(row["length"] <= longest[row["problem_id"]] for row in table.to_dicts())
    assert table["truncated"].sum() > 0
    config.write_text(json.dumps(json.loads(config.read_text()) | {POSITIONS: room - 5}))
    with pytest.raises(UserError) as raised:
        evaluate(run, suite, 0, "again")
    assert raised.value.where == str(base_folder(run))
    assert str(room - 5) in raised.value.message
    assert not (run.folder / "again.json").exists()


def test_the_tokenizer_of_a_base_is_read_as_transformers_reads_it(run: Run, suite: Path) -> None:
    folder = base_folder(run)
    tokens, loaded = Tokens(folder), AutoTokenizer.from_pretrained(folder)
    prompts = [problem["prompt"] for problem in read_problems(suite, 5)] + ["é <think>"]
    ids = tokens.encode(prompts)
    assert ids == loaded(prompts)["input_ids"]
    for row in [*ids, [*range(len(loaded))]]:
        text = loaded.decode(row, skip_special_tokens=True)
        assert text
        assert tokens.completion(row).text == text
    assert tokens.pad == loaded.pad_token_id
    assert tokens.stop_token_ids == (loaded.eos_token_id,)


def test_a_suite_with_fewer_problems_is_taken_whole(run: Run, suite: Path) -> None:
    decode(run, max_problems=1000)
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
        assert row["repetition"] == round(repetition(row["completion"]), 6)
    ways = {way: table.filter(decoding=way) for way in ("sampled", "greedy")}
    for metric, column in (
        ("accuracy", "correct"),
        ("lenient_accuracy", "lenient"),
        ("format", "format"),
        ("mean_length", "length"),
        ("truncated", "truncated"),
        ("repetition", "repetition"),
    ):
        for key, rows in (("metrics", ways["sampled"]), ("greedy_metrics", ways["greedy"])):
            assert scores[key][metric] == pytest.approx(rows[column].mean(), abs=1e-6)
        by_problem = [value for problem in scores["problems"] for value in problem[column]]
        assert by_problem == ways["sampled"][column].to_list()
        once = [problem["greedy"][column] for problem in scores["problems"]]
        assert once == ways["greedy"][column].to_list()
    sampled = ways["sampled"]
    asked = [problems[problem_id] for problem_id in sampled["problem_id"]]
    counted = search(sampled["completion"].to_list(), asked)
    for name in SEARCH:
        flat = [value for problem in scores["problems"] for value in problem[name]]
        assert flat == [getattr(found, name) for found in counted]


def test_pass_and_majority_follow_from_the_problems(
    run: Run, suite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = {row["prompt"]: row for row in pl.read_parquet(suite).to_dicts()}
    tokenizer = AutoTokenizer.from_pretrained(run.checkpoints / "checkpoint-2")

    def answer(model: Any, prompts: list[list[int]], **_: Any) -> list[list[int]]:
        """Answer in turn with some number, nothing, and the numbers of the problem added up."""
        texts = []
        for turn, prompt in enumerate(prompts):
            nums = right[tokenizer.decode(prompt)]["nums"]
            expression = (str(nums[0]), None, " + ".join(map(str, nums)))[turn % 3]
            texts.append(f"</think> <answer>{expression}</answer>" if expression else "nothing")
        return [[*ids, tokenizer.eos_token_id] for ids in tokenizer(texts)["input_ids"]]

    monkeypatch.setattr(transformers_engine, "sample", answer)
    decode(run, n_samples=6, greedy=False)
    scores = evaluate(run, suite, 2)
    problems, metrics = scores["problems"], scores["metrics"]
    assert [problem["vote"] for problem in problems] == [[0, None, 1, 0, None, 1]] * len(problems)
    correct = [problem["correct"] for problem in problems]
    vote = [problem["vote"] for problem in problems]
    for k in ks(6):
        assert metrics[f"pass@{k}"] == pytest.approx(pass_at_k(correct, k).mean(), abs=1e-6)
        assert metrics[f"lenient_pass@{k}"] >= metrics[f"pass@{k}"]
        if k > 1:
            wanted = majority_at_k(correct, vote, k).mean()
            assert metrics[f"maj@{k}"] == pytest.approx(wanted, abs=1e-6)
    assert "maj@1" not in metrics
    assert scores["greedy_metrics"] is None
    assert all(problem["greedy"] is None for problem in problems)


def test_a_base_and_a_checkpoint_with_its_weights_score_the_same(run: Run, suite: Path) -> None:
    base, checkpoint = evaluate(run, suite, 0, "base"), evaluate(run, suite, 2, "checkpoint")
    assert completions(base).equals(completions(checkpoint))
    for key in base.keys() - {"step", "completions", *CLOCK}:
        assert base[key] == checkpoint[key], key


def test_a_seed_gives_the_same_completions_and_another_seed_others(run: Run, suite: Path) -> None:
    first, again = (completions(evaluate(run, suite, 2)) for _ in range(2))
    change(run, lambda model: model["run"].update(seed=1))
    other = completions(evaluate(run, suite, 2))
    assert first.equals(again)
    assert first["completion"].to_list() != other["completion"].to_list()


def test_samples_of_a_problem_differ_unless_greedy(run: Run, suite: Path) -> None:
    for temperature, distinct in ((1.0, True), (0.0, False)):
        decode(run, temperature=temperature)
        texts = sampled(evaluate(run, suite, 2))["completion"].to_list()
        assert (texts[::2] != texts[1::2]) == distinct


def test_the_greedy_completion_is_the_one_at_temperature_0(run: Run, suite: Path) -> None:
    beside = evaluate(run, suite, 2)
    decode(run, temperature=0.0)
    alone = evaluate(run, suite, 2)
    columns = [column for column in COLUMNS if column != "decoding"]
    for scores in (beside, alone):
        greedy = completions(scores).filter(decoding="greedy").select(columns)
        assert greedy.equals(sampled(alone).filter(sample=0).select(columns))
    # Generated once, it serves as every sample.
    assert alone["tokens"] * 2 == sampled(alone)["length"].sum()


def test_a_greedy_completion_besides_changes_no_sample(run: Run, suite: Path) -> None:
    beside = sampled(evaluate(run, suite, 2))
    decode(run, greedy=False)
    alone = completions(evaluate(run, suite, 2))
    assert alone.equals(beside)


def test_batches_change_no_greedy_completion(
    run: Run, suite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode(run, temperature=0.0)
    whole = completions(evaluate(run, suite, 2))
    monkeypatch.setattr(transformers_engine, "BATCH", {"cpu": 5, "cuda": 5})
    assert completions(evaluate(run, suite, 2)).equals(whole)


def test_completions_stand_beside_the_problem_they_answer(
    run: Run, suite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def echo(model: Any, prompts: list[list[int]], *, eos: list[int], **_: Any) -> list[list[int]]:
        return [[*prompt, eos[0]] for prompt in prompts]

    monkeypatch.setattr(transformers_engine, "sample", echo)
    monkeypatch.setattr(transformers_engine, "BATCH", {"cpu": 5, "cuda": 5})
    prompts = dict(pl.read_parquet(suite).select("problem_id", "prompt").iter_rows())
    for problem, completion in (
        completions(evaluate(run, suite, 2)).select("problem_id", "completion").iter_rows()
    ):
        assert completion == prompts[problem]


class Counted:
    """The sampler, which counts the completions it draws and may be cut off before some call."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, calls: int | None = None) -> None:
        self.drawn, self.calls, self.sample = 0, calls, transformers_engine.sample
        monkeypatch.setattr(transformers_engine, "sample", self)

    def __call__(self, model: Any, prompts: list[list[int]], **options: Any) -> list[list[int]]:
        if self.calls == 0:
            raise RuntimeError("cut off")
        self.calls = None if self.calls is None else self.calls - 1
        self.drawn += len(prompts)
        return self.sample(model, prompts, **options)


def partial(run: Run, name: str = "scores") -> set[str]:
    """Finished chunks of an evaluation that is under way or was cut off."""
    return {path.stem for path in (run.folder / f".{name}.partial").glob("[!.]*.parquet")}


@pytest.mark.parametrize("cut", [1, 3])
def test_an_evaluation_that_was_cut_off_draws_only_what_is_missing(
    run: Run, suite: Path, monkeypatch: pytest.MonkeyPatch, cut: int
) -> None:
    monkeypatch.setattr(transformers_engine, "BATCH", {"cpu": 8, "cuda": 8})
    whole = evaluate(run, suite, 2, "whole")  # two chunks of 4 x 2 samples, one of 8 greedy ones
    with monkeypatch.context() as patched:
        Counted(patched, calls=cut - 1)
        with pytest.raises(RuntimeError, match="cut off"):
            stage("evaluate", *options(run, suite, 2))
    assert len(partial(run)) == cut - 1
    counted = Counted(monkeypatch)
    scores = evaluate(run, suite, 2)
    assert counted.drawn == 24 - 8 * (cut - 1)
    assert completions(scores).equals(completions(whole))
    for key in whole.keys() - {"completions", *CLOCK}:
        assert scores[key] == whole[key], key
    assert [path for path in run.folder.iterdir() if "partial" in path.name] == []


@pytest.mark.parametrize("changed", [{"temperature": 0.7}, {"n_samples": 4}, {"greedy": False}])
def test_what_another_decoding_left_is_not_taken(
    run: Run, suite: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, Any]
) -> None:
    monkeypatch.setattr(transformers_engine, "BATCH", {"cpu": 8, "cuda": 8})
    with monkeypatch.context() as patched:
        Counted(patched, calls=1)
        with pytest.raises(RuntimeError, match="cut off"):
            stage("evaluate", *options(run, suite, 2))
    decode(run, **changed)
    counted = Counted(monkeypatch)
    scores = evaluate(run, suite, 2)
    assert counted.drawn == len(completions(scores))
    assert completions(scores).equals(completions(evaluate(run, suite, 2, "afresh")))


@pytest.mark.slow
def test_a_killed_evaluation_ends_as_an_unbroken_one(
    run: Run, suite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 256 samples are a chunk for each problem.
    decode(run, max_problems=4, n_samples=256)
    change(run, lambda model: model["settings"]["sizes"].update(max_completion_length=96))
    command = [sys.executable, "-m", "r1zero", "evaluate", *map(str, options(run, suite, 2))]
    process = subprocess.Popen(command, env=ENVIRONMENT)
    while not partial(run):
        assert process.poll() is None
        time.sleep(0.005)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert not (run.folder / "scores.json").exists()
    kept = partial(run)
    assert 1 <= len(kept) < 5
    counted = Counted(monkeypatch)
    scores = evaluate(run, suite, 2)
    assert counted.drawn == 4 * 256 + 4 - sum(256 for name in kept if name.startswith("sampled"))
    whole = evaluate(run, suite, 2, "whole")
    assert completions(scores).equals(completions(whole))
    for key in whole.keys() - {"completions", *CLOCK}:
        assert scores[key] == whole[key], key


def test_an_evaluation_waits_for_another_one_of_the_same_and_takes_what_it_has_made(
    run: Run, suite: Path
) -> None:
    made = Path(evaluate(run, suite, 2)["completions"]).stat().st_mtime_ns
    command = [sys.executable, "-m", "r1zero", "evaluate", *map(str, options(run, suite, 2))]
    with only_one(run.folder / "scores.json"):
        process = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert "waiting" in process.stdout.readline()
    assert "made by the other process" in process.communicate(timeout=300)[0]
    assert process.returncode == 0
    assert (run.folder / "scores.parquet").stat().st_mtime_ns == made


@pytest.mark.slow
def test_several_processes_generate_what_one_does(run: Run, suite: Path) -> None:
    """Also after one of them was killed."""
    decode(run, max_problems=4, n_samples=256)  # a chunk for each problem
    change(run, lambda model: model["settings"]["sizes"].update(max_completion_length=96))
    whole = evaluate(run, suite, 2, "whole")
    parallel = [*map(str, options(run, suite, 2)), "--gpus", "0", "--processes", "2"]
    command = [sys.executable, "-m", "r1zero", "evaluate", *parallel]
    process = subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)
    while not partial(run):
        assert process.poll() is None
        time.sleep(0.005)
    workers = [
        each
        for each in psutil.Process(process.pid).children()
        if "r1zero.evaluate.workers" in each.cmdline()
    ]
    assert len(workers) == 2
    workers[0].kill()
    log = run.folder / ".scores.partial" / "evaluator.log"
    assert f"error: {log}: " in process.communicate(timeout=60)[1]
    assert process.returncode == 2
    _, alive = psutil.wait_procs(workers, timeout=60)
    assert not alive
    stage("evaluate", *parallel)
    scores = json.loads((run.folder / "scores.json").read_text())
    one, other = (Path(each["completions"]).read_bytes() for each in (whole, scores))
    assert one == other
    for key in whole.keys() - {"completions", *CLOCK}:
        assert scores[key] == whole[key], key
    assert [path for path in run.folder.iterdir() if "partial" in path.name] == []


@pytest.mark.parametrize("means", [("--gpus", 3, "--processes", 2), ("--gpus", 1)], ids=str)
def test_gpus_that_are_not_there_or_not_divisible_are_named(
    run: Run, suite: Path, monkeypatch: pytest.MonkeyPatch, means: tuple[object, ...]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(UserError) as raised:
        stage("evaluate", *options(run, suite, 2), *means)
    assert raised.value.where == means[-2]
    assert not (run.folder / "scores.json").exists()


def refusal(run: Run, suite: Path, step: int) -> UserError:
    with pytest.raises(UserError) as raised:
        evaluate(run, suite, step)
    assert not (run.folder / "scores.json").exists()
    return raised.value


def test_a_step_without_checkpoint_lists_those_there_are(run: Run, suite: Path) -> None:
    change(run, lambda model: model["checkpoints"].append({**model["checkpoints"][0], "step": 4}))
    error = refusal(run, suite, 3)
    assert error.where == str(run.model)
    assert "step 3" in error.message
    assert "2, 4" in error.hint


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
    error = refusal(run, suite, 2)
    assert error.where == str(run.checkpoints / "checkpoint-2" / "checkpoint.json")


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
