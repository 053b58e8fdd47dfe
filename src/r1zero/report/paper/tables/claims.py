"""The table of claims and their verdicts."""

import math
from collections.abc import Sequence

from r1zero.report.claims.verdicts import Judged
from r1zero.report.paper.document import Table
from r1zero.report.statistics.intervals import Interval


def claims_table(verdicts: Sequence[Judged]) -> Table:
    """One row per claim: statement, verdict, why, source."""
    unknown = Interval(math.nan, math.nan, math.nan)
    return Table.of(
        "claims",
        "Claims and verdicts",
        "Inconclusive: the interval allows both. Not tested: these runs cannot show it; the reason"
        " is followed by what it takes.",
        [
            {
                "claim": item.claim.statement,
                "verdict": item.verdict,
                "why": item.why,
                "source": item.claim.source,
            }
            for item in verdicts
        ],
        [
            {
                "id": item.claim.id,
                "statement": item.claim.statement,
                "source": item.claim.source,
                "verdict": item.verdict,
                **vars(item.interval or unknown),
                "unit": item.unit,
                "why": item.why,
                "files": " ".join(path.as_posix() for path in item.files),
            }
            for item in verdicts
        ],
        files=(path for item in verdicts for path in item.files),
    )
