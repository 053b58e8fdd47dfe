import csv
import hashlib
import io
import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pypdfium2
import pytest
import yaml

from r1zero.core.errors import UserError
from r1zero.report.claims.literature import CLAIMS
from r1zero.report.command import report
from r1zero.report.model_cards import card
from r1zero.report.paper import rendering
from r1zero.report.results.load import load
from r1zero.settings import load_sources
from report_files import RunFiles, edit, paths, small_run, write_completions
from tiny import CONFIG, ENVIRONMENT

TABLES = {
    *(
        "recipes",
        "protocol",
        "main",
        "behaviour",
        "endings",
        "pass_at_k",
        "claims",
        "claims_needs",
        "cost",
    ),
    *("seeds", "provenance", "environments", "files"),
}
FIGURES = {"learning_curve_countdown", "training_countdown", "pass_at_k_countdown"}
CARD = "cards/datawhale_r1-trl-seed0/README.md"
OUTPUTS = {
    *("report.pdf", "index.html", "claims.json", "report.json"),
    *(CARD, CARD.replace("seed0", "seed1")),
    *(f"tables/{name}.{kind}" for name in TABLES for kind in ("csv", "md", "tex")),
    *(f"figures/{name}.{kind}" for name in FIGURES for kind in ("svg", "pdf", "png")),
}


def make(out: Path, *runs: RunFiles) -> dict[str, bytes]:
    models, evaluations = paths(*runs)
    report(out, models, evaluations, config=CONFIG)
    return contents(out)


def contents(out: Path) -> dict[str, bytes]:
    files = (path for path in out.rglob("*") if path.is_file())
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in files}


def with_completions(folder: Path, seed: int = 0) -> RunFiles:
    """A run with the completions of its last step."""
    files = small_run(folder, seed=seed)
    last = files.evaluations["countdown_3", 40]
    problems = json.loads(last.read_text())["problems"]
    rows = [
        (problem["problem_id"], sample, f"<think>{sample}</think>", correct)
        for problem in problems
        for sample, correct in enumerate(problem["correct"])
    ]
    write_completions(files.folder / "completions.parquet", rows)
    edit(last, completions=str(files.folder / "completions.parquet"))
    return files


@dataclass(frozen=True)
class Made:
    """Two seeds of a recipe and their report."""

    folder: Path
    runs: list[RunFiles]
    written: dict[str, bytes]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("report")
    runs = [with_completions(folder, seed) for seed in (0, 1)]
    return Made(folder, runs, make(folder / "out", *runs))


def test_the_same_inputs_give_the_same_bytes(made: Made, tmp_path: Path) -> None:
    """By another process, which has other hashes of strings."""
    listed = tmp_path / "inputs.json"
    models, evaluations = paths(*made.runs)
    listed.write_text(json.dumps({"models": models, "evaluations": evaluations}, default=str))
    out = tmp_path / "out"
    command = [sys.executable, "-m", "r1zero", "report", "--inputs", listed, "--out", out]
    printed = subprocess.run(
        [*command, "--config", CONFIG], capture_output=True, text=True, check=True, env=ENVIRONMENT
    ).stdout
    assert "accuracy (%)" in printed
    assert str(out / "report.pdf") in printed
    again = contents(out)
    assert again.keys() == made.written.keys() == OUTPUTS
    assert {name for name in again if again[name] != made.written[name]} == set()


def test_another_input_gives_another_report_and_no_old_files(made: Made, tmp_path: Path) -> None:
    out = Path(shutil.copytree(made.folder / "out", tmp_path / "out"))
    (out / "figures" / "of_another_run.svg").write_text("old")
    changed_run = with_completions(tmp_path)
    changed_run.evaluate(40, [[1, 1]] * 40)
    after = make(out, changed_run)
    assert after.keys() == OUTPUTS - {CARD.replace("seed0", "seed1")}
    changed = {name for name in after if made.written[name] != after[name]}
    assert {"report.pdf", "index.html", "tables/main.csv", CARD, "report.json"} <= changed


def test_the_manifest_names_all_that_was_read_and_written(made: Made) -> None:
    manifest = json.loads(made.written["report.json"])
    outputs = {entry["path"]: entry["sha256"] for entry in manifest["outputs"]}
    assert outputs.keys() == OUTPUTS - {"report.json"}
    for name, checksum in outputs.items():
        assert hashlib.sha256(made.written[name]).hexdigest() == checksum
    models, evaluations = paths(*made.runs)
    beside = ("metrics.jsonl", "completions.parquet")
    expected = {
        *(*models, *evaluations, CONFIG / "sources.yaml"),
        CONFIG / "recipes" / "mini_r1.yaml",  # its plan is what a claim is on
        *(run.folder / name for run in made.runs for name in beside),
    }
    assert {Path(entry["path"]) for entry in manifest["inputs"]} == expected
    for entry in manifest["inputs"]:
        assert hashlib.sha256(Path(entry["path"]).read_bytes()).hexdigest() == entry["sha256"]
    assert {"altair", "typst"} <= manifest["provenance"]["versions"].keys()


def test_a_refusal_leaves_the_previous_report(made: Made, tmp_path: Path) -> None:
    run = small_run(tmp_path)
    edit(run.evaluations["countdown_3", 20], config_hash="other")
    with pytest.raises(UserError):
        make(made.folder / "out", run)
    assert contents(made.folder / "out") == made.written


def test_a_failure_while_drawing_leaves_the_previous_report(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rendering, "to_svg", lambda chart: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        make(made.folder / "out", small_run(tmp_path))
    assert contents(made.folder / "out") == made.written


def test_a_wrong_inputs_file_is_named(tmp_path: Path) -> None:
    listed = tmp_path / "inputs.json"
    listed.write_text('{"models": [], "evaluation": []}')
    with pytest.raises(UserError) as raised:
        report(tmp_path / "out", inputs=listed)
    assert raised.value.where == str(listed)


def numbers(text: str) -> set[str]:
    """All numbers in a text, without their signs."""
    return set(re.findall(r"\d+(?:[.,]\d+)*", text))


def shown_forms(value: str) -> set[str]:
    """The ways in which a number of a CSV file may be shown."""
    try:
        number = abs(float(value))
    except ValueError:
        return numbers(value)
    scaled = [number, number * 100, number / 60, number / 3600]
    forms = {f"{item:.1f}" for item in scaled} | {f"{number:.2f}", f"{number:.0f}", f"{number:g}"}
    forms |= {f"{number:,.0f}", f"{number / 1e3:.3g}", f"{number / 1e6:.3g}"}
    return forms | numbers(value)


def test_every_number_of_the_pdf_is_in_a_table_and_that_in_its_csv(made: Made) -> None:
    """The CSV files are compared with the result files in paper/test_tables.py."""
    written = made.written
    document = pypdfium2.PdfDocument(written["report.pdf"])
    text = "".join(page.get_textpage().get_text_range() for page in document)
    printed = numbers(text.replace("\u200b", ""))
    for name in TABLES:
        rows = list(csv.reader(io.StringIO(written[f"tables/{name}.csv"].decode())))
        known = {form for row in rows for value in row for form in shown_forms(value)}
        if name == "cost":
            # The last row sums the others, and speeds are tokens by the time of their generation.
            columns = list(zip(*rows[1:], strict=True))
            sums = [sum(map(float, column)) for column in columns[4:]]
            known |= {form for item in sums for form in shown_forms(str(item))}
            known |= {f"{float(row[-2]) / float(row[-1]):,.0f}" for row in rows[1:]}
        markdown = written[f"tables/{name}.md"].decode().splitlines()[2:]
        cells = [cell for line in markdown for cell in line.strip("|").split(" | ")]
        for cell in cells:
            shown = cell.replace("\\", "").strip()
            found = numbers(shown)
            if any(value.startswith(shown) for row in rows for value in row):
                continue  # the start of a hash
            assert found <= known, (name, cell, found - known)
            # A long path is broken over lines in the PDF.
            assert found <= printed or len(shown) > 24, (name, cell, found - printed)


def test_the_card_is_ready_for_a_hub(made: Made) -> None:
    text = made.written[CARD].decode()
    _, front, body = text.split("---\n", 2)
    metadata = yaml.safe_load(front)
    assert metadata["license"] == "apache-2.0"
    assert "base_model" not in metadata
    results = metadata["model-index"][0]["results"]
    assert [item["dataset"]["name"] for item in results] == ["countdown_3"]
    table = list(csv.DictReader(io.StringIO(made.written["tables/seeds.csv"].decode())))
    trained = {row["metric"]: float(row["trained"]) for row in table if row["seed"] == "0"}
    accuracy = results[0]["metrics"][0]
    assert accuracy["type"] == "accuracy"
    assert accuracy["value"] == pytest.approx(100 * trained["accuracy"], abs=0.006)
    for heading in ("Scores", "How it was trained", "How it was measured", "Limits"):
        assert f"## {heading}" in body


def test_a_published_base_is_named_with_its_licence(tmp_path: Path) -> None:
    run = small_run(tmp_path)
    base = {**json.loads(run.model.read_text())["base_model"], "name": "qwen2.5-3b"}
    run.train(settings={"is_mini_base": False, "dataset": "countdown_3to4"}, base_model=base)
    [result] = load(*paths(run))
    metadata = yaml.safe_load(card(result, load_sources(CONFIG)).split("---\n")[1])
    assert metadata["base_model"] == "Qwen/Qwen2.5-3B"
    assert (metadata["license"], metadata["license_name"]) == ("other", "qwen-research")
    assert metadata["datasets"] == ["Jiayi-Pan/Countdown-Tasks-3to4"]


def test_entries_of_the_user_are_read_from_the_listed_inputs(tmp_path: Path) -> None:
    run = small_run(tmp_path)
    base = {**json.loads(run.model.read_text())["base_model"], "name": "ours"}
    run.train(settings={"is_mini_base": False}, base_model=base)
    models, evaluations = paths(run)
    place = {"kind": "hub", "huggingface": {"repo": "us/ours"}, "licence": "MIT", "gigabytes": 1}
    listed = tmp_path / "inputs.json"
    content = {
        "models": [str(path) for path in models],
        "evaluations": [str(path) for path in evaluations],
        "sources": {"models": {"ours": place}},
    }
    listed.write_text(json.dumps(content))
    report(tmp_path / "out", inputs=listed, config=CONFIG)
    metadata = yaml.safe_load((tmp_path / "out" / CARD).read_text().split("---\n")[1])
    assert (metadata["base_model"], metadata["license"]) == ("us/ours", "mit")
    manifest = json.loads((tmp_path / "out" / "report.json").read_text())
    read = {item["path"] for item in manifest["inputs"]}
    assert listed.as_posix() in read
    listed.write_text(json.dumps(content | {"sources": {"model": {}}}))
    with pytest.raises(UserError) as raised:
        report(tmp_path / "out", inputs=listed, config=CONFIG)
    assert raised.value.where == str(listed)
    assert "sources.model'" in raised.value.message


def test_claims_json_has_every_claim_with_its_thresholds_and_verdict(made: Made) -> None:
    judged = json.loads(made.written["claims.json"])
    assert [item["id"] for item in judged] == [claim.id for claim in CLAIMS]
    assert all(item["statement"] and item["source"] and item["why"] for item in judged)
    thresholds = {item["id"]: item["parameters"] for item in judged}
    assert thresholds["random_reward_is_flat"] == {"margin": 0.03}
