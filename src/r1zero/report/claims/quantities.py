"""Quantities that claims are about: values for each held-out problem, whose mean is the quantity.

Plain quantities are means of outcomes, or changes of such means. Quantities that are ratios of
means are linearised: the value of problem i is the ratio plus its first-order influence on it (the
delta method; Cochran 1977, "Sampling Techniques", section 6.3). So the intervals of `statistics`,
which are clustered by problem and crossed with seeds, hold for them too.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np

from r1zero.report.results.inputs import SuiteResults
from r1zero.report.statistics.intervals import Outcomes
from r1zero.report.statistics.measures import values

Values: TypeAlias = tuple[Outcomes, Outcomes | None]
"""Values [n_problems, n_samples or 1] whose mean is the quantity, and values to subtract, if any: a
pair gives a narrower interval than its difference would."""


class Quantity(NamedTuple):
    """A quantity: how it is measured, and how it is shown, in hundredths."""

    words: str
    unit: str
    measure: Callable[[SuiteResults], Values | None]
    """Gives None where the quantity is undefined."""
    linearised: bool = False
    """Whether values are linearised, and so are no shares even if they lie within [0, 1]."""


def change_of(suite: SuiteResults, measure: str) -> Values:
    """A measure of the trained model minus that of the base model."""
    return values(suite.trained, measure), values(suite.base, measure)


def saturation_lead(suite: SuiteResults) -> Values | None:
    """How much earlier the format changes than the accuracy, between step 0 and the last step.

    At each checkpoint in between, either has made a share of its whole change; the lead is the mean
    difference of these shares. It is 1 if the format is learnt before anything else, and 0 if both
    change together. [n_problems, 1]; None without a checkpoint in between, or without a change.
    """
    format_, accuracy = _shares_gone(suite, "format"), _shares_gone(suite, "correct")
    return None if format_ is None or accuracy is None else (format_ - accuracy, None)


def _shares_gone(suite: SuiteResults, field: str) -> Outcomes | None:
    """Mean share of a field's whole change at the checkpoints in between, linearised."""
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
    """Accuracy at the best step minus that at the last step: what was gained and lost again.

    The best of several steps is biased upwards, the more so the more steps there are. Two setups
    with the same steps share this bias only as far as their curves are alike.
    """
    best = max(suite.evaluations, key=lambda evaluation: evaluation.outcomes("correct").mean())
    return best.outcomes("correct"), suite.trained.outcomes("correct")


def wrong_length_growth(suite: SuiteResults) -> Values | None:
    """Growth of the mean length of wrong answers, as a share of that at step 0.

    [n_problems, 1], linearised; None if no answer is wrong at one of the two steps.
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


ACCURACY = Quantity("change of held-out accuracy", "points", lambda s: change_of(s, "accuracy"))
FORMAT = Quantity("change of the format rate", "points", lambda s: change_of(s, "format"))
PASS_AT_N = Quantity(
    "change of pass@n", "points", lambda s: change_of(s, f"pass@{s.base.n_samples}")
)
FINAL_ACCURACY = Quantity(
    "held-out accuracy", "points", lambda s: (values(s.trained, "accuracy"), None)
)
SATURATION_LEAD = Quantity(
    "lead of the format over the accuracy", "% of the way", saturation_lead, linearised=True
)
DRAWDOWN = Quantity("accuracy lost since the best step", "points", drawdown)
WRONG_LENGTH_GROWTH = Quantity(
    "growth of wrong answers", "% of their length", wrong_length_growth, linearised=True
)
