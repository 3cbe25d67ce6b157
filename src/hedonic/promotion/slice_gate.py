"""The gate of the slices: which parts got worse, are beyond a limit, or have intervals that do not hold."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hedonic.data.behaviour_policy import CoveragePolicy
from hedonic.data.gate_policy import Limit, SliceGate
from hedonic.promotion.evaluation import SliceMetrics
from hedonic.promotion.own_limits import limit_finding
from hedonic.promotion.paired import PairedScores
from hedonic.promotion.verdict import Finding

Vector = npt.NDArray[np.float64]


def worsening_findings(policy: SliceGate, confidence: float, scores: PairedScores) -> list[Finding]:
    """Return, for each slice, whether a part with enough rows is shown to be worse beyond the margin.

    A part is tested by the one-sided paired t test, and all parts of all slices together at a false
    discovery rate of 1 - ``confidence`` (Benjamini and Hochberg 1995). Where no part is worse, the chance
    that any is called worse is that rate, however many there are.
    """
    parts = {name: _parts_of(labels, scores) for name, labels in scores.slices.items()}
    judged = {name: [p for p in of if p.n_rows >= policy.minimum_rows] for name, of in parts.items()}
    p_values = [part.p_value(policy.margin) for of in judged.values() for part in of]
    called = iter(_called(p_values, 1.0 - confidence))
    return [
        _worsening_finding(policy, name, len(parts[name]), of, [part for part in of if next(called)])
        for name, of in judged.items()
    ]


@dataclass(frozen=True, slots=True)
class _Part:
    """One part of a slice: how much worse the candidate is on each of its rows, shape (n_rows,)."""

    label: str
    worsening: Vector

    @property
    def n_rows(self) -> int:
        return len(self.worsening)

    @property
    def mean(self) -> float:
        return float(self.worsening.mean())

    def p_value(self, margin: float) -> float:
        """Return how likely so great a mean is where the truth is the margin: the one-sided paired t test."""
        from scipy.stats import t

        error = float(self.worsening.std(ddof=1)) / math.sqrt(self.n_rows)
        beyond = self.mean - margin
        if error > 0:
            return float(t.sf(beyond / error, self.n_rows - 1))
        return 0.0 if beyond > 0 else 1.0  # the same on every row: there is nothing to be unsure of


def _parts_of(labels: npt.NDArray[np.generic], scores: PairedScores) -> list[_Part]:
    """Return the parts of a slice in the order of their labels."""
    told = np.array([_label(label) for label in labels.tolist()], dtype=object)
    order = np.argsort(told, kind="stable")
    names, first = np.unique(told[order], return_index=True)
    rows = np.split((scores.candidate - scores.champion)[order], first[1:])
    return [_Part(*part) for part in zip(names.tolist(), rows, strict=True)]


def _worsening_finding(
    policy: SliceGate, name: str, n_parts: int, judged: list[_Part], bad: list[_Part]
) -> Finding:
    check = f"slice:{name}"
    if not judged:
        sentence = f"{name}: none of its {n_parts} parts has {policy.minimum_rows} rows"
        return Finding(check=check, outcome="not applicable", limit=policy.margin, sentence=sentence)
    told = sorted(bad or judged, key=lambda part: -part.mean)
    spoken = [f"{part.label} by {part.mean:+.4f} on {part.n_rows:,} rows" for part in told]
    return Finding(
        check=check,
        outcome="issue" if bad else "passed",
        value=told[0].mean,
        limit=policy.margin,
        sentence=(
            f"{name}: worse beyond the margin of {policy.margin:g}: {'; '.join(spoken)}"
            if bad
            else f"{name}: no part of {len(judged)} is shown to be worse beyond {policy.margin:g}; "
            f"the largest change is {spoken[0]}"
        ),
    )


def part_findings(policy: SliceGate, confidence: float, parts: Sequence[SliceMetrics]) -> list[Finding]:
    """Return whether the parts with enough rows are within the limits and their intervals hold.

    Args:
        policy: limits and coverage of a part.
        confidence: with which an interval must be shown to hold too rarely, or too often.
        parts: the candidate's figures in each part of each slice.
    """
    enough = [part for part in parts if part.n_rows >= policy.minimum_rows and part.metrics is not None]
    findings = [_floor_finding(policy, limit, enough) for limit in policy.limits]
    return findings + [_coverage_finding(policy, wanted, confidence, enough) for wanted in policy.coverage]


def _floor_finding(policy: SliceGate, limit: Limit, parts: Sequence[SliceMetrics]) -> Finding:
    check = f"slice-{limit_finding(limit, None).check}"
    if not parts:
        return _no_parts(check, policy)
    outside = []
    for part in parts:
        found = limit_finding(limit, _figures(part).get(limit.metric))
        if found.outcome == "issue":
            outside.append(f"{part.slice} {part.label}: {found.sentence}")
    sentence = f"{limit.metric} is within its limit in each of {len(parts)} parts"
    return Finding(
        check=check,
        outcome="issue" if outside else "passed",
        value=len(outside),
        limit=0,
        sentence="; ".join(outside) or sentence,
    )


def _coverage_finding(
    policy: SliceGate, wanted: CoveragePolicy, confidence: float, parts: Sequence[SliceMetrics]
) -> Finding:
    """Return whether no part's interval is shown to hold too rarely or too often, by a binomial test."""
    from scipy.stats import binomtest

    check = f"slice-coverage:{wanted.level}"
    p_values, told = [], []
    for part in parts:
        interval = next((i for i in part.intervals if i.level_pct == wanted.level), None)
        if interval is None:
            sentence = f"{part.slice} {part.label}: there is no {wanted.level} % interval"
            return Finding(check=check, outcome="issue", sentence=sentence)
        held = round(interval.coverage_pct * part.n_rows / 100)
        p_values += [
            binomtest(held, part.n_rows, wanted.minimum / 100, alternative="less").pvalue,
            binomtest(held, part.n_rows, wanted.maximum / 100, alternative="greater").pvalue,
        ]
        told += 2 * [f"{part.slice} {part.label}: {interval.coverage_pct:.1f} % of {part.n_rows:,} rows"]
    if not parts:
        return _no_parts(check, policy)
    outside = [what for what, bad in zip(told, _called(p_values, 1.0 - confidence), strict=True) if bad]
    bounds = f"{wanted.minimum:g} to {wanted.maximum:g} %"
    return Finding(
        check=check,
        outcome="issue" if outside else "passed",
        value=len(outside),
        limit=0,
        sentence=f"{wanted.level} % intervals hold outside {bounds}: {'; '.join(outside)}"
        if outside
        else f"no {wanted.level} % interval is shown to hold outside {bounds} in any of {len(parts)} parts",
    )


def _no_parts(check: str, policy: SliceGate) -> Finding:
    sentence = f"no part of a slice has {policy.minimum_rows} rows"
    return Finding(check=check, outcome="not applicable", sentence=sentence)


def _called(p_values: Sequence[float], rate: float) -> list[bool]:
    """Return which hypotheses are rejected at a false discovery rate."""
    from scipy.stats import false_discovery_control

    if not p_values:
        return []
    return [bool(p <= rate) for p in false_discovery_control(p_values)]


def _figures(part: SliceMetrics) -> Mapping[str, float | None]:
    metrics = part.metrics.model_dump() if part.metrics else {}
    study = part.ratio_study.model_dump() if part.ratio_study else {}
    return metrics | study


def _label(label: object) -> str:
    missing = label is None or (isinstance(label, float) and math.isnan(label))
    return "missing" if missing else str(label)
