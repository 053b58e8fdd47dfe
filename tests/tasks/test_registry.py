"""What holds of every task."""

import subprocess
import sys
from itertools import product
from typing import Any

import pytest

from r1zero.core.errors import UserError
from r1zero.settings import load_sources
from r1zero.settings.schema import schemas
from r1zero.tasks.prompts import Style, load_prompt, prompt_names
from r1zero.tasks.registry import TASKS, are_alike, find_task
from tiny import CONFIG

TAGS = Style(thought="prefilled", answer="tags")

# By task: a row, a completion that is right in this style, one that is wrong.
BATCHES: dict[str, tuple[dict[str, Any], str, str]] = {
    "countdown": (
        {"nums": [1, 2], "target": 3},
        "x</think>\n<answer>1+2</answer>",
        "x</think>\n<answer>1-2</answer>",
    ),
    "gsm8k": (
        {"answer": "1005"},
        "x</think>\n<answer>$1,005</answer>",
        "x</think>\n<answer>1006</answer>",
    ),
    "math": (
        {"answer": r"\frac{1}{2}"},
        "x</think>\n<answer>2/4</answer>",
        "x</think>\n<answer>2/3</answer>",
    ),
    "tldr": ({"answer": "a summary"}, "x" * 20, "x" * 40),
}


@pytest.mark.parametrize("name", TASKS)
def test_every_task_grades_a_batch(name: str) -> None:
    task = TASKS[name]
    row, right, wrong = BATCHES[name]
    verdicts = task.grade([right, wrong, right], [row | {"other": 1}] * 3, TAGS, {})
    assert [verdict.correct for verdict in verdicts] == [1, 0, 1]
    assert [verdict.lenient for verdict in verdicts] == [1, 0, 1]
    assert all(verdict.format == 1 for verdict in verdicts)
    assert [verdict.reason == "ok" for verdict in verdicts] == [True, False, True]
    assert task.grade([], [], TAGS, {}) == []
    assert task.gold_problems([row, row]) == ["", ""]
    assert task.columns.keys() <= row.keys()


@pytest.mark.parametrize("name", TASKS)
def test_every_task_draws_rows_that_it_can_normalise(name: str) -> None:
    import polars as pl

    task = TASKS[name]
    (source, *_) = [
        source
        for source in load_sources(CONFIG).datasets.values()
        if source.kind == "generated" and source.task == name
    ]
    drawn = [row._asdict() for row in source.draw(20, seed=0)]
    rows = task.normalise(pl.LazyFrame(drawn), "here")
    wanted = {"problem_id", "answer", *task.fields.values(), *task.columns}
    assert wanted <= set(rows.columns)
    assert rows["problem_id"].is_unique().all()


@pytest.mark.parametrize("name", TASKS)
def test_every_task_has_a_prompt_and_is_named_by_the_schemas(name: str) -> None:
    fields = [f"{{{field}}}" for field in TASKS[name].fields]
    assert any(all(f in load_prompt(p).text for f in fields) for p in prompt_names())
    for schema in ("recipe", "scale", "sources"):
        assert f"'{name}'" in str(schemas()[schema])


def test_tasks_are_alike_if_prompts_and_graders_can_be_exchanged() -> None:
    alike = {(first, second) for first, second in product(TASKS, repeat=2) if first < second}
    assert {pair for pair in alike if are_alike(*pair)} == {("gsm8k", "math")}
    assert all(are_alike(name, name) for name in TASKS)


def test_an_unknown_task_lists_those_there_are() -> None:
    with pytest.raises(UserError) as raised:
        find_task("chess")
    assert all(name in raised.value.hint for name in TASKS)


def test_the_registry_loads_no_heavy_package() -> None:
    code = (
        "import sys, r1zero.tasks.registry;"
        "print({'torch', 'sympy', 'math_verify', 'transformers'} & set(sys.modules))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "set()\n"


def test_rows_that_cannot_be_graded() -> None:
    assert all(TASKS["gsm8k"].gold_problems([{"answer": "none"}, {"answer": ""}]))
    assert all(TASKS["math"].gold_problems([{"answer": r"\frac{"}, {"answer": ""}]))


@pytest.mark.parametrize(
    ("target", "lengths"),
    [(20, {18, 19, 20, 21, 22}), (9, {9}), (0, {0}), (30, {*range(27, 34)})],
)
def test_a_summary_is_graded_by_the_target_of_the_recipe(target: int, lengths: set[int]) -> None:
    texts = ["\ud800" * length for length in range(60)]
    rewards = {"length": {"target": target}, "format": {}}
    verdicts = TASKS["tldr"].grade(texts, [{}] * 60, TAGS, rewards)
    assert {length for length, verdict in enumerate(verdicts) if verdict.correct} == lengths
    assert all(verdict.lenient == verdict.correct for verdict in verdicts)
    assert all(len(verdict.extracted or "") <= 1.1 * target for verdict in verdicts)
    if target == 20:  # as in TRL's quickstart
        assert TASKS["tldr"].grade(texts, [{}] * 60, TAGS, {}) == verdicts
