"""The table of claims and their verdicts."""

import math
from collections.abc import Sequence

import polars as pl

from r1zero.report.claims.verdicts import Judged
from r1zero.report.paper.document import Table
from r1zero.report.paper.rendering import rounded


def claims_table(verdicts: Sequence[Judged]) -> Table:
    """One row per claim: statement, verdict, why, source."""
    data = [
        {
            "id": item.claim.id,
            "statement": item.claim.statement,
            "source": item.claim.source,
            "verdict": item.verdict,
            "estimate": item.interval.estimate if item.interval else math.nan,
            "low": item.interval.low if item.interval else math.nan,
            "high": item.interval.high if item.interval else math.nan,
            "unit": item.unit,
            "why": item.why,
            "files": " ".join(path.as_posix() for path in item.files),
        }
        for item in verdicts
    ]
    return Table(
        name="claims",
        title="Claims and verdicts",
        caption=(
            "Inconclusive: the interval allows both. Not tested: these runs cannot show it; the"
            " reason is followed by what it takes."
        ),
        data=rounded(pl.DataFrame(data)),
        headings=("claim", "verdict", "why", "source"),
        rows=tuple(
            (item.claim.statement, item.verdict, item.why, item.claim.source) for item in verdicts
        ),
        numeric=frozenset(),
        files=tuple(dict.fromkeys(path for item in verdicts for path in item.files)),
    )
