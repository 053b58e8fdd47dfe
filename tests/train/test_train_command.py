"""`r1zero train`: what it refuses before anything starts, and what it makes of a finished run."""

import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from r1zero.core.errors import UserError
from r1zero.core.files import cost_file
from r1zero.plan.backend import Process
from r1zero.plan.gpu_lock import locked_gpus
from r1zero.train import checkpoints, command
from r1zero.train.backends.trl import entrypoint
from tiny import Run, edited, make_run, stage


@pytest.fixture
def run(tiny_config: Path, tiny_task: Path, tiny_base: Path, tmp_path: Path) -> Run:
    """A run that is ready to train, with copies of its inputs."""
    for name, manifest in (("task", tiny_task), ("base", tiny_base)):
        shutil.copytree(manifest.parent, tmp_path / name)
    inputs = (tmp_path / name / "manifest.json" for name in ("task", "base"))
    return make_run(tmp_path / "run", tiny_config, *inputs)


Launched = list[Process]


@pytest.fixture
def launched(run: Run, monkeypatch: pytest.MonkeyPatch) -> Launched:
    """The trainers that were started; each trains all steps at once, by copying."""
    started: Launched = []
    sizes = json.loads(run.file.read_text())["settings"]["sizes"]

    def train(processes: list[Process], folder: Path, **_: Any) -> None:
        started.extend(processes)
        for step in range(1, sizes["max_steps"] + 1):
            append_metrics(run, step)
            if step % sizes["save_steps"] == 0:
                save(run, step)

    monkeypatch.setattr(command, "supervise", train)
    return started


def append_metrics(run: Run, step: int) -> None:
    with (run.checkpoints / "metrics.jsonl").open("a") as stream:
        row = {"step": step, "step_time": 0.5, "completions/tokens_of_all_draws": 10.0}
        stream.write(json.dumps(row) + "\n")


def save(run: Run, step: int) -> Path:
    """A sealed checkpoint, its weights those of the base."""
    path = run.checkpoints / f"checkpoint-{step}"
    shutil.copytree(run.folder.parent / "base", path)
    (path / "manifest.json").unlink()
    checkpoints.seal(path, json.loads(run.file.read_text())["config_hash"])
    return path


def train(run: Run) -> str:
    return stage("train", *run.options)


def refusal(run: Run) -> UserError:
    with pytest.raises(UserError) as raised:
        train(run)
    assert "\n" not in str(raised.value)
    assert not run.model.exists()
    return raised.value


def test_a_finished_run_is_described(run: Run, launched: Launched) -> None:
    wanted = json.loads(run.file.read_text())
    cost = {"seconds": 12.5, "cores": 2}
    cost_file(Path(wanted["base_model"]["path"])).write_text(json.dumps(cost))
    train(run)
    model = json.loads(run.model.read_text())
    assert model["base_cost"] == cost
    for key in ("run", "settings", "config_hash", "data_hash", "base_model"):
        assert model[key] == wanted[key], key
    sizes, group = wanted["settings"]["sizes"], wanted["settings"]["algorithm"]["num_generations"]
    saved = range(sizes["save_steps"], sizes["max_steps"] + 1, sizes["save_steps"])
    assert [checkpoint["step"] for checkpoint in model["checkpoints"]] == list(saved)
    for checkpoint in model["checkpoints"]:
        assert checkpoint["sha256"] == wanted["base_model"]["sha256"]  # a copy of its weights
    assert model["train_seconds"] == 0.5 * sizes["max_steps"]
    completions = sizes["max_steps"] * sizes["prompts_per_step"] * group
    assert model["generated_tokens"] == 10 * completions
    assert Path(model["metrics"]).read_text() == (run.checkpoints / "metrics.jsonl").read_text()
    assert {"commit", "versions", "hardware"} == model["provenance"].keys()


def test_the_trainer_gets_the_rendered_configs(run: Run, launched: Launched) -> None:
    train(run)
    (trainer,) = launched
    assert trainer.role == "trainer"
    rendered = {str(path) for path in (run.plan / "config").iterdir()}
    assert rendered | {str(run.file)} <= set(trainer.argv)
    assert "--resume" not in trainer.argv


def test_a_finished_run_trains_nothing_again(run: Run, launched: Launched) -> None:
    train(run)
    first = json.loads(run.model.read_text())
    run.model.unlink()
    train(run)
    assert len(launched) == 1
    assert json.loads(run.model.read_text()) == first


def test_other_evaluation_settings_train_nothing_again(run: Run, launched: Launched) -> None:
    train(run)
    change(run.file, lambda content: content["settings"]["evaluation"].update(n_samples=9))
    train(run)
    assert len(launched) == 1
    assert json.loads(run.model.read_text())["settings"]["evaluation"]["n_samples"] == 9


def test_a_run_that_is_described_again_was_made_by_what_trained_it(
    run: Run, launched: Launched, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(run)
    first = json.loads(run.model.read_text())
    later = {"commit": "later", "versions": {"torch": "9"}, "hardware": {}}
    monkeypatch.setattr(command, "provenance", lambda: later)
    change(run.file, lambda content: content["settings"]["evaluation"].update(n_samples=9))
    train(run)
    again = json.loads(run.model.read_text())
    for key in ("provenance", "gpus", "gpu"):
        assert again[key] == first[key], key


def change(path: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


@pytest.mark.usefixtures("launched")
def test_a_plan_for_other_gpus_is_refused(run: Run) -> None:
    change(run.plan / "plan.json", lambda plan: plan["machine"].update(gpus_per_node=1))
    error = refusal(run)
    assert error.where == str(run.plan / "plan.json")
    assert re.findall(r"\d+", error.message) == ["1", "0"]


def test_a_training_takes_gpus_that_no_other_has(
    run: Run, launched: Launched, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6,7")
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "vllm.py").touch()
    places = ("--checkpoints", run.checkpoints, "--out", run.plan)
    hardware = {"gpus": 2, "gpu_memory_gb": 80, "placement": "server"}
    stage("layout", run.file, "--hardware", json.dumps(hardware), *places)
    with locked_gpus(2) as others:
        os.environ["CUDA_VISIBLE_DEVICES"] = "4,5,6,7"
        stage("train", *run.options[:-1], 2)
    taken = [gpu for process in launched for gpu in process.gpus]
    assert sorted([*taken, *others]) == ["4", "5", "6", "7"]


@pytest.mark.usefixtures("launched")
def test_checkpoints_of_another_configuration_are_refused(run: Run) -> None:
    train(run)
    run.model.unlink()
    before = json.loads(run.file.read_text())["config_hash"]
    change(run.file, lambda content: content.update(config_hash="0123456789abcdef"))
    error = refusal(run)
    assert error.where == str(run.checkpoints)
    assert "config_hash" in error.message
    assert re.findall(r"\b[0-9a-f]{12}\b", error.message) == [before[:12], "0123456789ab"]


def test_a_trainer_at_work_keeps_others_out(run: Run, launched: Launched) -> None:
    with checkpoints.exclusive(run.checkpoints):
        assert refusal(run).where == str(run.checkpoints)
    assert not launched


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_base_model_that_was_changed_is_named(run: Run, launched: Launched, name: str) -> None:
    path = run.folder.parent / "base" / name
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)
    error = refusal(run)
    assert error.where == str(path)
    assert "sha256" in error.message
    assert not launched


@pytest.mark.parametrize("what", ["base", "task"])
def test_inputs_that_were_made_again_are_not_those_of_the_run(
    run: Run, launched: Launched, what: str
) -> None:
    """Their manifests hold, but run.json names other hashes, which model.json would pass on."""
    manifest = run.folder.parent / what / "manifest.json"
    name = {"base": "model.safetensors", "task": "problems/train.parquet"}[what]
    path = manifest.parent / name
    path.write_bytes(path.read_bytes() + b"\0")
    entry = checkpoints.describe_file(path, manifest.parent)

    def replace(content: dict[str, Any]) -> None:
        files = content["files"]
        if isinstance(files, dict):
            files["train"] = entry
        else:
            files[[file["path"] for file in files].index(name)] = entry

    change(manifest, replace)
    error = refusal(run)
    assert error.where == str(manifest.parent if what == "base" else manifest)
    assert not launched


def test_problems_that_were_changed_are_named(run: Run, launched: Launched) -> None:
    path = run.folder.parent / "task" / "problems" / "train.parquet"
    path.write_bytes(path.read_bytes() + b"\0")
    assert refusal(run).where == str(path)
    assert not launched


def test_a_cut_off_run_goes_on_from_its_last_complete_checkpoint(
    run: Run, launched: Launched, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.checkpoints.mkdir()
    checkpoints.bind_to_run(run.checkpoints, json.loads(run.file.read_text()))
    for step in (1, 2, 3):
        append_metrics(run, step)
    last = save(run, 2)
    (run.checkpoints / "checkpoint-4").mkdir()

    def goes_on(processes: list[Process], folder: Path, **_: Any) -> None:
        launched.extend(processes)
        for step in (3, 4):
            append_metrics(run, step)
        save(run, 4)

    monkeypatch.setattr(command, "supervise", goes_on)
    output = train(run)
    assert launched[0].argv[-2:] == ("--resume", str(last))
    assert f"{last}: " in output
    assert f"{run.checkpoints / 'checkpoint-4'}: " in output
    rows = (run.folder / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(row)["step"] for row in rows] == [1, 2, 3, 4]


@pytest.mark.parametrize("damaged", [2, 4])
def test_a_damaged_checkpoint_is_made_again(run: Run, launched: Launched, damaged: int) -> None:
    """The last one too, although all steps have been trained."""
    run.checkpoints.mkdir()
    checkpoints.bind_to_run(run.checkpoints, json.loads(run.file.read_text()))
    path = save(run, damaged) / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    output = train(run)
    assert f"{path.parent}: " in output
    assert "--resume" not in launched[0].argv
    assert list(checkpoints.sealed(run.checkpoints)) == [2, 4]
    checkpoints.verify(path.parent)


def test_a_failed_trainer_leaves_no_model_json(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(processes: list[Process], folder: Path, **_: Any) -> None:
        raise UserError("the trainer failed with status 1", where=str(folder / "console.log"))

    monkeypatch.setattr(command, "supervise", fails)
    assert refusal(run).where == str(run.checkpoints / "console.log")


def test_prompts_that_are_all_too_long_stop_the_trainer(run: Run) -> None:
    change(run.file, lambda content: content["settings"]["sizes"].update(max_prompt_length=9))
    with pytest.raises(UserError) as raised:
        entrypoint.main([str(run.file), str(run.plan / "config" / "trl.yaml")])
    assert raised.value.where == "sizes.max_prompt_length"


def test_an_unknown_setting_in_the_plan_stops_the_trainer(run: Run) -> None:
    with edited(run.plan / "config" / "trl.yaml") as config:
        config["betta"] = 0.1
    with pytest.raises(ValueError, match="betta"):
        entrypoint.main([str(run.file), str(run.plan / "config" / "trl.yaml")])
