import pytest

from r1zero.core.formatting import INVISIBLE, duration, shortlist, size


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0s"), (12.4, "12s"), (187, "3m07s"), (3599.6, "1h00m"), (7500, "2h05m")],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999.6, "1 kB"), (1500, "1.5 kB"), (2e6, "2 MB"), (1.2e12, "1,200.00 GB")],
)
def test_size(count: float, text: str) -> None:
    assert size(count) == text


def test_shortlist() -> None:
    assert shortlist(["a", "b"], most=2) == "a, b"
    assert shortlist(["a", "b", "c", "d"], most=2) == "a, b and 2 more"


def test_invisible_characters() -> None:
    assert (
        INVISIBLE.sub("?", "a\tb\n\x1b[2J\u202e\u200b\xad\ud800\U000e0041é") == "a\tb\n?[2J?????é"
    )
