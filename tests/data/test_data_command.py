"""`r1zero tasks`: rows in one schema, what is held out kept out, an audit of it; prompts."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from r1zero.core.errors import UserError
from r1zero.data.problems import read_problems
from r1zero.tasks.prompts import Prompt, load_prompt
from tiny import contents, stage, write_dataset, write_rows

PROMPT = "countdown_datawhale"
STYLE = {"version": 1, "source": "here", "thought": "free", "answer": "boxed"}
TRAIN = ([44, 19, 35, 98], [19, 44, 35, 98], [1, 2, 3, 6], [5, 6, 7, 18], [10, 20, 30, 60])
TEST = ([3, 2, 1, 6], [8, 9, 1, 18], [9, 8, 1, 18], [8, 9, 1, 18])


def countdown(folder: Path, *, numbers: Sequence[int] | None = None, **splits: Any) -> Path:
    """Manifest of a dataset with rows of the form `[*nums, target]`."""
    files = {}
    for split, rows in splits.items():
        values = ({"nums": row[:-1], "target": row[-1]} for row in rows)
        files[split] = [write_rows(folder.parent / f"{folder.name}-{split}.jsonl", values)]
    return write_dataset(folder, "countdown", files, numbers=numbers)


def gsm8k(folder: Path, **splits: Sequence[tuple[str, str]]) -> Path:
    """Manifest of a dataset with questions and final answers."""
    files = {}
    for split, rows in splits.items():
        values = ({"question": question, "answer": f"#### {answer}"} for question, answer in rows)
        files[split] = [write_rows(folder.parent / f"{folder.name}-{split}.jsonl", values)]
    return write_dataset(folder, "gsm8k", files)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return countdown(tmp_path / "mine", train=TRAIN, test=TEST)


def make_rows(dataset: Path, out: Path, **held_out: Path) -> dict[str, Any]:
    """Run the stage and return its audit."""
    options = [part for name, path in held_out.items() for part in ("--held-out", f"{name}={path}")]
    stage("data", "rows", dataset, *options, "--out", out)
    audit: dict[str, Any] = json.loads((out / "audit.json").read_text())
    return audit


def make_suite(folder: Path, rows: Sequence[Sequence[int]]) -> Path:
    """Manifest of a dataset with a test split alone."""
    return countdown(folder, test=rows)


def ids(out: Path, name: str) -> list[str]:
    return pl.read_parquet(out / f"{name}.parquet")["problem_id"].to_list()


def test_test_rows_are_not_trained_on_in_any_order(dataset: Path, tmp_path: Path) -> None:
    audit = make_rows(dataset, tmp_path / "rows")
    assert ids(tmp_path / "rows", "train") == ["19-35-44=98", "5-6-7=18", "10-20-30=60"]
    assert ids(tmp_path / "rows", "test") == ["1-2-3=6", "1-8-9=18"]
    assert audit == {
        "dataset": "mine",
        "task": "countdown",
        "rows_in": {"train": 5, "test": 4},
        "left_out": {
            "train": {
                "other_numbers": 0,
                "no_answer": 0,
                "exact_duplicates": 0,
                "same_problem": 1,
                "unusable_answer": 0,
                "held_out": 1,
            },
            "test": {
                "other_numbers": 0,
                "no_answer": 0,
                "exact_duplicates": 1,
                "same_problem": 1,
            },
        },
        "rows_out": {"train": 3, "test": 2},
        "unusable_answers": {"train": 0, "test": 0},
        "conflicting_answers": {"train": 0, "test": 0},
        "held_out": {"test": {"problems": 2, "in_train": 1}},
    }


def test_suites_are_not_trained_on_and_each_is_counted(dataset: Path, tmp_path: Path) -> None:
    first = make_suite(tmp_path / "first", [[35, 44, 19, 98], [2, 2, 2, 6], [3, 1, 2, 6]])
    second = make_suite(tmp_path / "second", [[30, 20, 10, 60], [44, 19, 35, 98]])
    audit = make_rows(dataset, tmp_path / "rows", first=first, second=second)
    assert ids(tmp_path / "rows", "train") == ["5-6-7=18"]
    # Each set counts all of its own problems, also those that another set holds out too.
    assert audit["held_out"] == {
        "test": {"problems": 2, "in_train": 1},
        "first": {"problems": 3, "in_train": 2},
        "second": {"problems": 2, "in_train": 2},
    }
    assert audit["left_out"]["train"]["held_out"] == 3
    assert audit["rows_out"] == {"train": 1, "test": 2}


def test_held_out_problems_stand_together_each_once(dataset: Path, tmp_path: Path) -> None:
    suite = make_suite(tmp_path / "suite", [[35, 44, 19, 98], [3, 1, 2, 6]])
    make_rows(dataset, tmp_path / "rows", suite=suite)
    train, held_out = (
        pl.read_parquet(tmp_path / "rows" / f"{name}.parquet") for name in ("train", "held_out")
    )
    assert held_out.schema == train.schema
    assert held_out.select("nums", "source").rows() == [
        ([3, 2, 1], "mine:test:0"),
        ([8, 9, 1], "mine:test:1"),
        ([35, 44, 19], "suite:test:0"),
    ]


def test_questions_of_another_format_are_held_out_too(tmp_path: Path) -> None:
    problem = {"problem": "How  many?\n", "level": "Level 3", "type": "Algebra", "answer": 3}
    other = {**problem, "problem": "Why?"}
    files = {"train": [write_rows(tmp_path / "math.jsonl", [problem, other])]}
    math = write_dataset(tmp_path / "math", "math", files)
    suite = gsm8k(tmp_path / "suite", test=[("How many?", "3")])
    audit = make_rows(math, tmp_path / "rows", gsm=suite)
    assert audit["held_out"] == {"gsm": {"problems": 1, "in_train": 1}}
    assert pl.read_parquet(tmp_path / "rows" / "train.parquet")["question"].to_list() == ["Why?"]
    held_out = pl.read_parquet(tmp_path / "rows" / "held_out.parquet").row(0, named=True)
    assert (held_out["question"], held_out["level"]) == ("How many?", None)


def test_a_suite_whose_rows_cannot_be_compared_is_refused(dataset: Path, tmp_path: Path) -> None:
    suite = gsm8k(tmp_path / "suite", test=[("How many?", "3")])
    with pytest.raises(UserError) as raised:
        make_rows(dataset, tmp_path / "rows", gsm=suite)
    assert raised.value.where == "--held-out gsm"
    assert "gsm8k" in raised.value.message


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["nonsense"], "'nonsense'"),
        (["=rows.json"], "'=rows.json'"),
        (["test={suite}"], "'test'"),
        (["a={suite}", "a={suite}"], "'a'"),
    ],
)
def test_held_out_sets_have_names_of_their_own(
    dataset: Path, tmp_path: Path, options: list[str], named: str
) -> None:
    suite = make_suite(tmp_path / "suite", [[2, 2, 2, 6]])
    given = [part for text in options for part in ("--held-out", text.format(suite=suite))]
    with pytest.raises(UserError) as raised:
        stage("data", "rows", dataset, *given, "--out", tmp_path / "rows")
    assert raised.value.where == "--held-out"
    assert named in raised.value.message


def test_a_held_out_set_without_test_rows_is_named(dataset: Path, tmp_path: Path) -> None:
    suite = countdown(tmp_path / "other", train=TRAIN)
    with pytest.raises(UserError) as raised:
        make_rows(dataset, tmp_path / "rows", other=suite)
    assert raised.value.where == str(suite)


def test_a_held_out_file_that_was_changed_is_named(dataset: Path, tmp_path: Path) -> None:
    suite = make_suite(tmp_path / "suite", [[2, 2, 2, 6]])
    changed = suite.parent / "test" / "suite-test.jsonl"
    changed.write_bytes(changed.read_bytes() + b" ")
    with pytest.raises(UserError) as raised:
        make_rows(dataset, tmp_path / "rows", suite=suite)
    assert raised.value.where == str(changed)


def test_a_manifest_of_another_kind_is_refused(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"'dataset'.*'rows'"):
        stage("data", "problems", dataset, "--prompt", PROMPT, "--out", tmp_path / "task")
    make_rows(dataset, tmp_path / "rows")
    rows = tmp_path / "rows" / "manifest.json"
    for given in ((rows,), (dataset, "--held-out", f"mine={rows}")):
        with pytest.raises(UserError, match=r"'rows'.*'dataset'"):
            stage("data", "rows", *given, "--out", tmp_path / "other")


def test_rows_with_other_counts_of_numbers_are_left_out(tmp_path: Path) -> None:
    rows = [[1, 2, 3, 6], [1, 2, 3, 4, 10], [1, 2, 3], [5, 6, 7, 8, 26], [9, 9, 9, 27]]
    dataset = countdown(tmp_path / "mine", numbers=[3, 2], train=rows, test=[[5, 5, 10]])
    audit = make_rows(dataset, tmp_path / "rows")
    assert ids(tmp_path / "rows", "train") == ["1-2-3=6", "1-2=3", "9-9-9=27"]
    assert audit["left_out"]["train"]["other_numbers"] == 2
    assert json.loads((tmp_path / "rows" / "manifest.json").read_text())["numbers"] == [2, 3]


def test_a_range_is_counted_over_all_files_and_a_row_says_where_it_is_from(tmp_path: Path) -> None:
    parts = [
        write_rows(tmp_path / f"{name}.jsonl", [{"nums": [n, 1], "target": n + 1} for n in numbers])
        for name, numbers in (("b", [5, 6, 7]), ("a", [8, 9, 10]))
    ]
    # Train and test are cut from the same files.
    ranges = {"train": (1, 4), "test": (4, 6)}
    splits = {"train": parts, "test": parts}
    dataset = write_dataset(tmp_path / "mine", "countdown", splits, ranges=ranges)
    audit = make_rows(dataset, tmp_path / "rows")
    assert audit["rows_in"] == {"train": 3, "test": 2}
    train, test = (pl.read_parquet(tmp_path / "rows" / f"{s}.parquet") for s in ranges)
    assert train.select("target", "source", "split").rows() == [
        (7, "mine:train:1", "train"),
        (8, "mine:train:2", "train"),
        (9, "mine:train:3", "train"),
    ]
    assert test["source"].to_list() == ["mine:test:4", "mine:test:5"]


def test_a_range_beyond_the_rows_is_an_error(tmp_path: Path) -> None:
    part = write_rows(tmp_path / "part.jsonl", [{"nums": [1, 2], "target": 3}])
    for end, fits in ((1, True), (2, False)):
        folder = tmp_path / f"to-{end}"
        dataset = write_dataset(folder, "countdown", {"test": [part]}, ranges={"test": (0, end)})
        if fits:
            make_rows(dataset, folder / "rows")
            continue
        with pytest.raises(UserError) as raised:
            make_rows(dataset, folder / "rows")
        assert raised.value.where == f"{dataset}, test"
        assert "2" in raised.value.message


def test_the_manifest_names_what_later_stages_need(dataset: Path, tmp_path: Path) -> None:
    make_rows(dataset, tmp_path / "rows")
    manifest = json.loads((tmp_path / "rows" / "manifest.json").read_text())
    files = manifest.pop("files")
    assert manifest == {
        "kind": "rows",
        "dataset": "mine",
        "task": "countdown",
        "numbers": [3],
        "rows": {"train": 3, "test": 2},
    }
    assert {name: entry["path"] for name, entry in files.items()} == {
        "train": "train.parquet",
        "test": "test.parquet",
        "held_out": "held_out.parquet",
        "audit": "audit.json",
    }


def test_a_suite_has_no_training_rows_and_holds_nothing_out(tmp_path: Path) -> None:
    make_rows(make_suite(tmp_path / "suite", TEST), tmp_path / "rows")
    rows = tmp_path / "rows" / "manifest.json"
    manifest = json.loads(rows.read_text())
    assert manifest["rows"] == {"test": 2}
    assert manifest["files"].keys() == {"test", "audit"}
    assert "numbers" not in manifest
    stage("data", "problems", rows, "--prompt", PROMPT, "--out", tmp_path / "task")
    assert contents(tmp_path / "task").keys() == {"manifest.json", "problems/test.parquet"}


def test_the_audit_is_printed(dataset: Path, tmp_path: Path) -> None:
    suite = make_suite(tmp_path / "suite", [[30, 20, 10, 60], [2, 2, 2, 6]])
    options = ("--held-out", f"mine={suite}", "--out", tmp_path / "rows")
    lines = stage("data", "rows", dataset, *options).splitlines()
    counts = {line[:-24].strip(): line[-24:].split() for line in lines[2:-2]}
    assert list(counts.values()) == [["5", "4"], ["0", "1"], ["1", "1"], ["2"], ["2", "2"]]
    assert [line.split(",")[0] for line in lines[-2:]] == ["held out: test", "held out: mine"]


def test_conflicting_answers_are_counted_and_printed(tmp_path: Path) -> None:
    train = [("a b", "1"), ("a  b", "2"), ("a b", "1"), ("c", "3"), ("c ", "3"), ("d", " ")]
    dataset = gsm8k(tmp_path / "mine", train=train)
    printed = stage("data", "rows", dataset, "--out", tmp_path / "rows")
    audit = json.loads((tmp_path / "rows" / "audit.json").read_text())
    assert audit["conflicting_answers"] == {"train": 1}
    assert audit["left_out"]["train"] == {
        "other_numbers": 0,
        "no_answer": 1,
        "exact_duplicates": 1,
        "same_problem": 2,
        "unusable_answer": 0,
        "held_out": 0,
    }
    assert printed.splitlines()[-1].endswith("answers: 1")
    assert pl.read_parquet(tmp_path / "rows" / "train.parquet")["answer"].to_list() == ["1", "3"]


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_dataset_file_that_was_changed_is_named(
    dataset: Path, tmp_path: Path, split: str
) -> None:
    path = dataset.parent / split / f"mine-{split}.jsonl"
    path.write_text(path.read_text().replace("6", "7", 1))
    with pytest.raises(UserError) as raised:
        make_rows(dataset, tmp_path / "rows")
    assert raised.value.where == str(path)
    assert not (tmp_path / "rows").exists()


def test_a_dataset_file_that_is_gone_is_named(dataset: Path, tmp_path: Path) -> None:
    (dataset.parent / "test" / "mine-test.jsonl").unlink()
    with pytest.raises(UserError, match=r"mine-test\.jsonl"):
        make_rows(dataset, tmp_path / "rows")


def test_nothing_left_to_train_on_is_an_error(dataset: Path, tmp_path: Path) -> None:
    everything = make_suite(tmp_path / "all", TRAIN)
    with pytest.raises(UserError) as raised:
        make_rows(dataset, tmp_path / "rows", everything=everything)
    assert raised.value.where == str(dataset)
    assert not (tmp_path / "rows").exists()


def test_a_split_without_a_usable_row_is_an_error_that_says_why(tmp_path: Path) -> None:
    dataset = gsm8k(tmp_path / "mine", train=[("a", "1")], test=[("b", ""), (" ", "1")])
    with pytest.raises(UserError) as raised:
        make_rows(dataset, tmp_path / "rows")
    assert raised.value.where == str(dataset)
    assert "no answer (2)" in raised.value.message
    suite = countdown(tmp_path / "suite", numbers=[4], test=TEST)
    with pytest.raises(UserError, match=r"test.*numbers \(4\)"):
        make_rows(suite, tmp_path / "rows")
    path = dataset.parent / "train" / "mine-train.jsonl"
    nothing = write_dataset(tmp_path / "none", "gsm8k", {"test": [path]}, ranges={"test": (0, 0)})
    with pytest.raises(UserError, match="no test row"):
        make_rows(nothing, tmp_path / "rows")


def make_problems(rows: Path, out: Path, prompt: str = PROMPT) -> dict[str, Any]:
    """Run the stage and return its manifest."""
    stage("data", "problems", rows, "--prompt", prompt, "--out", out)
    manifest: dict[str, Any] = json.loads((out / "manifest.json").read_text())
    return manifest


def test_a_problem_has_its_prompt_and_what_its_rewards_need(dataset: Path, tmp_path: Path) -> None:
    make_rows(dataset, tmp_path / "rows")
    manifest = make_problems(tmp_path / "rows" / "manifest.json", tmp_path / "task")
    files = manifest.pop("files")
    assert manifest == {
        "kind": "problems",
        "task": "countdown",
        "dataset": "mine",
        "prompt": PROMPT,
        "rows": {"train": 3, "test": 2},
    }
    assert files["train"]["path"] == "problems/train.parquet"
    problems = read_problems(tmp_path / "task" / "problems" / "train.parquet")
    assert len(problems) == 3
    first = {
        "problem_id": "19-35-44=98",
        "prompt": load_prompt(PROMPT).text.format(numbers=[44, 19, 35], target=98),
        "nums": [44, 19, 35],  # in the row's own order
        "target": 98,
        "answer": "98",
        "source": "mine:train:0",
        "split": "train",
    }
    assert problems[0] == first
    assert list(problems[0]) == list(first)
    assert "[44, 19, 35]" in first["prompt"]


def test_two_datasets_can_hold_each_other_out(tmp_path: Path) -> None:
    one = gsm8k(tmp_path / "one", train=[("a", "1"), ("b", "2")], test=[("c", "3")])
    two = gsm8k(tmp_path / "two", train=[("c", "3"), ("d", "4")], test=[("b", "2")])
    for mine, other in ((one, two), (two, one)):
        out = mine.parent / "rows"
        assert make_rows(mine, out, other=other)["held_out"]["other"]["in_train"] == 1
        assert len(ids(out, "train")) == 1


def test_two_runs_give_the_same_bytes(dataset: Path, tmp_path: Path) -> None:
    suite = make_suite(tmp_path / "suite", [[35, 44, 19, 98]])
    for name in ("first", "second"):
        make_rows(dataset, tmp_path / name / "rows", suite=suite)
        make_problems(tmp_path / name / "rows" / "manifest.json", tmp_path / name / "task")
    assert len(contents(tmp_path / "first")) == 8
    assert contents(tmp_path / "first") == contents(tmp_path / "second")


def test_an_unknown_prompt_lists_those_there_are(dataset: Path, tmp_path: Path) -> None:
    make_rows(dataset, tmp_path / "rows")
    with pytest.raises(UserError, match=rf"nope.*{PROMPT}"):
        make_problems(tmp_path / "rows" / "manifest.json", tmp_path / "task", "nope")


def test_a_prompt_with_fields_of_another_format_is_refused(tmp_path: Path) -> None:
    make_rows(gsm8k(tmp_path / "mine", test=[("a", "1")]), tmp_path / "rows")
    with pytest.raises(UserError) as raised:
        make_problems(tmp_path / "rows" / "manifest.json", tmp_path / "task")
    assert raised.value.where == f"prompt {PROMPT}"
    assert "{numbers}" in raised.value.message
    assert "{question}" in raised.value.hint
    assert not (tmp_path / "task").exists()


@pytest.mark.parametrize("template", ["{question} {}", "{question} {0}", r"\boxed{} {question}"])
def test_a_single_brace_in_a_prompt_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, template: str
) -> None:
    monkeypatch.setattr(
        "r1zero.data.command.load_prompt", lambda name: Prompt(**STYLE, text=template)
    )
    make_rows(gsm8k(tmp_path / "mine", test=[("a", "1")]), tmp_path / "rows")
    with pytest.raises(UserError, match="prompt mine: "):
        make_problems(tmp_path / "rows" / "manifest.json", tmp_path / "task", "mine")


def test_braces_in_a_question_stay_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "r1zero.data.command.load_prompt",
        lambda name: Prompt(**STYLE, text=r"{question} \boxed{{}}"),
    )
    make_rows(gsm8k(tmp_path / "mine", test=[("{a} {question}", "1")]), tmp_path / "rows")
    make_problems(tmp_path / "rows" / "manifest.json", tmp_path / "task", "mine")
    (problem,) = read_problems(tmp_path / "task" / "problems" / "test.parquet")
    assert problem["prompt"] == r"{a} {question} \boxed{}"


def test_a_rows_file_that_was_changed_is_named(dataset: Path, tmp_path: Path) -> None:
    make_rows(dataset, tmp_path / "rows")
    changed = tmp_path / "rows" / "train.parquet"
    changed.write_bytes(changed.read_bytes() + b" ")
    with pytest.raises(UserError) as raised:
        make_problems(tmp_path / "rows" / "manifest.json", tmp_path / "task")
    assert raised.value.where == str(changed)
