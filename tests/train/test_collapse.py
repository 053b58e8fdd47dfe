"""Signs of a collapse: told once, and never on the metrics of a healthy training."""

import math
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1zero.train.collapse import CollapseWatch

HEALTHY = {
    "loss": 0.01,
    "grad_norm": 0.2,
    "kl": 0.1,
    "entropy": 0.4,
    "completions/mean_length": 300.0,
    "rewards/format/mean": 0.9,
    "rewards/correct/mean": 0.05,
}


def signs(rows: Iterable[dict[str, float]], watch: CollapseWatch | None = None) -> list[str]:
    watch = watch or CollapseWatch()
    return [sign for row in rows if (sign := watch.look(row))]


def then(steps: int, **changes: float) -> list[dict[str, float]]:
    """A healthy training, and some steps that differ."""
    named = {key.replace("__", "/"): value for key, value in changes.items()}
    return [HEALTHY] * 50 + [HEALTHY | named] * steps


@given(st.lists(st.fixed_dictionaries({key: st.floats(0.3, 3.0) for key in HEALTHY}), max_size=80))
def test_a_healthy_training_shows_none(factors: list[dict[str, float]]) -> None:
    rows = [{key: HEALTHY[key] * factor[key] for key in HEALTHY} for factor in factors]
    assert signs(rows) == []


@pytest.mark.parametrize("key", ["loss", "grad_norm", "kl"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_number_that_is_none_shows_at_once_and_once(key: str, value: float) -> None:
    found = signs([HEALTHY, HEALTHY | {key: value}, HEALTHY | {key: value}])
    assert len(found) == 1
    assert key in found[0]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("kl", 50.0),
        ("entropy", 1e-4),
        ("completions__mean_length", 2.0),
        ("rewards__format__mean", 0.0),
    ],
)
def test_a_collapse_shows_within_the_window_and_not_after_one_step(key: str, value: float) -> None:
    name = key.replace("__", "/")
    assert name not in " ".join(signs(then(1, **{key: value if key != "kl" else 20.0})))
    found = signs(then(25, **{key: value}))
    assert len(found) == 1
    assert name in found[0]
    # A resumed training has seen it already.
    rows = then(25, **{key: value})
    assert signs(rows[-5:], CollapseWatch(rows)) == []


def test_a_reward_that_was_never_earned_is_not_lost() -> None:
    assert signs(then(40, rewards__correct__mean=0.0)) == []
