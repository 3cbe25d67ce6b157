"""The gate: whether a candidate replaces the champion, decided on values alone, with reasons."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from hedonic.data.contract import GatePolicy, Limit, SliceGate
from hedonic.promotion.verdict import Finding, Kind, Outcome, Verdict

__all__ = ["Finding", "PairedScores", "Verdict", "decide"]

Losses = npt.NDArray[np.float64]

# Below this many rows the percentile bootstrap's interval is too narrow to be believed.
MINIMUM_COMPARED_ROWS = 30
_BATCH_CELLS = 1_000_000


@dataclass(frozen=True, slots=True)
class PairedScores:
    """Absolute log errors of candidate and champion; row i is the same sale in both.

    ``slices`` holds, for each slice of the contract, the label of each row. Every array has
    shape (n_holdout,).
    """

    candidate: Losses
    champion: Losses
    slices: Mapping[str, npt.NDArray[np.generic]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shapes = {"candidate": np.shape(self.candidate), "champion": np.shape(self.champion)}
        shapes |= {f"slice {name}": np.shape(labels) for name, labels in self.slices.items()}
        if len(set(shapes.values())) != 1 or len(shapes["candidate"]) != 1:
            told = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
            raise ValueError(f"losses and slices must be about the same rows; got shapes {told}")


def decide(
    policy: GatePolicy,
    figures: Mapping[str, float],
    scores: PairedScores | None = None,
    *,
    candidate: str | None = None,
    champion: str | None = None,
    n_leaked: int = 0,
    n_trees: int = 0,
    max_leaves: int = 0,
    latency_ms: float | None = None,
    seed: int = 0,
) -> Verdict:
    """Return the verdict on a candidate; every check is made, so that all reasons are known.

    What the candidate lacks by itself (a limit, a budget, a finite loss) or makes the comparison
    unfair (rows that the champion has seen) refuses it; what it lacks against the champion keeps
    the champion. With no champion the absolute limits alone decide.

    Args:
        policy: the contract's limits and margins; losses in absolute log error, 0.01 is about 1 %.
        figures: the candidate's metrics on the holdout, by name.
        scores: both models' losses on the same rows; None when there is no champion, or when it
            could not be scored.
        candidate: the candidate's digest.
        champion: the digest of the champion's judged model, None when there is no champion.
        n_leaked: how many of the compared rows the champion has seen in training.
        n_trees: trees of the candidate; 0 when it has none.
        max_leaves: leaves of its largest tree; 0 when it has none.
        latency_ms: time of one prediction, None when it was not measured.
        seed: of the bootstrap.

    Raises:
        ValueError: ``n_leaked`` is negative.
    """
    if n_leaked < 0:
        raise ValueError(f"n_leaked counts rows; got {n_leaked}")
    own = [
        *_limit_findings(policy.limits, figures, has_champion=not (champion is None and scores is None)),
        _budget("trees", n_trees or None, policy.max_trees, "trees"),
        _budget("leaves", max_leaves or None, policy.max_leaves, "leaves in the largest tree"),
        _budget("latency", latency_ms, policy.max_latency_ms, "ms for one prediction"),
    ]
    if champion is None and scores is None:
        first = Finding(
            check="champion",
            outcome="not applicable",
            sentence="there is no champion: the absolute limits alone decide",
        )
        return _verdict("refused" if _has_issue(own) else "promoted", own, [first])
    if candidate is not None and candidate == champion:
        same = Finding(
            check="same-model",
            outcome="issue",
            sentence=f"the candidate is the champion itself ({candidate[:12]}): there is nothing to promote",
        )
        return _verdict("kept", own, [same])
    fairness = [
        Finding(
            check="same-model",
            outcome="passed",
            sentence="the candidate is not the champion",
        ),
        _leak_finding(n_leaked),
    ]
    if scores is None:
        unscored = Finding(
            check="better",
            outcome="issue",
            sentence="the champion could not be scored here: the candidate is not shown to be better",
        )
        return _verdict("refused" if _has_issue(own + fairness) else "kept", own, fairness, [unscored])
    fairness.append(_finite_finding(scores))
    if _has_issue(fairness):
        return _verdict("refused", own, fairness)
    comparison = [_better(policy, scores, seed), *_slice_findings(policy.slices, scores)]
    if _has_issue(own):
        kind: Kind = "refused"
    else:
        kind = "kept" if _has_issue(comparison) else "promoted"
    return _verdict(kind, own, fairness, comparison)


def _verdict(kind: Kind, *findings: list[Finding]) -> Verdict:
    reasons = tuple(finding for group in findings for finding in group)
    return Verdict(promoted=kind == "promoted", kind=kind, reasons=reasons)


def _has_issue(findings: list[Finding]) -> bool:
    return any(finding.outcome == "issue" for finding in findings)


def _limit_findings(
    limits: tuple[Limit, ...], figures: Mapping[str, float], *, has_champion: bool
) -> list[Finding]:
    if limits or has_champion:
        return [_limit_finding(limit, figures.get(limit.metric)) for limit in limits]
    sentence = "neither a champion nor a limit is there to refuse anything: add gate.limits to the contract"
    return [Finding(check="limits", outcome="issue", sentence=sentence)]


def _limit_finding(limit: Limit, value: float | None) -> Finding:
    """Return whether the metric is there, finite and within the limit, both ends included."""
    check = f"limit:{limit.metric}"
    bound = limit.maximum if limit.maximum is not None else limit.minimum
    if value is None:
        sentence = f"{limit.metric} is missing from the candidate's figures"
        return Finding(check=check, outcome="issue", limit=bound, sentence=sentence)
    if not math.isfinite(value):
        sentence = f"{limit.metric} is {value}, not a finite number"
        return Finding(check=check, outcome="issue", limit=bound, sentence=sentence)
    # Written so that a limit of NaN fires instead of passing everything.
    if limit.maximum is not None and not value <= limit.maximum:
        outcome: Outcome = "issue"
        sentence = f"{limit.metric} is {value:.6g}, above the limit of {limit.maximum:g}"
    elif limit.minimum is not None and not value >= limit.minimum:
        bound, outcome = limit.minimum, "issue"
        sentence = f"{limit.metric} is {value:.6g}, below the limit of {limit.minimum:g}"
    else:
        outcome = "passed"
        ends = (limit.minimum, limit.maximum)
        within = " to ".join(f"{end:g}" for end in ends if end is not None)
        sentence = f"{limit.metric} is {value:.6g}, within the limit of {within}"
    return Finding(check=check, outcome=outcome, value=value, limit=bound, sentence=sentence)


def _budget(check: str, value: float | None, limit: float, unit: str) -> Finding:
    if value is None:
        sentence = f"{unit}: none to count" if check != "latency" else "latency was not measured"
        return Finding(check=check, outcome="not applicable", limit=limit, sentence=sentence)
    within = value <= limit
    return Finding(
        check=check,
        outcome="passed" if within else "issue",
        value=value if math.isfinite(value) else None,
        limit=limit,
        sentence=f"{value:g} {unit}, {'within' if within else 'over'} the budget of {limit:g}",
    )


def _leak_finding(n_leaked: int) -> Finding:
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


def _better(policy: GatePolicy, scores: PairedScores, seed: int) -> Finding:
    """Return whether the candidate is better beyond the margin, by a paired bootstrap.

    The gain is the champion's mean absolute log error less the candidate's; the one-sided lower
    bound of its percentile interval (Efron and Tibshirani 1993, ch. 13) must exceed the margin.
    """
    n_rows = len(scores.candidate)
    if n_rows < MINIMUM_COMPARED_ROWS:
        return Finding(
            check="better",
            outcome="issue",
            value=None,
            limit=policy.margin,
            sentence=(
                f"only {n_rows} rows to compare on, fewer than {MINIMUM_COMPARED_ROWS}: "
                "the candidate is not shown to be better"
            ),
        )
    low = _lower_bound_of_gain(policy, scores, seed)
    better = low > policy.margin
    means = scores.candidate.mean(), scores.champion.mean()
    gain = means[1] - means[0]
    how = "better" if better else ("worse" if gain < 0 else "not shown to be better (a tie)")
    return Finding(
        check="better",
        outcome="passed" if better else "issue",
        value=low,
        limit=policy.margin,
        sentence=(
            f"{how} than the champion: mean absolute log error {means[0]:.5f} against {means[1]:.5f} on "
            f"{n_rows:,} rows, a gain of {gain:+.5f}, with {policy.confidence:.0%} confidence at least "
            f"{low:+.5f}; the margin is {policy.margin:g}"
        ),
    )


def _lower_bound_of_gain(policy: GatePolicy, scores: PairedScores, seed: int) -> float:
    from scipy.stats import bootstrap

    def gain(candidate: Losses, champion: Losses, axis: int) -> Losses:
        mean: Losses = np.mean(champion - candidate, axis=axis)
        return mean

    result = bootstrap(
        (scores.candidate, scores.champion),
        gain,
        paired=True,
        vectorized=True,
        n_resamples=policy.resamples,
        batch=max(1, _BATCH_CELLS // len(scores.candidate)),
        confidence_level=policy.confidence,
        alternative="greater",
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    return float(result.confidence_interval.low)


def _slice_findings(policy: SliceGate, scores: PairedScores) -> list[Finding]:
    worsening = scores.candidate - scores.champion
    return [_slice_finding(policy, name, labels, worsening) for name, labels in scores.slices.items()]


def _slice_finding(
    policy: SliceGate, name: str, labels: npt.NDArray[np.generic], worsening: Losses
) -> Finding:
    """Return whether no part of the slice with enough rows got worse beyond the margin."""
    told = np.array([_label(label) for label in labels.tolist()], dtype=object)
    parts, inverse, counts = np.unique(told, return_inverse=True, return_counts=True)
    means = np.bincount(inverse, weights=worsening, minlength=len(parts)) / counts
    judged = np.flatnonzero(counts >= policy.minimum_rows)
    check = f"slice:{name}"
    if not judged.size:
        sentence = f"{name}: none of its {len(parts)} parts has {policy.minimum_rows} rows"
        return Finding(check=check, outcome="not applicable", limit=policy.margin, sentence=sentence)
    order = judged[np.argsort(-means[judged], kind="stable")]
    bad = [i for i in order if not means[i] <= policy.margin]
    spoken = "; ".join(f"{parts[i]} by {means[i]:+.4f} on {counts[i]:,} rows" for i in bad or order[:1])
    return Finding(
        check=check,
        outcome="issue" if bad else "passed",
        value=float(means[order[0]]),
        limit=policy.margin,
        sentence=(
            f"{name}: worse beyond the margin of {policy.margin:g}: {spoken}"
            if bad
            else f"{name}: no part of {judged.size} got worse beyond {policy.margin:g}; "
            f"the largest change is {spoken}"
        ),
    )


def _label(label: object) -> str:
    missing = label is None or (isinstance(label, float) and math.isnan(label))
    return "missing" if missing else str(label)
