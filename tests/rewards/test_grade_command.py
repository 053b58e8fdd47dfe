"""`python -m r1zero grade`, as a process and in process."""

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from r1zero.core.errors import UserError
from r1zero.rewards.command import grade_lines
from r1zero.tasks.registry import TASKS

COUNTDOWN = TASKS["countdown"]
COMMAND = [sys.executable, "-m", "r1zero", "grade", "countdown"]
GOOD = json.dumps({"completion": "x</think>\n<answer>1+2</answer>", "nums": [1, 2], "target": 3})


def run(*lines: str, command: list[str] = COMMAND) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        input="".join(line + "\n" for line in lines),
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=60,
    )


def test_one_object_per_line_in_order() -> None:
    bad = json.dumps({"completion": "é \ud800", "nums": [1, 2], "target": 3, "extra": None})
    result = run(GOOD, bad, GOOD)
    assert (result.returncode, result.stderr) == (0, "")
    good = {"correct": 1, "lenient": 1, "format": 1, "extracted": "1+2", "reason": "ok"}
    assert [json.loads(line) for line in result.stdout.splitlines()] == [
        good,
        {
            "correct": 0,
            "lenient": 0,
            "format": 0,
            "extracted": None,
            "reason": "no <answer> tag",
        },
        good,
    ]


def test_every_task_has_a_command() -> None:
    for name, task in TASKS.items():
        row = {"countdown": {"nums": [1], "target": 1}}.get(name, {"answer": "1"})
        result = run(json.dumps({"completion": "x", **row}), command=[*GRADE, name])
        assert json.loads(result.stdout)["correct"] == 0
        shown = run(command=[*GRADE, name, "--help"]).stdout
        assert all(f"`{column}`" in shown for column in task.columns)


GRADE = COMMAND[:-1]


@pytest.mark.parametrize(
    ("options", "completion", "answer", "correct", "lenient", "format_"),
    [
        (["gsm8k"], "2 + 3 = 5\n#### $1,005.00", "1005", 1, 1, 1),
        (["gsm8k"], "The answer is 5.", "5", 0, 1, 0),
        (["gsm8k", "--lenient"], "The answer is 5.", "5", 1, 1, 0),
        (
            ["gsm8k", "--style", "tags", "--thought", "generated"],
            "<think>x</think> <answer>5</answer>",
            "5",
            1,
            1,
            1,
        ),
        (["math"], r"So $\boxed{\frac{2}{4}}$.", "0.5", 1, 1, 1),
        (["math"], r"So $\frac{2}{4}$.", "0.5", 0, 1, 0),
        (["math", "--lenient"], r"So $\frac{2}{4}$.", "0.5", 1, 1, 0),
        (["math", "--style", "line"], "So\nAnswer: 1/2", "0.5", 1, 1, 1),
        (["math"], r"\boxed{10^{10^{10}}}", "7", 0, 0, 1),
    ],
)
def test_tasks_with_a_gold_answer(
    options: list[str], completion: str, answer: str, correct: int, lenient: int, format_: int
) -> None:
    line = json.dumps({"completion": completion, "answer": answer})
    result = run(line, line, command=[*GRADE, *options])
    assert (result.returncode, result.stderr) == (0, "")
    for out in result.stdout.splitlines():
        verdict = json.loads(out)
        assert list(verdict) == ["correct", "lenient", "format", "extracted", "reason"]
        assert (verdict["correct"], verdict["lenient"]) == (correct, lenient)
        assert verdict["format"] == format_
        assert (verdict["reason"] == "ok") == bool(correct)
    assert len(result.stdout.splitlines()) == 2


@pytest.mark.parametrize("task", ["gsm8k", "math"])
def test_a_gold_answer_that_is_no_text_is_named(task: str) -> None:
    result = run('{"completion": "x", "answer": 5}', command=[*GRADE, task])
    assert result.returncode == 2
    assert result.stderr.startswith("error: standard input, line 1: `answer` ")
    assert result.stderr.count("\n") == 1


def test_lone_surrogates_and_unicode_come_back() -> None:
    answer = "１+\ud800\u202e"
    line = {"completion": f"x</think>\n<answer>{answer}</answer>", "nums": [1], "target": 1}
    result = run(json.dumps(line), json.dumps(line, ensure_ascii=False).replace("\ud800", "€"))
    first, second = (json.loads(line) for line in result.stdout.splitlines())
    assert first["extracted"] == answer
    assert second["extracted"] == answer.replace("\ud800", "€")


def test_no_input_gives_no_output() -> None:
    result = run()
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_a_bad_line_stops_with_one_line_and_status_2() -> None:
    result = run(GOOD, GOOD, '{"completion": "x", "target": 3}', GOOD)
    assert result.returncode == 2
    assert result.stderr.startswith("error: standard input, line 3: `nums` ")
    assert result.stderr.count("\n") == 1
    assert len(result.stdout.splitlines()) == 2


def request(**changes: object) -> bytes:
    return json.dumps({**json.loads(GOOD), **changes}).encode()


@pytest.mark.parametrize(
    ("line", "key"),
    [
        (b"nonsense\n", ""),
        (b"\n", ""),
        (b'{"completion": "x"', ""),
        (b'{"completion": "\xff"}', ""),
        (b"[" * 100_000, ""),
        (b'{"target": ' + b"9" * 5000 + b"}", ""),
        (b"[1, 2]", ""),
        (b"null", ""),
        (b"{}", "`completion`"),
        (request(completion=None), "`completion`"),
        (request(completion=["x"]), "`completion`"),
        (request(nums="1 2"), "`nums`"),
        (request(nums=[1, "2"]), "`nums[1]`"),
        (request(nums=[1, 2.0]), "`nums[1]`"),
        (request(nums=[True, 2]), "`nums[0]`"),
        (request(nums=[[1]]), "`nums[0]`"),
        (request(target="3"), "`target`"),
        (request(target=3.0), "`target`"),
        (request(target=float("nan")), "`target`"),
        (request(target=True), "`target`"),
        (request(target={}), "`target`"),
    ],
)
def test_bad_lines_are_named(line: bytes, key: str) -> None:
    with pytest.raises(UserError) as raised:
        list(grade_lines([GOOD.encode(), line], COUNTDOWN, COUNTDOWN.style))
    assert raised.value.where == "standard input, line 2"
    assert raised.value.message.startswith(key)
    assert len(raised.value.message) < 200


def test_lines_are_graded_as_they_come() -> None:
    read = 0

    def lines() -> Iterator[bytes]:
        nonlocal read
        for _ in range(3):
            read += 1
            yield GOOD.encode()

    verdicts = grade_lines(lines(), COUNTDOWN, COUNTDOWN.style)
    next(verdicts)
    assert read == 1


GOLD = json.dumps({"completion": r"\boxed{2/4}", "answer": "0.5"})


@pytest.mark.parametrize(("task", "line"), [("countdown", GOOD), ("math", GOLD)])
def test_answers_each_line_before_the_next_is_sent(task: str, line: str) -> None:
    with subprocess.Popen(
        [*GRADE, task], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for _ in range(2):
            process.stdin.write(line + "\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["correct"] == 1
        process.stdin.close()
        assert process.wait(timeout=30) == 0


def test_a_reader_that_goes_away_is_no_crash() -> None:
    with subprocess.Popen(
        COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        # Less than a pipe holds, so that writing doesn't depend on the process reading.
        _, errors = process.communicate(GOOD + "\n", timeout=30)
    assert (process.returncode, errors) == (1, "")
