import hashlib
import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from r1zero.errors import UserError
from r1zero.report import command, figures
from r1zero.report.command import report
from report_files import RunFiles, edit, paths, small_run

OUTPUTS = {
    "tables/main.csv",
    "tables/main.md",
    "tables/main.tex",
    "figures/learning_curve.svg",
    "figures/learning_curve.png",
    "figures/training.svg",
    "figures/training.png",
    "index.md",
    "report.json",
}


def make(out: Path, *runs: RunFiles) -> dict[str, bytes]:
    models, evaluations = paths(*runs)
    report(out, models, evaluations)
    return contents(out)


def contents(out: Path) -> dict[str, bytes]:
    files = (path for path in out.rglob("*") if path.is_file())
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in files}


def test_the_same_inputs_give_the_same_bytes(tmp_path: Path) -> None:
    run = small_run(tmp_path)
    first, second = make(tmp_path / "first", run), make(tmp_path / "second", run)
    assert first.keys() == OUTPUTS
    assert first == second


def test_another_input_gives_another_report(tmp_path: Path) -> None:
    run = small_run(tmp_path)
    before = make(tmp_path / "out", run)
    run.evaluate(40, [[1, 1]] * 40)
    after = make(tmp_path / "out", run)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == OUTPUTS - {"figures/training.svg", "figures/training.png"}


def test_the_manifest_names_every_input_and_output(tmp_path: Path) -> None:
    run = small_run(tmp_path)
    written = make(tmp_path / "out", run)
    manifest = json.loads(written["report.json"])
    outputs = {entry["path"]: entry["sha256"] for entry in manifest["outputs"]}
    assert outputs.keys() == OUTPUTS - {"report.json"}
    for name, checksum in outputs.items():
        assert hashlib.sha256(written[name]).hexdigest() == checksum
    models, evaluations = paths(run)
    expected = {*models, *evaluations, run.folder / "metrics.jsonl"}
    assert {Path(entry["path"]) for entry in manifest["inputs"]} == expected
    for entry in manifest["inputs"]:
        assert hashlib.sha256(Path(entry["path"]).read_bytes()).hexdigest() == entry["sha256"]
    assert {"commit", "versions", "hardware"} <= manifest["provenance"].keys()
    assert "altair" in manifest["provenance"]["versions"]


def test_a_refusal_leaves_the_previous_report(tmp_path: Path) -> None:
    run = small_run(tmp_path)
    before = make(tmp_path / "out", run)
    edit(run.evaluations["countdown_test", 20], config_hash="other")
    with pytest.raises(UserError):
        make(tmp_path / "out", run)
    assert contents(tmp_path / "out") == before


def test_a_failure_while_drawing_leaves_the_previous_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = small_run(tmp_path)
    before = make(tmp_path / "out", run)
    run.evaluate(40, [[1, 1]] * 40)
    monkeypatch.setattr(figures, "to_png", lambda chart: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        make(tmp_path / "out", run)
    assert contents(tmp_path / "out") == before


def test_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "render", lambda runs, table: {"index.md": b"page"})
    app = typer.Typer()
    app.command()(report)
    run = small_run(tmp_path)
    models, evaluations = paths(run)
    options = ["--model", str(models[0]), "--out", str(tmp_path / "options")]
    for path in evaluations:
        options += ["--evaluation", str(path)]
    result = CliRunner().invoke(app, options)
    assert result.exit_code == 0, result.output
    assert "accuracy (%)" in result.output
    assert f"report: {tmp_path / 'options' / 'index.md'}" in result.output

    listed = tmp_path / "inputs.json"
    listed.write_text(
        json.dumps({"models": [str(models[0])], "evaluations": [str(path) for path in evaluations]})
    )
    again = ["--inputs", str(listed), "--out", str(tmp_path / "listed")]
    assert CliRunner().invoke(app, again).exit_code == 0
    assert contents(tmp_path / "options") == contents(tmp_path / "listed")


def test_a_wrong_inputs_file_is_named(tmp_path: Path) -> None:
    listed = tmp_path / "inputs.json"
    listed.write_text('{"models": []}')
    with pytest.raises(UserError, match=r"inputs\.json: not of the form"):
        report(tmp_path / "out", inputs=listed)
