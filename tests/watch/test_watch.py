"""`r1zero watch`: the state of runs, from the files that the stages write."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from r1zero.core.files import write_json
from r1zero.settings import resolve_run
from r1zero.train import checkpoints, metrics
from r1zero.watch.runs import Status, look
from tiny import CONFIG, ENVIRONMENT, RECIPE, stage

RUN = f"mini/{RECIPE}/trl/seed0"
SETTINGS = resolve_run(RECIPE, scale="mini", backend="trl", seed=0, folder=CONFIG)
STEPS, SAVED = SETTINGS.sizes.max_steps, SETTINGS.sizes.save_steps
STEP_SECONDS = 30.0
MINUTES = 60.0


class Files:
    """The files of one run, as the stages write them."""

    def __init__(self, root: Path, run: str = RUN) -> None:
        self.root = root
        self.results, self.checkpoints = root / "results" / run, root / "checkpoints" / run
        self.content: dict[str, Any] = {
            "config_hash": "c" * 64,
            "data_hash": "d" * 64,
            "base_model": {"sha256": "b" * 64},
            "settings": SETTINGS.model_dump(mode="json"),
        }

    def resolve(self) -> "Files":
        write_json(self.results / "run.json", self.content)
        return self

    def begin(self, *, ago: float = 60 * MINUTES) -> "Files":
        self.resolve().checkpoints.mkdir(parents=True)
        checkpoints.bind_to_run(self.checkpoints, self.content)
        self.touch("run.json", ago)
        return self

    def train(self, *steps: int, ago: float = 0.0) -> "Files":
        for step in steps:
            row = {
                "step": step,
                "reward": step / 10,
                "completions/mean_length": 100.0 + step,
                "kl": 0.01 * step,
                "step_time": STEP_SECONDS,
            }
            metrics.append(self.checkpoints / "metrics.jsonl", row)
        self.touch("metrics.jsonl", ago)
        return self

    def save(self, step: int) -> "Files":
        path = self.checkpoints / f"checkpoint-{step}"
        path.mkdir()
        (path / "model.safetensors").write_bytes(b"weights")
        checkpoints.seal(path, "c" * 64)
        return self

    def say(self, text: str, *, ago: float = 0.0) -> "Files":
        (self.checkpoints / "console.log").write_text(text)
        self.touch("console.log", ago)
        return self

    def finish(self) -> "Files":
        shutil.copyfile(self.checkpoints / "metrics.jsonl", self.results / "metrics.jsonl")
        write_json(self.results / "model.json", self.content)
        return self

    def evaluate(self, suite: str, *steps: int) -> "Files":
        for step in steps:
            write_json(self.results / "evaluations" / suite / f"step{step}.json", {})
        return self

    def touch(self, name: str, ago: float) -> None:
        when = time.time() - ago
        os.utime(self.checkpoints / name, (when, when))


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def status(files: Files) -> Status:
    (found,) = look([files.root])
    assert found.run == RUN
    return found


def test_a_run_that_trains(files: Files) -> None:
    found = status(files.begin().train(1, 2, 3, 4).save(2))
    assert (found.state, found.step, found.max_steps) == ("training", 4, STEPS)
    assert (found.reward, found.length, found.kl) == (0.4, 104, 0.04)
    assert found.checkpoint == 2
    assert found.seconds_left == (STEPS - 4) * STEP_SECONDS
    completions = SETTINGS.sizes.prompts_per_step * SETTINGS.algorithm.num_generations
    assert found.tokens_per_second == pytest.approx(102.5 * completions / STEP_SECONDS)
    assert found.age == pytest.approx(0, abs=5)


@pytest.mark.parametrize(
    ("ago", "state"), [(4.5 * STEP_SECONDS, "training"), (5.5 * STEP_SECONDS, "stalled")]
)
def test_a_run_is_stalled_after_five_steps_without_a_row(
    files: Files, ago: float, state: str
) -> None:
    found = status(files.begin().train(1, 2, 3, ago=ago))
    assert found.state == state
    assert found.age == pytest.approx(ago, abs=5)
    assert (found.seconds_left is None) == (state == "stalled")


def test_a_run_that_starts_or_resumes_has_time_to_load_its_model(files: Files) -> None:
    files.begin(ago=10 * MINUTES)
    assert status(files).state == "training"
    files.train(1, 2, 3, ago=60 * MINUTES)
    assert status(files).state == "training"
    files.touch("run.json", 59 * MINUTES)
    assert status(files).state == "stalled"


def test_a_run_that_ended_in_a_traceback_may_have_failed(files: Files) -> None:
    files.begin().train(1, 2, ago=60)
    trace = "Traceback (most recent call last):\n  File\nValueError: no\n"
    assert status(files.say(f"\nstep=2/9\n{trace}", ago=30)).state == "failed?"
    assert status(files.say(f"{trace}\nstep=2/9\n", ago=30)).state == "training"
    # The next attempt has begun, and printed nothing yet.
    files.say(f"\nstep=2/9\n{trace}", ago=30).touch("run.json", 20)
    assert status(files).state == "training"


def test_waiting_evaluating_and_done(files: Files) -> None:
    assert status(files.resolve()).state == "waiting"
    files.begin().train(*range(1, STEPS + 1)).save(STEPS).finish()
    evaluated = range(0, STEPS + 1, SAVED)
    for suite in ("countdown_3", "hard"):
        found = status(files.evaluate(suite, *evaluated[:-2]))
        assert (found.state, found.evaluations_left) == ("evaluating", 2)
        files.evaluate(suite, *evaluated)
        found = status(files)
        assert (found.state, found.evaluations_left) == ("done", 0)
    # A finished run is shown without its checkpoints.
    shutil.rmtree(files.root / "checkpoints")
    assert status(files).reward == STEPS / 10


def test_files_of_an_earlier_configuration_do_not_count(files: Files) -> None:
    files.begin().train(*range(1, STEPS + 1)).finish()
    files.content["config_hash"] = "1" * 64
    found = status(files.resolve())
    assert (found.state, found.step, found.reward) == ("waiting", 0, None)


def test_any_state_of_the_metrics_can_be_read(files: Files) -> None:
    path = files.begin().train(1, 2).checkpoints / "metrics.jsonl"
    with path.open("a") as stream:
        stream.write('{"step": 3, "reward": 0.3, "step_ti')
    assert status(files).step == 2
    with path.open("a") as stream:
        stream.write('me": 1}\n\x00\x00\n[]\n{"step": 4, "reward": NaN}\n')
    assert (status(files).step, status(files).reward) == (4, 0.3)
    path.write_text("")
    assert status(files.train(1)).step == 1
    path.unlink()
    assert (status(files).step, status(files).reward) == (0, None)
    shutil.rmtree(files.root / "checkpoints")
    shutil.rmtree(files.root / "results")
    assert look([files.root]) == []


def test_runs_that_need_attention_come_first(files: Files) -> None:
    files.begin().train(1, 2, ago=60 * MINUTES)
    Files(files.root, RUN.replace("seed0", "seed1")).begin().train(1)
    Files(files.root, RUN.replace("seed0", "seed2")).resolve()
    assert [run.state for run in look([files.root])] == ["stalled", "training", "waiting"]


@pytest.mark.parametrize("width", ["40", "100"])
def test_the_command_prints_once_without_a_terminal(
    files: Files, width: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", width)
    files.begin().train(1, 2)
    (files.results.parent / "seed\x1b[2J").mkdir(parents=True)
    shutil.copy(files.results / "run.json", files.results.parent / "seed\x1b[2J")
    output = stage("watch", files.root)
    assert "trai" in output
    assert "\x1b" not in output
    assert max(map(len, output.splitlines())) <= int(width)
    found = json.loads(stage("watch", files.root, "--json"))
    assert {run["run"] for run in found["runs"]} >= {RUN}
    assert found["runs"][0]["reward"] == 0.2
    assert found["disk_free"][str(files.root / "checkpoints")] > 0


def test_it_follows_on_a_terminal_until_it_is_stopped_and_imports_no_torch(files: Files) -> None:
    files.begin().train(1, 2)
    import pty

    script = (
        "import sys; from r1zero.cli import main; sys.argv[0] = 'r1zero'\n"
        "try: main()\nexcept SystemExit as e: code = e.code\n"
        "heavy = {'torch', 'transformers', 'trl', 'swanlab'} & sys.modules.keys()\n"
        "print('imported', heavy or 'nothing heavy'); sys.exit(code)"
    )
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", script, "watch", files.root, "--interval", "0.2"],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env=ENVIRONMENT | {"TERM": "xterm", "COLUMNS": "100", "LINES": "30"},
    )
    os.close(follower)
    output = b""
    end = time.monotonic() + 60
    while b"0.20" not in output and time.monotonic() < end:
        output += os.read(leader, 65536)
    files.train(3)
    while b"0.30" not in output and time.monotonic() < end:
        output += os.read(leader, 65536)
    process.send_signal(signal.SIGINT)
    while True:
        try:
            output += os.read(leader, 65536)
        except OSError:  # how a pseudo-terminal ends
            break
    os.close(leader)
    assert process.wait(timeout=30) == 0, output.decode()
    assert b"0.30" in output
    assert b"Traceback" not in output
    assert b"imported nothing heavy" in output
