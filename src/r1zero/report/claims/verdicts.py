"""Verdicts on claims, from the results of runs.

A claim is about every setup that meets its needs: every recipe, or every pair of variants. It is

- reproduced if it is settled in its favour in all of them. All have to agree, so more setups make
  this verdict less likely, and the chance of a false "reproduced" stays below 2.5 % if the claim is
  untrue of any of them;
- contradicted if it is settled against it in any of them. Here more setups would make a false
  verdict likelier, so Holm's procedure (1979, Scandinavian Journal of Statistics 6) keeps the
  chance below 2.5 % over all of them together;
- not settled otherwise, with the seeds, problems and time that would settle it if the estimates
  stay where they are (`statistics.settling`);
- not tested if no setup meets its needs, and not at this scale if none of it can.

Where one of the setups that decide has a single training seed, the verdict is "seen in one run", or
"contradicted in one run": intervals then cover problems, and how far seeds differ is not known. An
identity or arithmetic needs no second seed.

Nothing is corrected for the number of claims: of forty true ones, one may be judged wrongly.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

from r1zero.report.claims.base import Claim, Configured, Evidence, Setups
from r1zero.report.claims.findings import Finding
from r1zero.report.claims.selection import fitting
from r1zero.report.results.inputs import RunResults
from r1zero.report.statistics.intervals import CONFIDENCE, Interval
from r1zero.report.statistics.measures import Group

Verdict: TypeAlias = Literal[
    "reproduced",
    "contradicted",
    "seen in one run",
    "contradicted in one run",
    "not settled",
    "not tested",
    "not at this scale",
]

# Findings that a sentence names before it counts the rest.
_NAMED = 3


@dataclass(frozen=True)
class Needed:
    """What would settle a claim, if the estimates stay where they are."""

    seeds: int
    """Training seeds of each setup in all."""
    problems: int
    """How many times as many held-out problems."""
    minutes: float
    """Time of the trainings and evaluations that are not there yet, one after the other."""


@dataclass(frozen=True)
class Judged:
    """A claim and what the results say about it."""

    claim: Claim
    verdict: Verdict
    why: str
    """One sentence with the figures; for "not tested", what it would take."""
    interval: Interval | None
    """The claim's quantity, in `unit`, of the setup that is furthest from what is claimed."""
    unit: str
    files: tuple[Path, ...]
    """Files that it was judged on."""
    setups: tuple[Group, ...] = ()
    """Setups that it was judged on."""
    settles: Needed | None = None
    """What would settle it, or add the seeds that it lacks; None if that cannot be computed, or if
    it is settled."""


def judge(
    claims: Sequence[Claim], runs: Sequence[RunResults], configured: Configured
) -> list[Judged]:
    """Judge each claim on runs of one scale, or on the configuration if it is about plans."""
    return [_judge(claim, runs, configured) for claim in claims]


def _judge(claim: Claim, runs: Sequence[RunResults], configured: Configured) -> Judged:
    scale = runs[0].run.scale if runs else claim.scales[0]
    if scale not in claim.scales:
        why = f"It can be judged at scale {' or '.join(claim.scales)} alone."
        return Judged(claim, "not at this scale", why, None, "", ())
    groups, missing = fitting(claim.needs, runs)
    if not groups and not claim.plans:
        return _untested(claim, Evidence(missing=missing))
    evidence: Evidence = claim.test(Setups(groups, configured, claim.arms))
    if not evidence.findings:
        return _untested(claim, evidence)
    findings = after_holm(evidence.findings)
    verdict = _verdict(claim, findings)
    sides = ("no", "unsettled", "yes")
    furthest = min(findings, key=lambda item: (sides.index(item.settled), item.against))
    shown = next((item for item in (furthest, *findings) if item.interval), None)
    return Judged(
        claim,
        verdict,
        _why(findings, evidence.left_out) + _warning(findings),
        shown.interval if shown else None,
        shown.unit if shown else "",
        _files(findings),
        _setups(findings),
        _needed(findings, verdict),
    )


def _verdict(claim: Claim, findings: Sequence[Finding]) -> Verdict:
    """The verdict; see the module."""
    against = [finding for finding in findings if finding.settled == "no"]
    if against:
        alone = claim.kind == "empirical" and all(item.n_seeds == 1 for item in against)
        return "contradicted in one run" if alone else "contradicted"
    if any(finding.settled == "unsettled" for finding in findings):
        return "not settled"
    alone = claim.kind == "empirical" and any(item.n_seeds == 1 for item in findings)
    return "seen in one run" if alone else "reproduced"


def _needed(findings: Sequence[Finding], verdict: Verdict) -> Needed | None:
    """What would settle all findings that leave a verdict open, or give it the seeds it lacks."""
    if verdict == "not settled":
        open_ = [item for item in findings if item.settled == "unsettled"]
    elif verdict in ("seen in one run", "contradicted in one run"):
        open_ = [item for item in findings if item.n_seeds == 1]
    else:
        return None
    wanted = [item.settles for item in open_]
    if any(item is None for item in wanted):
        return None
    seeds = max(item.seeds for item in wanted if item)
    problems = max(item.problems for item in wanted if item)
    minutes = sum(_missing_seconds(group, seeds, problems) for group in _setups(open_)) / 60
    return Needed(seeds, problems, minutes)


def _missing_seconds(group: Group, seeds: int, problems: int) -> float:
    """Time of what a setup lacks, from that of its runs: seeds, and problems of each evaluation."""
    n = len(group.runs)
    training = sum(run.model.train_seconds for run in group.runs) / n
    suites = [suite for run in group.runs for suite in run.suites]
    measuring = sum(item.seconds for suite in suites for item in suite.evaluations) / n
    return max(seeds - n, 0) * (training + problems * measuring) + n * (problems - 1) * measuring


def _setups(findings: Sequence[Finding]) -> tuple[Group, ...]:
    """Setups that findings are about, each once."""
    found = {(group.run.recipe, group.run.backend): group for f in findings for group in f.setups}
    return tuple(found.values())


def _warning(findings: Sequence[Finding]) -> str:
    """What two seeds promise."""
    if not any(finding.n_seeds == 2 for finding in findings):
        return ""
    return " Intervals from two seeds cover 86 to 92 % where seeds differ, not 95 %."


def _untested(claim: Claim, evidence: Evidence) -> Judged:
    """The verdict if no setup meets the needs, or none of those that do shows anything."""
    unsettled = [item for item in evidence.left_out if item.settled == "unsettled"]
    if unsettled:
        first = unsettled[0]
        why = f"What it rests on is not settled: {_listed(unsettled)}."
        files = _files(evidence.left_out)
        setups, needed = _setups(unsettled), _needed(unsettled, "not settled")
        return Judged(claim, "not settled", why, first.interval, first.unit, files, setups, needed)
    if evidence.left_out:
        reason = f"What it rests on is not given: {_listed(evidence.left_out)}"
    else:
        reason = f"There is no {evidence.missing}"
    files = _files(evidence.left_out)
    return Judged(claim, "not tested", f"{reason}. It takes: {claim.takes}", None, "", files)


def after_holm(findings: Sequence[Finding]) -> list[Finding]:
    """Take back each "no" that is not clear enough for the number of setups."""
    alpha = (1 - CONFIDENCE) / 2
    refuted = set()
    ordered = sorted(range(len(findings)), key=lambda place: findings[place].against)
    for rank, place in enumerate(ordered):
        if findings[place].against > alpha / (len(findings) - rank):
            break
        refuted.add(place)
    return [
        replace(finding, settled="unsettled")
        if finding.settled == "no" and place not in refuted
        else finding
        for place, finding in enumerate(findings)
    ]


def _why(findings: Sequence[Finding], left_out: Sequence[Finding]) -> str:
    """Which findings are for the claim and which are not, the furthest from it first."""
    quantities = {finding.quantity for finding in findings}
    alone = quantities.pop() if len(quantities) == 1 else ""
    parts = []
    for settled, words in (("no", "against"), ("unsettled", "unsettled"), ("yes", "as claimed")):
        side = [finding for finding in findings if finding.settled == settled]
        if side:
            ordered = sorted(side, key=lambda finding: finding.against)
            count = f"{words} in {len(side)} of {len(findings)}" if len(findings) > 1 else words
            parts.append(f"{count}: {_listed(ordered, alone)}")
    if left_out:
        parts.append(f"left out, as it lacks what the claim rests on: {_listed(left_out)}")
    sentence = "; ".join(parts)
    sentence = f"{alone}, {sentence}" if alone else sentence
    return f"{sentence[0].upper()}{sentence[1:]}."


def _listed(findings: Sequence[Finding], known: str = "") -> str:
    """The first findings with their figures, and how many more. `known` is not repeated."""
    named = [
        f"{f.subject}{'' if f.quantity == known else f', {f.quantity}'} {f.figures}"
        for f in findings[:_NAMED]
    ]
    rest = len(findings) - len(named)
    return ", ".join(named) + (f" and {rest} more" if rest > 0 else "")


def _files(findings: Sequence[Finding]) -> tuple[Path, ...]:
    return tuple(dict.fromkeys(path for finding in findings for path in finding.files))
