"""Signs of a training that has gone wrong, from its metrics."""

import math
from collections import deque
from collections.abc import Iterable, Mapping
from statistics import fmean

# Steps whose mean is judged.
_WINDOW = 20
# Nats per token.
_MOST_KL = 10.0
# Shares of the mean of the first window, or of the best one for rewards.
_LEAST_ENTROPY, _LEAST_LENGTH, _LEAST_REWARD = 0.01, 0.05, 0.1
# A reward function that was never above this has nothing to lose.
_WORTH_KEEPING = 0.2


class CollapseWatch:
    """Tells each sign of a collapse once.

    Signs are metrics that are not finite, and means of 20 steps that

    - exceed 10 nats per token (`kl`),
    - fall below 1 % (`entropy`) or 5 % (`completions/mean_length`) of those of the first steps,
    - fall below 10 % of the best ones (`rewards/<name>/mean`, such as that of the format).

    The thresholds are our own: far outside of what the published runs show, so that what is told
    deserves a look.

    Args:
        rows: Metrics of the steps so far.

    """

    def __init__(self, rows: Iterable[Mapping[str, float]] = ()) -> None:
        self._recent: dict[str, deque[float]] = {}
        self._reference: dict[str, float] = {}
        self._told: set[str] = set()
        for row in rows:
            self.look(row)

    def look(self, row: Mapping[str, float]) -> str | None:
        """What is wrong since this step."""
        signs = {}
        for key, value in row.items():
            if key in {"loss", "grad_norm"} and not math.isfinite(value):
                signs[key] = f"{key} is {value}"
            elif _is_watched(key):
                sign = self._judge(key, value)
                if sign:
                    signs[key] = sign
        new = [signs[key] for key in signs.keys() - self._told]
        self._told |= signs.keys()
        return "; ".join(sorted(new)) or None

    def _judge(self, key: str, value: float) -> str | None:
        if not math.isfinite(value):
            return f"{key} is {value}"
        recent = self._recent.setdefault(key, deque(maxlen=_WINDOW))
        recent.append(value)
        if len(recent) < _WINDOW:
            return None
        mean = fmean(recent)
        reference = self._reference.setdefault(key, mean)
        if key == "kl":
            low, high = -math.inf, _MOST_KL
        elif key == "entropy":
            low, high = _LEAST_ENTROPY * reference, math.inf
        elif key == "completions/mean_length":
            low, high = _LEAST_LENGTH * reference, math.inf
        else:
            reference = self._reference[key] = max(reference, mean)
            low, high = _LEAST_REWARD * reference, math.inf
            if reference < _WORTH_KEEPING:
                return None
        if low <= mean <= high:
            return None
        limit = f"below {low:.3g}" if mean < low else f"above {high:g}"
        return f"{key} was {mean:.3g} in the mean of {_WINDOW} steps, {limit}"


def _is_watched(key: str) -> bool:
    is_reward = key.startswith("rewards/") and key.endswith("/mean")
    return is_reward or key in {"kl", "entropy", "completions/mean_length"}
