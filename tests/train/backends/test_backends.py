"""A backend is one folder and one line of the registry, and a lock if it needs an environment."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from r1zero.core import environments
from r1zero.core.environments import STAMP, make_environment, programs_for, programs_of
from r1zero.core.errors import UserError
from r1zero.core.provenance import versions_in
from r1zero.core.validation import validate
from r1zero.plan.backend import load_backend
from r1zero.settings import backends as registry
from r1zero.settings.workflow import Config
from r1zero.train.backends.base import packages_of
from tiny import ENVIRONMENT, REPOSITORY, Run, contents, stage
from workflow_copy import copy_workflow, jobs_of, snakemake

# A backend that trains nothing: it writes what every backend leaves, by the recorder.
DUMMY = """
from r1zero.plan.backend import Process
from r1zero.plan.layout import Constraints
from r1zero.train.backends.base import CheckpointFormat


class Dummy:
    name = "dummy"
    environment = {environment!r}
    packages = ("tiny-wheel",)
    checkpoint = CheckpointFormat(optimizer_states=("optimizer.pt",))

    def check(self, run): ...

    def differences(self, run):
        return {{}}

    def constraints(self, run):
        return Constraints("groups", (), ("cpu",), ("none",), offload=False)

    def requires(self, layout):
        return {{}}

    def render(self, run, layout, inputs):
        return {{"dummy.json": run.model_dump_json()}}

    def processes(self, run, layout, machine, inputs, resume=None):
        argv = ("python", "-c", {code!r}, str(inputs.config), str(inputs.checkpoints))
        env = {{"PYTHONPATH": {path!r}}}
        return [Process(role="trainer", argv=argv, env=env)]


BACKEND = Dummy()
"""
TRAINER = """
import json, sys
from pathlib import Path
{imports}
settings = json.loads((Path(sys.argv[1]) / "dummy.json").read_text())
folder, sizes = Path(sys.argv[2]), settings["sizes"]
for step in range(1, sizes["max_steps"] + 1):
    row = {{"step": step, "loss": 0.0, "reward": 1.0, "step_time": 0.1,
           "completions/tokens_of_all_draws": 3.0}}
    with (folder / "metrics.jsonl").open("a") as stream:
        stream.write(json.dumps(row) + "\\n")
    if step % sizes["save_steps"] == 0:
        checkpoint = folder / f"checkpoint-{{step}}"
        checkpoint.mkdir()
        (checkpoint / "checkpoint.json").write_text(json.dumps({{"config_hash": "", "files": []}}))
"""


def write_backend(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *, environment: str | None, imports: str = ""
) -> None:
    """A module with the backend `dummy`, registered."""
    folder.mkdir()
    code = TRAINER.format(imports=imports)
    (folder / "dummy_backend.py").write_text(
        DUMMY.format(environment=environment, code=code, path=str(REPOSITORY / "src"))
    )
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setitem(registry.BACKENDS, "dummy", "dummy_backend")
    monkeypatch.delitem(sys.modules, "dummy_backend", raising=False)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path / "run")


def planned(run: Run, config: Path, task: Path, base: Path) -> None:
    inputs = ("--config", config, "--problems", task, "--model", base, "--backend", "dummy")
    stage("resolve", "datawhale_r1", *inputs, "--out", run.file)
    places = ("--checkpoints", run.checkpoints, "--out", run.plan)
    stage("layout", run.file, "--hardware", json.dumps({"gpus": 0}), *places)


def test_another_backend_needs_no_edit_of_any_stage(
    run: Run,
    tiny_config: Path,
    tiny_task: Path,
    tiny_base: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_backend(tmp_path / "backend", monkeypatch, environment=None)
    assert validate({"backends": ["trl", "dummy"]}, Config, "config").backends == ["trl", "dummy"]
    planned(run, tiny_config, tiny_task, tiny_base)
    assert contents(run.plan / "config").keys() == {"dummy.json"}
    plan = json.loads((run.plan / "plan.json").read_text())
    assert (plan["backend"], plan["environment"]) == ("dummy", None)
    assert plan["placement"] == "transformers"
    stage("train", *run.options)
    model = json.loads(run.model.read_text())
    assert model["run"]["backend"] == "dummy"
    assert [each["step"] for each in model["checkpoints"]] == [2, 4]
    assert packages_of("dummy") == ("tiny-wheel",)


def test_an_unknown_backend_is_named_with_those_there_are() -> None:
    with pytest.raises(UserError) as raised:
        validate({"backends": ["trl", "nobody"]}, Config, "config")
    assert "backends.1" in raised.value.message
    with pytest.raises(UserError) as raised:
        load_backend("nobody")
    assert "trl" in raised.value.hint


def test_backends_are_known_without_importing_torch() -> None:
    code = (
        "import sys; from r1zero.train.backends.base import backend_of; "
        "from r1zero.settings.backends import BACKENDS; "
        "[backend_of(name) for name in BACKENDS]; "
        "assert not {'torch', 'transformers', 'trl'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=ENVIRONMENT)


def write_wheel(folder: Path, version: str = "1.2.3") -> Path:
    """A wheel with one module, as pip wants it."""
    path = folder / f"tiny_wheel-{version}-py3-none-any.whl"
    info = f"tiny_wheel-{version}.dist-info"
    files = {
        "tiny_wheel.py": f"VERSION = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: tiny-wheel\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\n"
        "Tag: py3-none-any\n",
    }
    record = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as wheel:
        for name, text in {**files, f"{info}/RECORD": record}.items():
            wheel.writestr(name, text)
    return path


@pytest.mark.slow
def test_a_backend_runs_in_the_environment_of_its_lock(
    run: Run,
    tiny_config: Path,
    tiny_task: Path,
    tiny_base: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lock = tmp_path / "envs" / "dummy.lock"
    wheel = write_wheel(tmp_path / "wheels")
    lock.parent.mkdir()
    lock.write_text(f"--no-index\ntiny-wheel @ {wheel.as_uri()}\n")
    monkeypatch.setattr(environments, "ENVIRONMENTS", tmp_path / ".envs")
    write_backend(
        tmp_path / "backend", monkeypatch, environment="dummy", imports="import tiny_wheel"
    )
    planned(run, tiny_config, tiny_task, tiny_base)
    with pytest.raises(UserError) as raised:
        stage("train", *run.options)
    assert raised.value.where == str(tmp_path / ".envs" / "dummy")
    stage("environment", lock, "--out", tmp_path / ".envs" / "dummy")
    programs = programs_for("dummy")
    assert programs == programs_of(tmp_path / ".envs" / "dummy")
    linked = tmp_path / "linked"
    linked.symlink_to(tmp_path / ".envs")
    make_environment(lock, linked / "dummy")
    assert str(linked) not in (programs / "activate").read_text()
    assert versions_in(programs, ["Tiny-Wheel", "r1zero"]).keys() == {"python", "Tiny-Wheel"}
    assert "tiny_wheel" in versions_in(programs, ["tiny_wheel"])
    stage("train", *run.options)
    model = json.loads(run.model.read_text())
    assert model["provenance"]["versions"]["tiny-wheel"] == "1.2.3"


@pytest.mark.slow
def test_a_lock_that_cannot_be_installed_leaves_no_environment(tmp_path: Path) -> None:
    lock = tmp_path / "broken.lock"
    with pytest.raises(UserError) as raised:
        make_environment(lock, tmp_path / "env")
    assert raised.value.where == str(lock)
    lock.write_text("--no-index\nno-such-package==1\n")
    with pytest.raises(UserError) as raised:
        make_environment(lock, tmp_path / "env")
    assert raised.value.where == str(lock)
    assert not (tmp_path / "env" / STAMP).exists()


@pytest.mark.slow
def test_one_rule_makes_the_environment_and_only_on_demand(tmp_path: Path) -> None:
    folder = copy_workflow(tmp_path / "copy")
    wheel = write_wheel(tmp_path / "wheels")
    (folder / "envs" / "dummy.lock").write_text(f"--no-index\ntiny-wheel @ {wheel.as_uri()}\n")
    ordinary = jobs_of(snakemake(folder, "-n", "train_countdown").stdout)
    assert ordinary["train"] == 1
    assert "environment" not in ordinary
    done = snakemake(folder, "--cores", "1", f".envs/dummy/{STAMP}")
    assert done.returncode == 0, done.stdout
    assert versions_in(programs_of(folder / ".envs" / "dummy"), ["tiny-wheel"])["tiny-wheel"] == (
        "1.2.3"
    )
