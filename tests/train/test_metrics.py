"""Metrics: one line a step, whatever cut the run off."""

from pathlib import Path

from r1zero.train.metrics import append, keep_until, read


def steps(path: Path) -> list[int]:
    return [row["step"] for row in read(path)]


def test_lines_come_back_in_order(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    assert read(path) == []
    for step in (1, 2, 3):
        append(path, {"step": step, "reward": step / 2})
    assert read(path) == [{"step": step, "reward": step / 2} for step in (1, 2, 3)]


def test_a_line_that_was_cut_off_is_left_out_and_written_over(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    append(path, {"step": 1})
    with path.open("a") as stream:
        stream.write('{"step": 2, "rew')
    assert steps(path) == [1]
    keep_until(path, 1)
    append(path, {"step": 2})
    assert steps(path) == [1, 2]


def test_steps_that_will_be_done_again_are_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    for step in range(1, 8):
        append(path, {"step": step})
    keep_until(path, 4)
    assert steps(path) == [1, 2, 3, 4]
    keep_until(path, 9)
    assert steps(path) == [1, 2, 3, 4]
    keep_until(path, 0)
    assert path.read_text() == ""
