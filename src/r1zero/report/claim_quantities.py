"""What claims measure of a run: values for each held-out problem, whose mean is the quantity.

Plain quantities are means of outcomes, or their change. Those that are ratios of means are
linearised: problem i stands with the ratio plus its first-order influence on it (the delta method;
Cochran 1977, "Sampling Techniques", section 6.3). So the intervals of `statistics`, which are
clustered by problem and crossed with seeds, hold for them too.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np

from r1zero.report.inputs import SuiteResults
from r1zero.report.measures import values
from r1zero.report.statistics import Outcomes
from r1zero.settings.claims import Quantity

# Values [n_problems, n_samples or 1] whose mean is the quantity, and what is taken off them, if
# anything: the pair makes a narrower interval than the difference would.
Values: TypeAlias = tuple[Outcomes, Outcomes | None]


def _change(measure: str) -> Callable[[SuiteResults], Values]:
    """A measure of the trained model, less that of the base model."""
    return lambda suite: (values(suite.trained, measure), values(suite.base, measure))


def greedy_change(suite: SuiteResults) -> Values | None:
    """Change of the greedy accuracy; None where nothing was decoded greedily."""
    if suite.base.greedy_outcomes("correct") is None:
        return None
    return _change("greedy_accuracy")(suite)


def pass_at_n_change(suite: SuiteResults) -> Values:
    """Change of pass@k with k the number of samples."""
    return _change(f"pass@{suite.base.n_samples}")(suite)


def final_accuracy(suite: SuiteResults) -> Values:
    """Accuracy of the trained model."""
    return values(suite.trained, "accuracy"), None


def saturation_lead(suite: SuiteResults) -> Values | None:
    """How far the format is ahead of the accuracy on its way from step 0 to the last step.

    At each checkpoint between, either has gone a share of its whole change; the lead is the mean
    difference of the shares. It is 1 where the format is learnt before anything else, 0 where both
    go together. [n_problems, 1]; None without a checkpoint between, or without a change.
    """
    format_, accuracy = _shares_gone(suite, "format"), _shares_gone(suite, "correct")
    return None if format_ is None or accuracy is None else (format_ - accuracy, None)


def _shares_gone(suite: SuiteResults, field: str) -> Outcomes | None:
    """Mean share of a field's change that checkpoints before the last have gone, linearised."""
    means = [evaluation.outcomes(field).mean(axis=1) for evaluation in suite.evaluations]
    whole = means[-1] - means[0]
    if len(means) < 3 or whole.mean() == 0:
        return None
    shares = []
    for mean in means[1:-1]:
        gone = mean - means[0]
        share = gone.mean() / whole.mean()
        shares.append(share + (gone - share * whole) / whole.mean())
    return np.asarray(np.mean(shares, axis=0)[:, np.newaxis])


def drawdown(suite: SuiteResults) -> Values:
    """Accuracy at the best step minus that at the last: what a training gained and lost again.

    The best of several is a little too good by chance, and the more so the more there are; two
    setups with the same steps have this in common.
    """
    best = max(suite.evaluations, key=lambda evaluation: evaluation.outcomes("correct").mean())
    return best.outcomes("correct"), suite.trained.outcomes("correct")


def wrong_length_growth(suite: SuiteResults) -> Values | None:
    """Growth of the mean length of wrong answers, as a share of that at step 0.

    [n_problems, 1], linearised; None where no answer is wrong at either end.
    """
    ends = []
    for evaluation in (suite.base, suite.trained):
        wrong = 1 - evaluation.outcomes("correct")
        if not wrong.any():
            return None
        length = (wrong * evaluation.outcomes("length")).sum() / wrong.sum()
        influence = (wrong * (evaluation.outcomes("length") - length)).mean(axis=1) / wrong.mean()
        ends.append((length, influence))
    (before, on_before), (after, on_after) = ends
    ratio = after / before
    growth: Outcomes = ratio - 1 + (on_after - ratio * on_before) / before
    return growth[:, np.newaxis], None


class Measured(NamedTuple):
    """A quantity: how it is measured, and how it is shown."""

    measure: Callable[[SuiteResults], Values | None]
    """None where it is undefined."""
    words: str
    unit: str
    factor: float
    """Takes it to its unit."""
    linearised: bool = False
    """Whether its values are linearised, and so no shares even where they are within [0, 1]."""


QUANTITIES: dict[Quantity, Measured] = {
    "accuracy": Measured(_change("accuracy"), "change of held-out accuracy", "points", 100),
    "lenient_accuracy": Measured(
        _change("lenient_accuracy"), "change of lenient accuracy", "points", 100
    ),
    "greedy_accuracy": Measured(greedy_change, "change of greedy accuracy", "points", 100),
    "format": Measured(_change("format"), "change of the format rate", "points", 100),
    "mean_length": Measured(_change("mean_length"), "change of the mean length", "tokens", 1),
    "truncated": Measured(_change("truncated"), "change of the truncated share", "points", 100),
    "repetition": Measured(_change("repetition"), "change of the repetition", "points", 100),
    "pass_at_n": Measured(pass_at_n_change, "change of pass@n", "points", 100),
    "final_accuracy": Measured(final_accuracy, "held-out accuracy", "points", 100),
    "saturation_lead": Measured(
        saturation_lead, "lead of the format over the accuracy", "% of the way", 100, True
    ),
    "drawdown": Measured(drawdown, "accuracy lost since the best step", "points", 100),
    "wrong_length_growth": Measured(
        wrong_length_growth, "growth of wrong answers", "% of their length", 100, True
    ),
}
