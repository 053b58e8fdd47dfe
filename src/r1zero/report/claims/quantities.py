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
from r1zero.report.statistics.measures import ratio_of_means, values

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

    The best of several steps looks better than it is on the problems that it was chosen on. So the
    problems are halved, and each half is scored at the step that is best on the other half
    (cross-fitting; Stone 1974, JRSS B 36). Of a curve that is flat the mean is then 0.
    """
    correct = [evaluation.outcomes("correct") for evaluation in suite.evaluations]
    best = correct[-1].copy()
    for half in (slice(0, None, 2), slice(1, None, 2)):
        other = slice(1 - (half.start or 0), None, 2)
        if len(best[other]):
            best[half] = max(correct, key=lambda outcomes: float(outcomes[other].mean()))[half]
    return best, correct[-1]


def terminated_length_growth(suite: SuiteResults) -> Values | None:
    """Growth of the mean length of the completions that ended by themselves, in hundreds of tokens.

    [n_problems, 1], linearised; None if none ended at one of the two steps. A completion that is
    cut at the limit is often a loop: its length is no length of a thought.
    """
    found = [
        ratio_of_means(evaluation, "length", 1 - evaluation.outcomes("truncated"))
        for evaluation in (suite.base, suite.trained)
    ]
    before, after = found
    return None if before is None or after is None else (after / 100, before / 100)


def wrong_length_growth(suite: SuiteResults) -> Values | None:
    """Growth of the mean length of wrong answers, as a share of that at step 0.

    [n_problems, 1], linearised; None if no answer is wrong at one of the two steps.
    """
    found = [
        ratio_of_means(evaluation, "length", 1 - evaluation.outcomes("correct"))
        for evaluation in (suite.base, suite.trained)
    ]
    before, after = found
    if before is None or after is None:
        return None
    ratio = after.mean() / before.mean()
    influence = (after - after.mean()) - ratio * (before - before.mean())
    growth: Outcomes = ratio - 1 + influence / before.mean()
    return growth, None


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
TERMINATED_LENGTH = Quantity(
    "change of the length of completions that end",
    "tokens",
    terminated_length_growth,
    linearised=True,
)
