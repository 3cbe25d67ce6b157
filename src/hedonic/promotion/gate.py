"""The gate: whether a candidate replaces the champion, decided on values alone, with reasons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from hedonic.data.gate_policy import GatePolicy
from hedonic.promotion.own_limits import budget_findings, limit_findings
from hedonic.promotion.paired import PairedScores, compare_losses
from hedonic.promotion.slice_gate import worsening_findings
from hedonic.promotion.verdict import CHAMPION_SCORED, Finding, Kind, Verdict

__all__ = ["Finding", "PairedScores", "Verdict", "decide"]


def decide(
    policy: GatePolicy,
    figures: Mapping[str, float],
    scores: PairedScores | None = None,
    *,
    candidate: str | None = None,
    champion: str | None = None,
    findings: Sequence[Finding] = (),
    n_leaked: int | None = 0,
    n_own_leaked: int | None = 0,
    unscored: str = "no reason is known",
    n_looks: int = 0,
    n_trees: int = 0,
    max_leaves: int = 0,
    latency_ms: float | None = None,
    size_mb: float | None = None,
    seed: int = 0,
) -> Verdict:
    """Return the verdict on a candidate; every check is made, so that all reasons are known.

    What the candidate lacks by itself (a limit, a budget, a finite loss, a behaviour) or makes the
    comparison unfair (rows that a model has seen) refuses it; what it lacks against the champion keeps
    the champion. With no champion the candidate's own checks alone decide.

    Args:
        policy: the contract's limits and margins; losses in absolute log error, 0.01 is about 1 %.
        figures: the candidate's metrics on the holdout, by name.
        scores: both models' losses on the same rows; None when there is no champion, or when it
            could not be scored.
        candidate: the candidate's digest.
        champion: the digest of the champion's judged model, None when there is no champion.
        findings: what the candidate's behaviour, its slices and the simple model beside it showed.
        n_leaked: how many of the compared rows the champion has seen in training; None when it
            cannot be told.
        n_own_leaked: how many of them the candidate has seen; None when it cannot be told.
        unscored: why the champion could not be scored.
        n_looks: how many other candidates the same holdout has judged.
        n_trees: trees of the candidate; 0 when it has none.
        max_leaves: leaves of its largest tree; 0 when it has none.
        latency_ms: time of one prediction, None when it was not measured.
        size_mb: of the candidate's files, None when it was not measured.
        seed: of the bootstrap.

    Raises:
        ValueError: a count is negative.
    """
    for name, count in (("n_leaked", n_leaked), ("n_own_leaked", n_own_leaked), ("n_looks", n_looks)):
        if count is not None and count < 0:
            raise ValueError(f"{name} is a count; got {count}")
    has_champion = not (champion is None and scores is None)
    own = [
        *limit_findings(policy.limits, figures, has_champion=has_champion),
        *budget_findings(
            policy, n_trees=n_trees, max_leaves=max_leaves, latency_ms=latency_ms, size_mb=size_mb
        ),
        *findings,
        _own_leak_finding(n_own_leaked),
    ]
    if not has_champion:
        sentence = "there is no champion: the absolute limits alone decide"
        return _alone(own, Finding(check="champion", outcome="not applicable", sentence=sentence))
    if candidate is not None and candidate == champion:
        same = Finding(
            check="same-model",
            outcome="issue",
            sentence=f"the candidate is the champion itself ({candidate[:12]}): there is nothing to promote",
        )
        return _verdict("kept", own, [same])
    if scores is None and policy.unscored_champion == "limits_decide":
        sentence = f"the champion could not be scored here ({unscored}): the absolute limits alone decide"
        return _alone(own, Finding(check=CHAMPION_SCORED, outcome="not applicable", sentence=sentence))
    sentence = "the candidate is not the champion"
    fairness = [Finding(check="same-model", outcome="passed", sentence=sentence), _leak_finding(n_leaked)]
    if scores is None:
        sentence = (
            f"the champion could not be scored here ({unscored}): the candidate is not shown to be better"
        )
        missing = Finding(check=CHAMPION_SCORED, outcome="issue", sentence=sentence)
        return _verdict("refused" if _has_issue(own + fairness) else "kept", own, fairness, [missing])
    fairness.append(_finite_finding(scores))
    if _has_issue(fairness):
        return _verdict("refused", own, fairness)
    comparison = _looks_findings(policy, n_looks)
    if not _has_issue(comparison):
        comparison += [
            compare_losses(policy, scores, seed),
            *worsening_findings(policy.slices, policy.confidence, scores),
        ]
    if _has_issue(own):
        return _verdict("refused", own, fairness, comparison)
    return _verdict("kept" if _has_issue(comparison) else "promoted", own, fairness, comparison)


def _alone(own: list[Finding], why: Finding) -> Verdict:
    """Return the verdict where there is nothing to compare with."""
    return _verdict("refused" if _has_issue(own) else "promoted", own, [why])


def _verdict(kind: Kind, *findings: list[Finding]) -> Verdict:
    reasons = tuple(finding for group in findings for finding in group)
    return Verdict(promoted=kind == "promoted", kind=kind, reasons=reasons)


def _has_issue(findings: list[Finding]) -> bool:
    return any(finding.outcome == "issue" for finding in findings)


def _leak_finding(n_leaked: int | None) -> Finding:
    if n_leaked is None:
        sentence = (
            "which of the compared rows the champion has seen cannot be told: a column by which it knows its "
            "rows is gone or is another"
        )
        return Finding(check="unseen-rows", outcome="issue", limit=0, sentence=sentence)
    return Finding(
        check="unseen-rows",
        outcome="issue" if n_leaked else "passed",
        value=n_leaked,
        limit=0,
        sentence=(
            f"the champion has seen {n_leaked:,} of the compared rows in training: the comparison is unfair"
            if n_leaked
            else "the champion has seen none of the compared rows"
        ),
    )


def _own_leak_finding(n_leaked: int | None) -> Finding:
    check = "unseen-rows-of-candidate"
    if n_leaked is None:
        sentence = "rows without an id: one that is like a training row may be another"
        return Finding(check=check, outcome="not applicable", limit=0, sentence=sentence)
    return Finding(
        check=check,
        outcome="issue" if n_leaked else "passed",
        value=n_leaked,
        limit=0,
        sentence=(
            f"the candidate has seen {n_leaked:,} of the holdout rows in training: its figures are too good"
            if n_leaked
            else "the candidate has seen none of the holdout rows"
        ),
    )


def _finite_finding(scores: PairedScores) -> Finding:
    """Return whether every loss is a finite number; a model that gives none is not compared."""
    broken = {
        name: int((~np.isfinite(losses)).sum())
        for name, losses in (("candidate", scores.candidate), ("champion", scores.champion))
    }
    told = " and ".join(f"{count:,} of the {name}" for name, count in broken.items() if count)
    return Finding(
        check="finite-losses",
        outcome="issue" if told else "passed",
        value=sum(broken.values()),
        limit=0,
        sentence=f"losses that are not finite numbers: {told or 'none'}",
    )


def _looks_findings(policy: GatePolicy, n_looks: int) -> list[Finding]:
    """Return whether the holdout may judge another candidate; nothing where the contract does not count."""
    if policy.max_looks is None:
        return []
    used = n_looks >= policy.max_looks
    told = f"this holdout has judged {n_looks:,} other candidates; gate.max_looks is {policy.max_looks:,}"
    return [
        Finding(
            check="holdout-looks",
            outcome="issue" if used else "passed",
            value=n_looks,
            limit=policy.max_looks,
            sentence=f"{told}: its answers are used up, wait for new rows" if used else told,
        )
    ]
