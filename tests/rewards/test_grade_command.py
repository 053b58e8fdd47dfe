"""`python -m r1zero grade countdown`, as a process and in process."""

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from r1zero.errors import UserError
from r1zero.rewards.command import grade_lines

COMMAND = [sys.executable, "-m", "r1zero", "grade", "countdown"]
GOOD = json.dumps({"completion": "x</think>\n<answer>1+2</answer>", "nums": [1, 2], "target": 3})


def run(*lines: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        COMMAND,
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
    good = {"correct": 1, "format": 1, "extracted": "1+2", "reason": "ok"}
    assert [json.loads(line) for line in result.stdout.splitlines()] == [
        good,
        {"correct": 0, "format": 0, "extracted": None, "reason": "no <answer> tag"},
        good,
    ]


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
    assert result.stderr == "error: standard input, line 3: `nums` is missing\n"
    assert len(result.stdout.splitlines()) == 2


def request(**changes: object) -> bytes:
    return json.dumps({**json.loads(GOOD), **changes}).encode()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"nonsense\n", "not valid JSON: Expecting value at column 1"),
        (b"\n", "not valid JSON: Expecting value at column"),
        (b'{"completion": "x"', "not valid JSON"),
        (b'{"completion": "\xff"}', "not valid JSON: 'utf-8' codec can't decode byte 0xff"),
        (b"[" * 100_000, "not valid JSON"),
        (b'{"target": ' + b"9" * 5000 + b"}", "not valid JSON"),
        (b"[1, 2]", "expected a JSON object, got a list"),
        (b"null", "expected a JSON object, got null"),
        (b"{}", "`completion` is missing"),
        (request(completion=None), "`completion` must be a string, got null"),
        (request(completion=["x"]), "`completion` must be a string, got a list"),
        (request(nums="1 2"), "`nums` must be a list of integers, got a string"),
        (request(nums=[1, "2"]), "`nums[1]` must be an integer, got a string"),
        (request(nums=[1, 2.0]), "`nums[1]` must be an integer, got a number that is not"),
        (request(nums=[True, 2]), "`nums[0]` must be an integer, got a truth value"),
        (request(nums=[[1]]), "`nums[0]` must be an integer, got a list"),
        (request(target="3"), "`target` must be an integer, got a string"),
        (request(target=3.0), "`target` must be an integer, got a number that is not"),
        (request(target=float("nan")), "`target` must be an integer, got a number that is not"),
        (request(target=True), "`target` must be an integer, got a truth value"),
        (request(target={}), "`target` must be an integer, got an object"),
    ],
)
def test_bad_lines_are_named(line: bytes, message: str) -> None:
    with pytest.raises(UserError) as raised:
        list(grade_lines([GOOD.encode(), line]))
    assert raised.value.where == "standard input, line 2"
    assert raised.value.message.startswith(message)


def test_lines_are_graded_as_they_come() -> None:
    read = 0

    def lines() -> Iterator[bytes]:
        nonlocal read
        for _ in range(3):
            read += 1
            yield GOOD.encode()

    verdicts = grade_lines(lines())
    next(verdicts)
    assert read == 1


def test_answers_each_line_before_the_next_is_sent() -> None:
    with subprocess.Popen(
        COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for _ in range(2):
            process.stdin.write(GOOD + "\n")
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
