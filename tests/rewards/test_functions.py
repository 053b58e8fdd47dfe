"""Reward functions: their formulas, their options, and what becomes of those that fail."""

import math
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trl.rewards import get_repetition_penalty_reward, get_soft_overlong_punishment

from r1zero.core.errors import UserError
from r1zero.rewards import build as building
from r1zero.rewards import functions
from r1zero.rewards.build import RewardFunction, RewardFunctions
from r1zero.settings.recipe import Reward
from r1zero.tasks.prompts import Style
from r1zero.tasks.registry import TASKS

PREFILLED = Style(thought="prefilled", answer="tags")
RIGHT = "so</think>\n<answer>1 + 2</answer>"
WRONG = "so</think>\n<answer>2 - 1</answer>"
WITHOUT_FORMAT = "so</think> <answer>1 + 2</answer>"
NONE = "so on and on"
COLUMNS = {"nums": [[1, 2]] * 4, "target": [3] * 4}


def functions_of(**changes: Any) -> RewardFunctions:
    settings = {"task": "countdown", "style": PREFILLED, "seed": 7}
    settings |= {"max_completion_length": 100, "rewards": {}}
    return RewardFunctions(**{**settings, **changes})


def build(name: str, *, run: dict[str, Any] | None = None, **options: Any) -> RewardFunction:
    return functions_of(**(run or {})).build(Reward(name=name, options=options))


def score(function: RewardFunction, completions: list[str], **columns: Any) -> list[float | None]:
    given = {"prompts": ["p"] * len(completions), "completion_ids": [[1]] * len(completions)}
    return list(function(completions=completions, **given | columns))


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("correct", {}, [1, 0, 1, 0]),
        ("correct", {"right": 2.0, "wrong": -1}, [2, -1, 2, -1]),
        ("format", {}, [1, 1, 0, 0]),
        ("format", {"right": 1.25, "wrong": -1.0}, [1.25, 1.25, -1, -1]),
        ("partial", {}, [0, 0.1, 0, 0]),
        ("partial", {"score": 0.5}, [0, 0.5, 0, 0]),
    ],
)
def test_functions_of_verdicts(name: str, options: dict[str, Any], expected: list[float]) -> None:
    texts = [RIGHT, WRONG, WITHOUT_FORMAT, NONE]
    assert score(build(name, **options), texts, **COLUMNS) == expected


def test_a_right_answer_in_another_place_is_right_if_lenient() -> None:
    run = {"task": "gsm8k", "style": Style(thought="free", answer="hash")}
    texts = ["it is 18", "#### 18", "it is 17"]
    answers = {"answer": ["18"] * 3}
    assert score(build("correct", run=run), texts, **answers) == [0, 1, 0]
    assert score(build("correct", run=run, lenient=True), texts, **answers) == [1, 1, 0]


def test_conversations_are_scored_by_their_last_message() -> None:
    talk = [[{"role": "assistant", "content": text}] for text in (RIGHT, WRONG)]
    columns = {"nums": [[1, 2]] * 2, "target": [3] * 2}
    assert score(build("correct"), talk, **columns) == [1, 0]  # type: ignore[arg-type]


def test_length_is_the_distance_in_characters() -> None:
    assert score(build("length"), ["", "x" * 20, "ß" * 25]) == [-20, 0, -5]
    assert score(build("length", target=2), ["abc"]) == [-1]


def test_the_target_of_length_is_what_a_summary_is_graded_by() -> None:
    rewards = {"length": {"target": 5}, "correct": {}}
    run = functions_of(task="tldr", rewards=rewards)
    correct, length = (run.build(Reward(name=n, options=rewards[n])) for n in ("correct", "length"))
    texts = ["x" * 5, "x" * 20]
    assert score(correct, texts) == [1, 0]
    assert score(length, texts) == [0, -15]


def test_cosine_length_goes_from_one_value_to_the_other_and_stays() -> None:
    options = {"max_len": 2 * len(RIGHT)}
    (right,) = score(build("cosine_length", **options), [RIGHT], nums=[[1, 2]], target=[3])
    assert right == pytest.approx(0.75)  # half way from 1.0 to 0.5
    long = RIGHT.replace("so", "so" * 99)
    assert score(build("cosine_length", **options), [long], nums=[[1, 2]], target=[3]) == [0.5]
    wrong = ["", "x" * 250, "x" * 500, "x" * 1000, "x" * 3000]
    scores = score(build("cosine_length"), wrong, nums=[[1, 2]] * 5, target=[3] * 5)
    # open-r1: min_value + 0.5 (max_value - min_value) (1 + cos(pi n / max_len)), swapped if wrong.
    expected = [-0.5 + 0.5 * (-1.0 + 0.5) * (1 + math.cos(math.pi * n)) for n in (0, 0.25, 0.5, 1)]
    assert scores == pytest.approx([*expected, -0.5])


@given(
    st.lists(st.lists(st.sampled_from("abc"), max_size=12), min_size=1, max_size=4),
    st.integers(1, 4),
)
def test_repetition_is_trls_with_words_for_tokens(words: list[list[str]], size: int) -> None:
    theirs = get_repetition_penalty_reward(size, -0.5)(completion_ids=words)
    mine = score(build("repetition", ngram_size=size, max_penalty=-0.5), [*map(" ".join, words)])
    assert mine == pytest.approx(theirs)


@given(st.lists(st.integers(1, 120), min_size=1, max_size=5), st.integers(1, 100))
def test_overlong_is_equation_13_of_dapo(lengths: list[int], cache: int) -> None:
    ids = [[1] * length for length in lengths]
    theirs = get_soft_overlong_punishment(100, cache)(completion_ids=ids)
    for option in (cache, cache / 100) if cache < 100 else (cache,):
        mine = score(build("overlong", cache=option), ["x"] * len(ids), completion_ids=ids)
        assert mine == pytest.approx(theirs)


def test_random_pays_some_whatever_they_say_and_pays_them_again() -> None:
    texts = [f"{place}" for place in range(4000)]
    first = score(build("random", probability=0.3), texts)
    assert set(first) == {0.0, 1.0}
    assert sum(first) / 4000 == pytest.approx(0.3, abs=0.03)
    # A run that resumes has another object, and a layout of more processes has smaller batches.
    assert score(build("random", probability=0.3), texts[::-1])[::-1] == first
    later = score(
        build("random", probability=0.3), texts, trainer_state=SimpleNamespace(global_step=1)
    )
    other = score(build("random", probability=0.3, run={"seed": 8}), texts)
    assert later != first != other
    assert score(build("random", probability=0.0), texts[:9]) == [0] * 9
    assert score(build("random", probability=1.0), texts[:9]) == [1] * 9


def test_a_batch_is_graded_once_for_all_functions(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    task = TASKS["countdown"]

    def counted(*arguments: Any) -> Any:
        calls.append(arguments)
        return task.grade(*arguments)

    monkeypatch.setitem(TASKS, "countdown", replace(task, grade=counted))
    run = functions_of()
    names = ("correct", "format", "cosine_length", "partial")
    built = [run.build(Reward(name=name)) for name in names]
    texts = [RIGHT, WRONG, WITHOUT_FORMAT, NONE]
    for function in built:
        score(function, texts, **COLUMNS)
    assert len(calls) == 1
    # An equal list is another batch: its columns may be others.
    assert score(built[0], list(texts), nums=[[1, 2]] * 4, target=[1] * 4) == [0, 1, 0, 0]
    assert len(calls) == 2


def test_a_function_is_called_as_the_metrics_are() -> None:
    assert build("format").__name__ == "format"
    assert build("user_rewards.brevity").__name__ == "user_rewards.brevity"


@pytest.mark.parametrize(
    ("name", "options", "named"),
    [
        ("corect", {}, ["correct", "format"]),
        ("length", {"goal": 3}, ["'goal'", "target"]),
        ("format", {"target": 3}, ["'target'", "right, wrong"]),
        ("length", {"target": "far"}, ["target:"]),
        ("length", {"target": -1}, ["target:"]),
        ("correct", {"lenient": 1}, ["lenient:"]),
        ("random", {"probability": 1.5}, ["probability:"]),
        ("overlong", {}, ["cache:"]),
        ("overlong", {"cache": 101}, ["cache:", "101", "100"]),
        ("nowhere.brevity", {}, ["ModuleNotFoundError"]),
        ("user_rewards.brevitty", {}, ["AttributeError"]),
        ("user_rewards.os", {}, []),
    ],
)
def test_what_there_is_not_is_named_before_a_run_starts(
    name: str, options: dict[str, Any], named: list[str]
) -> None:
    with pytest.raises(UserError) as raised:
        functions.check(Reward(name=name, options=options), max_completion_length=100)
    assert raised.value.where == f"reward {name}"
    assert all(part in str(raised.value) for part in named)
    assert "\n" not in str(raised.value)


def test_known_functions_tell_their_options() -> None:
    known = functions.known_reward_functions()
    assert known["correct"] == {"right": 1.0, "wrong": 0.0, "lenient": False}
    assert known["overlong"] == {"cache": ...}
    assert set(known) == set(functions.REWARD_FUNCTIONS)


def test_a_function_of_the_users_gets_columns_options_and_the_step() -> None:
    assert score(build("user_rewards.brevity", limit=3), ["four", "two"]) == [0, 1]
    assert score(build("user_rewards.meets_target"), ["3", "4"], target=[3, 3]) == [1, 0]
    state = SimpleNamespace(global_step=5)
    function = build("user_rewards.number_of_the_step")
    assert score(function, ["a"], trainer_state=state) == [5]
    assert score(build("user_rewards.later"), ["a", "b"]) == [0.25] * 2


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("raise", "ValueError: no such thing"),
        ("crash", "the process ended early (exit status 9)"),
        ("hang", "took longer than 2 s"),
        ("short", "gave 0 rewards for one completion"),
        ("text", "ValueError: could not convert string to float: 'x'"),
        ("nan", "the reward is nan"),
        ("inf", "the reward is inf"),
    ],
)
def test_a_completion_that_breaks_a_function_counts_nothing_and_harms_no_other(
    text: str, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if text == "hang":
        monkeypatch.setattr(building, "PATIENCE", 2.0)
    logged: dict[str, float] = {}
    function = build("user_rewards.hostile")
    scores = score(function, ["a", text, "b", "c"], log_metric=logged.__setitem__)
    assert scores == [1, 0, 1, 1]
    assert function.failed == {1: problem}
    assert logged == {"rewards/user_rewards.hostile/failed": 0.25}
    # The next batch is not held to account for it.
    assert score(function, ["a", "b"], log_metric=logged.__setitem__) == [1, 1]
    assert function.failed == {}
    assert logged == {"rewards/user_rewards.hostile/failed": 0}


def test_a_function_may_not_apply() -> None:
    function = build("user_rewards.hostile")
    assert score(function, ["a", "none"]) == [1, None]
    assert function.failed == {}


def test_completions_that_all_hang_cost_a_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "PATIENCE", 0.3)
    function = build("user_rewards.hostile")
    assert score(function, ["hang"] * 30) == [0] * 30
    problems = list(function.failed.values())
    assert problems[0] == "took longer than 0.3 s"
    assert problems[-1] == "not scored within 0.6 s"


def test_a_bug_of_a_function_costs_its_completion_alone() -> None:
    # A row without what the grader needs.
    columns = {"nums": [[1, 2], None, [1, 2], [1, 2]], "target": [3] * 4}
    function = build("correct")
    assert score(function, [RIGHT, RIGHT, WRONG, RIGHT], **columns) == [1, 0, 0, 1]
    assert list(function.failed) == [1]


def test_a_function_of_the_users_runs_in_another_process(tmp_path: Path) -> None:
    path = tmp_path / "users_own.py"
    path.write_text("import os\ndef where(completions, **_): return [os.getpid()] * 2\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(tmp_path)
        assert score(build("users_own.where"), ["a", "b"])[0] != os.getpid()
