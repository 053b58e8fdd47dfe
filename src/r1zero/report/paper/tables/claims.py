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
        "Inconclusive: the interval allows both. Seen, or contradicted, in one run: settled for the"
        " problems, but one training seed decides it. Not tested: these runs cannot show it; the"
        " column `why` says what it takes. Empirical claims are on how trainings end, identities"
        " hold for the method whatever it learns, arithmetic needs no training.",
        [
            {
                "claim": item.claim.statement,
                "kind": item.claim.kind,
                "verdict": item.verdict,
                "why": item.why,
                "source": item.claim.source,
            }
            for item in verdicts
        ],
        [
            {
                "id": item.claim.id,
                "kind": item.claim.kind,
                "statement": item.claim.statement,
                "source": item.claim.source,
                "verdict": item.verdict,
                "estimate": (item.interval or unknown).estimate,
                "low": (item.interval or unknown).low,
                "high": (item.interval or unknown).high,
                "unit": item.unit,
                "why": item.why,
                "files": " ".join(path.as_posix() for path in item.files),
            }
            for item in verdicts
        ],
        files=(path for item in verdicts for path in item.files),
    )
