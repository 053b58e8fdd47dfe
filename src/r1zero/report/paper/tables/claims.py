"""The table of claims and their verdicts."""

import math
from collections.abc import Sequence

from r1zero.report.claims.findings import name_of
from r1zero.report.claims.verdicts import Judged
from r1zero.report.paper.document import Table
from r1zero.report.paper.text import duration
from r1zero.report.results.inputs import RunResults
from r1zero.report.statistics.intervals import Interval


def needs_table(verdicts: Sequence[Judged]) -> Table | None:
    """One row per claim that was judged on runs: which ones, their time, what would settle it."""
    judged = [item for item in verdicts if item.setups]
    if not judged:
        return None
    rows, data = [], []
    for item in judged:
        runs = [run for group in item.setups for run in group.runs]
        seconds = sum(_seconds(run) for run in runs)
        named = [
            f"{name_of(group)} (seeds {', '.join(map(str, group.seeds))})" for group in item.setups
        ]
        rows.append(
            {
                "claim": item.claim.statement,
                "verdict": item.verdict,
                "runs": "; ".join(named),
                "time": duration(seconds),
                "would settle it": _settling(item),
            }
        )
        data.append(
            {
                "id": item.claim.id,
                "verdict": item.verdict,
                "runs": "; ".join(named),
                "n_runs": len(runs),
                "seconds": seconds,
                "seeds_needed": item.settles.seeds if item.settles else None,
                "problems_needed": item.settles.problems if item.settles else None,
                "seconds_needed": 60 * item.settles.minutes if item.settles else None,
            }
        )
    return Table.of(
        "claims_needs",
        "Runs behind the verdicts, and what would settle the rest",
        "Time of their trainings and evaluations, one after the other; claims share runs. What"
        " would settle a claim is computed from its interval, the share of it that lies between"
        " seeds, and its border or margin, if the estimate stays where it is.",
        rows,
        data,
        numeric=("time",),
        files=(path for item in judged for path in item.files),
    )


def _seconds(run: RunResults) -> float:
    """Time of a training and of its evaluations."""
    measured = (item.seconds for suite in run.suites for item in suite.evaluations)
    return run.model.train_seconds + sum(measured)


def _settling(item: Judged) -> str:
    """What a claim that is not settled, or on one seed alone, would take."""
    open_ = item.verdict in ("not settled", "seen in one run", "contradicted in one run")
    if not open_:
        return "settled"
    if item.settles is None:
        return "not computed: no interval, or an estimate too near to the border"
    seeds, problems, minutes = item.settles.seeds, item.settles.problems, item.settles.minutes
    more = f" and {problems} times the problems" if problems > 1 else ""
    return f"{seeds} seeds{more}: {duration(60 * minutes)} more"


def claims_table(verdicts: Sequence[Judged]) -> Table:
    """One row per claim: statement, verdict, why, source."""
    unknown = Interval(math.nan, math.nan, math.nan)
    return Table.of(
        "claims",
        "Claims and verdicts",
        "Not settled: the interval allows both; the next table says what would settle it. Seen, or"
        " contradicted, in one run: settled for the problems, but one training seed decides it. Not"
        " tested: these runs cannot show it; the column `why` says what it takes. Empirical claims"
        " are on how trainings end, identities"
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
