"""What a candidate must be by itself: within the absolute limits on its figures, and its budgets."""

from __future__ import annotations

import math
from collections.abc import Mapping

from hedonic.data.gate_policy import GatePolicy, Limit
from hedonic.promotion.verdict import Finding, Outcome


def limit_findings(
    limits: tuple[Limit, ...], figures: Mapping[str, float], *, has_champion: bool
) -> list[Finding]:
    """Return a finding for each limit; one that is an issue where nothing at all could refuse."""
    if limits or has_champion:
        return [limit_finding(limit, figures.get(limit.metric)) for limit in limits]
    sentence = "neither a champion nor a limit is there to refuse anything: add gate.limits to the contract"
    return [Finding(check="limits", outcome="issue", sentence=sentence)]


def limit_finding(limit: Limit, value: float | None) -> Finding:
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


def priced_finding(n_unpriced: int, n_rows: int) -> Finding:
    """Return whether the candidate gives every holdout row a price: an estimate above 0."""
    return Finding(
        check="prices",
        outcome="issue" if n_unpriced else "passed",
        value=n_unpriced,
        limit=0,
        sentence=f"the candidate gives {n_unpriced:,} of {n_rows:,} holdout rows no price above 0; its "
        "figures are of the others. Learn on the log scale: target.scale: log"
        if n_unpriced
        else f"the candidate gives each of {n_rows:,} holdout rows a price above 0",
    )


def budget_findings(
    policy: GatePolicy, *, n_trees: int, max_leaves: int, latency_ms: float | None, size_mb: float | None
) -> list[Finding]:
    """Return a finding for each budget of the contract; 0 trees or leaves where a model has none."""
    found = [
        budget_finding("trees", n_trees or None, policy.max_trees, "trees"),
        budget_finding("leaves", max_leaves or None, policy.max_leaves, "leaves in the largest tree"),
        budget_finding("latency", latency_ms, policy.max_latency_ms, "ms for one prediction"),
    ]
    if policy.max_size_mb:
        found.append(budget_finding("size", size_mb, policy.max_size_mb, "MB of files"))
    return found


def budget_finding(check: str, value: float | None, limit: float, unit: str) -> Finding:
    """Return whether a cost is within its budget; None where there is none to count."""
    if value is None:
        sentence = "latency was not measured" if check == "latency" else f"{unit}: none to count"
        return Finding(check=check, outcome="not applicable", limit=limit, sentence=sentence)
    within = value <= limit
    return Finding(
        check=check,
        outcome="passed" if within else "issue",
        value=value if math.isfinite(value) else None,
        limit=limit,
        sentence=f"{value:g} {unit}, {'within' if within else 'over'} the budget of {limit:g}",
    )
