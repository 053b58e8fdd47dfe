"""`r1zero watch`: what it says of runs, from the files that the stages write."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from r1zero.core.files import write_json
from r1zero.settings import resolve_run
from r1zero.train import checkpoints, metrics
from r1zero.watch.machine import Gpu
from r1zero.watch.runs import Status, Watch
from r1zero.watch.screen import screen, sparkline
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
    (found,) = Watch([files.root]).look()
    assert found.run == RUN
    return found


def test_a_run_that_trains(files: Files) -> None:
    found = status(files.begin().train(1, 2, 3, 4).save(2))
    assert (found.state, found.step, found.max_steps) == ("training", 4, STEPS)
    assert found.reward == (0.1, 0.2, 0.3, 0.4)
    assert found.length == (101, 102, 103, 104)
    assert found.kl == 0.04
    assert found.checkpoint == 2
    assert found.seconds_left == (STEPS - 4) * STEP_SECONDS
    completions = SETTINGS.sizes.prompts_per_step * SETTINGS.algorithm.num_generations
    assert found.tokens_per_second == pytest.approx(102.5 * completions / STEP_SECONDS)
    assert found.age == pytest.approx(0, abs=5)


@pytest.mark.parametrize(
    ("ago", "state"), [(4.5 * STEP_SECONDS, "training"), (5.5 * STEP_SECONDS, "stalled")]
)
def test_a_run_is_stalled_after_five_steps_without_a_line(
    files: Files, ago: float, state: str
) -> None:
    found = status(files.begin().train(1, 2, 3, ago=ago))
    assert found.state == state
    assert found.age == pytest.approx(ago, abs=5)
    assert (found.seconds_left is None) == (state == "stalled")


def test_a_run_that_begins_or_goes_on_has_time_to_load_its_model(files: Files) -> None:
    files.begin(ago=10 * MINUTES)
    assert status(files).state == "training"
    files.train(1, 2, 3, ago=0)
    # An attempt cuts the metrics off at its checkpoint as it begins.
    for name in ("run.json", "metrics.jsonl"):
        files.touch(name, 10 * MINUTES)
    assert status(files).state == "training"
    for name in ("run.json", "metrics.jsonl"):
        files.touch(name, 60 * MINUTES)
    assert status(files).state == "stalled"


def test_a_run_that_ended_in_a_traceback_may_have_failed(files: Files) -> None:
    files.begin().train(1, 2, ago=60)
    trace = "Traceback (most recent call last):\n  File\nValueError: no\n"
    assert status(files.say(f"\nstep=2/9\n{trace}", ago=30)).state == "failed?"
    assert status(files.say(f"{trace}\nstep=2/9\n", ago=30)).state == "training"
    # The next attempt has begun, and said nothing yet.
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
    # A finished run needs no checkpoints to be shown.
    shutil.rmtree(files.root / "checkpoints")
    assert status(files).reward[-1] == STEPS / 10


def test_what_a_former_configuration_left_is_not_the_run(files: Files) -> None:
    files.begin().train(*range(1, STEPS + 1)).finish()
    files.content["config_hash"] = "1" * 64
    found = status(files.resolve())
    assert (found.state, found.step, found.reward) == ("waiting", 0, ())


def test_the_disk_that_is_needed_is_that_of_the_checkpoints_to_come(files: Files) -> None:
    disk = {"weights": 10, "optimizer": 20, "checkpoints": 6}
    files.begin().train(1, 2).save(1).save(2)
    plan = {"disk": disk, "kept_optimizer_states": None}
    write_json(files.results / "plan" / "plan.json", plan)
    assert status(files).disk_needed == 4 * 30
    write_json(files.results / "plan" / "plan.json", plan | {"kept_optimizer_states": 3})
    assert status(files).disk_needed == 4 * 10 + 20


def test_lines_are_read_as_they_come_whatever_becomes_of_the_file(files: Files) -> None:
    path = files.begin().train(1, 2).checkpoints / "metrics.jsonl"
    watch = Watch([files.root])

    def rewards() -> tuple[float, ...]:
        (found,) = watch.look()
        return found.reward

    assert rewards() == (0.1, 0.2)
    with path.open("a") as stream:
        stream.write('{"step": 3, "reward": 0.3, "step_ti')
    assert rewards() == (0.1, 0.2)
    with path.open("a") as stream:
        stream.write('me": 1}\n\x00\x00\n[]\n{"step": 4, "reward": NaN}\n')
    assert rewards() == (0.1, 0.2, 0.3)
    # Begun anew, and grown beyond its former length before we look again.
    path.write_text("")
    files.train(1, 2, 3, 4, 5)
    assert rewards()[-2:] == (0.4, 0.5)
    metrics.keep_until(path, 1)
    assert rewards() == (0.1,)
    path.unlink()
    assert rewards() == (0.1,)
    shutil.rmtree(files.root / "checkpoints")
    shutil.rmtree(files.root / "results")
    assert watch.look() == []


def test_a_clock_that_is_ahead_or_behind_stalls_no_run(files: Files) -> None:
    watch = Watch([files.root])
    files.begin().train(1, 2, ago=-60 * MINUTES)
    (found,) = watch.look()
    assert (found.state, found.age) == ("training", pytest.approx(0, abs=5))
    files.train(3, ago=60 * MINUTES)  # a line that has just come, by a clock that is behind
    (found,) = watch.look()
    assert (found.state, found.age) == ("training", pytest.approx(0, abs=5))


def shown(runs: list[Status], width: int, height: int | None = None) -> list[str]:
    console = Console(width=width, record=True, file=Path(os.devnull).open("w"))  # noqa: SIM115
    gpus = [Gpu(0, "NVIDIA H800", 0.5, 2**34, 2**36)]
    console.print(screen(runs, gpus, {"checkpoints": 10**9}, width=width, height=height))
    return console.export_text().splitlines()


@pytest.mark.parametrize("width", [30, 40, 60, 80, 140, 300])
def test_the_table_is_as_wide_as_the_terminal_at_most(files: Files, width: int) -> None:
    one = status(files.begin().train(*range(1, 30)).save(8))
    many = [replace(one, run=f"mini/recipe_{n}/trl/seed{n}", age=10.0**n) for n in range(5)]
    lines = shown(many, width)
    assert len(lines) == 2 + 5 + 2
    assert max(map(len, lines)) <= width
    headings = lines[1].split()
    assert headings[:2] == ["run", "state"]
    if width >= 80:
        assert {"step", "left", "reward", "length"} <= set(headings)
    if width >= 140:
        assert headings == [
            "run",
            "state",
            "step",
            "left",
            "reward",
            "length",
            "KL",
            "saved",
            "tok/s",
            "age",
        ]
        assert "▁" in lines[2]
        assert "█" in lines[2]


def test_more_runs_than_lines_are_counted(files: Files) -> None:
    one = status(files.begin().train(1, 2))
    runs = [replace(one, run=f"mini/a/trl/seed{n}") for n in range(40)]
    runs += [replace(one, run=f"mini/b/trl/seed{n}", state="waiting") for n in range(3)]
    lines = shown(runs, 80, height=24)
    assert len(lines) <= 24
    counted = next(line for line in lines if line.startswith("and "))
    visible = sum("seed" not in line or "training" in line for line in lines[2:-3])
    assert counted.split() == ["and", str(40 - visible), "training,", "3", "waiting"]


def test_names_of_folders_give_a_terminal_no_orders(files: Files) -> None:
    one = status(files.begin().train(1))
    text = "\n".join(shown([replace(one, run="mini/\x1b[2J[red]x/trl/seed0")], 140))
    assert "\x1b" not in text
    assert "?[2J[red]x" in text


@given(st.lists(st.floats(-1e9, 1e9), max_size=60), st.integers(1, 30))
def test_a_sparkline_keeps_to_its_width_and_order(values: list[float], width: int) -> None:
    drawn = sparkline(values, width)
    assert len(drawn) == min(width, len(values))
    rising = sparkline(sorted(values), width)
    assert list(rising) == sorted(rising)
    if len(values) <= width and len(set(values)) > 1:
        assert drawn[values.index(max(values))] == "█"
        assert drawn[values.index(min(values))] == "▁"


def test_the_command_prints_once_without_a_terminal(files: Files) -> None:
    files.begin().train(1, 2)
    output = stage("watch", files.root)
    assert RECIPE in output
    assert "training" in output
    found = json.loads(stage("watch", files.root, "--json"))
    assert [run["run"] for run in found["runs"]] == [RUN]
    assert found["runs"][0]["reward"] == [0.1, 0.2]
    assert found["disk_free"][str(files.root / "checkpoints")] > 0
    assert "no runs yet" in stage("watch", files.root / "results" / "mini")


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
