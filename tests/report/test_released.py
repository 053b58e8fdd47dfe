"""Released models in the report: their scores beside the published ones, and what is refused."""

import csv
import json
import shutil
from pathlib import Path

import pytest

from r1zero.core.errors import UserError
from r1zero.report.command import report
from report_files import RunFiles, edit, paths, small_run
from tiny import CONFIG, RECIPE, edited

SCORE = {
    "suite": "countdown_3",
    "metric": "greedy_accuracy",
    "trained": 40.0,
    "source": "table 1",
    "protocol": "greedy, 1024 tokens",
}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration whose recipe lists the model."""
    folder = Path(shutil.copytree(CONFIG, tmp_path / "config"))
    with edited(folder / "recipes" / f"{RECIPE}.yaml") as recipe:
        recipe["released"] = [{"model": "mini-base", "published_scores": [SCORE]}]
    return folder


@pytest.fixture
def released(tmp_path: Path) -> RunFiles:
    """A released model, of whose greedy completions three of four are right."""
    files = RunFiles(tmp_path / "released", RECIPE, backend="released")
    files.train()
    files.evaluate(0, [[1, 0], [1, 1], [0, 0], [1, 0]])
    files.evaluate(0, [[1, 0], [0, 0]], suite="other")
    return files


def make(config: Path, released: RunFiles) -> Path:
    models, evaluations = paths(small_run(config.parent))
    beside = {"models": [released.model], "evaluations": list(released.evaluations.values())}
    listed = {"models": models, "evaluations": evaluations, "released": beside}
    inputs = config.parent / "inputs.json"
    inputs.write_text(json.dumps(listed, default=str))
    report(config.parent / "out", inputs=inputs, config=config)
    return config.parent / "out"


def test_scores_are_beside_the_published_ones_with_the_difference(
    config: Path, released: RunFiles
) -> None:
    out = make(config, released)
    with (out / "tables" / "released.csv").open() as file:
        published, other = csv.DictReader(file)
    assert (published["suite"], published["metric"]) == (SCORE["suite"], SCORE["metric"])
    assert float(published["here"]) == 75
    assert float(published["difference"]) == 75 - SCORE["trained"]
    assert float(published["low"]) < 75 < float(published["high"])
    assert (other["suite"], other["metric"], other["published"]) == ("other", "accuracy", "")
    assert float(other["here"]) == 25
    shown = (out / "tables" / "released.md").read_text()
    assert SCORE["protocol"] in shown
    assert SCORE["source"] in shown
    assert 'id="released"' in (out / "index.html").read_text()
    read = {item["path"] for item in json.loads((out / "report.json").read_text())["inputs"]}
    files = [released.model, *released.evaluations.values()]
    assert {path.as_posix() for path in files} <= read
    assert (config / "recipes" / f"{RECIPE}.yaml").as_posix() in read


def test_scores_of_other_weights_or_versions_are_refused(config: Path, released: RunFiles) -> None:
    path = released.evaluations["other", 0]
    before = path.read_text()
    edit(path, model_sha256="f" * 64)
    with pytest.raises(UserError) as raised:
        make(config, released)
    assert raised.value.where == str(path)
    content = json.loads(before)
    content["provenance"]["versions"]["torch"] = "1.0"
    path.write_text(json.dumps(content))
    shutil.rmtree(config.parent / f"{RECIPE}-trl-0")
    with pytest.raises(UserError) as raised:
        make(config, released)
    assert raised.value.where == str(path)
    assert "torch" in raised.value.message
