"""Two models on the same rows: which is better beyond a margin, by a paired bootstrap."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from hedonic.data.gate_policy import GatePolicy
from hedonic.promotion.verdict import SIMPLE_SHIPS, Finding

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


def confidence_of_a_look(policy: GatePolicy) -> float:
    """Return the confidence that one comparison needs.

    Where a holdout may judge several candidates, Bonferroni's: over all of them the chance that one no
    better than the champion is promoted stays at most 1 - ``policy.confidence``.
    """
    return 1.0 - (1.0 - policy.confidence) / (policy.max_looks or 1)


def compare_losses(policy: GatePolicy, scores: PairedScores, seed: int) -> Finding:
    """Return whether the candidate is shown to be what ``policy.test`` asks of it.

    The gain is the champion's mean absolute log error less the candidate's. The one-sided lower bound of
    its percentile interval (Efron and Tibshirani 1993, ch. 13) must exceed the margin for superiority, and
    the negative margin for non-inferiority.
    """
    superior = policy.test == "superiority"
    wanted = "better" if superior else "not worse"
    limit = policy.margin if superior else -policy.margin
    n_rows = len(scores.candidate)
    if n_rows < MINIMUM_COMPARED_ROWS:
        return Finding(
            check="better",
            outcome="issue",
            limit=limit,
            sentence=(
                f"only {n_rows} rows to compare on, fewer than {MINIMUM_COMPARED_ROWS}: "
                f"the candidate is not shown to be {wanted}"
            ),
        )
    confidence = confidence_of_a_look(policy)
    gains = scores.champion - scores.candidate
    low = lower_bound_of_mean(gains, confidence, policy.resamples, seed)
    shown, gain = low > limit, float(gains.mean())
    failed = "worse" if gain < 0 else f"not shown to be {wanted}{' (a tie)' if superior else ''}"
    return Finding(
        check="better",
        outcome="passed" if shown else "issue",
        value=low,
        limit=limit,
        sentence=(
            f"{wanted if shown else failed} than the champion: mean absolute log error "
            f"{scores.candidate.mean():.5f} against {scores.champion.mean():.5f} on {n_rows:,} rows, "
            f"a gain of {gain:+.5f}, with {100 * confidence:g}% confidence at least {low:+.5f}; "
            f"the margin is {policy.margin:g}"
        ),
    )


def weigh_simple(
    policy: GatePolicy, margin: float, found: Losses, simple: Losses, *, family: str, seed: int
) -> Finding:
    """Return whether ridge is shown to be as good as the model that the study found, within the margin.

    Its check is ``SIMPLE_SHIPS`` where it is: then ridge ships in its place.

    Args:
        policy: confidence and resamples.
        margin: in absolute log error.
        found: losses of the study's model, shape (n_rows,).
        simple: of ridge on the same rows, neither of which was used to fit either.
        family: of the study's model.
        seed: of the bootstrap.
    """
    n_rows, gains = len(found), found - simple
    if n_rows < MINIMUM_COMPARED_ROWS or not np.isfinite(gains).all():
        why = (
            f"only {n_rows} calibration rows to compare on, fewer than {MINIMUM_COMPARED_ROWS}"
            if n_rows < MINIMUM_COMPARED_ROWS
            else "one of them gives a calibration row no price above 0"
        )
        return Finding(
            check="simple-model",
            outcome="passed",
            limit=-margin,
            sentence=f"ridge is not shown to be as good as {family}: {why}",
        )
    low = lower_bound_of_mean(gains, policy.confidence, policy.resamples, seed)
    as_good = low > -margin
    told = (
        f"mean absolute log error {simple.mean():.5f} against {found.mean():.5f} on {n_rows:,} "
        f"calibration rows, with {100 * policy.confidence:g}% confidence a gain of at least {low:+.5f}; "
        f"the margin is {margin:g}"
    )
    return Finding(
        check=SIMPLE_SHIPS if as_good else "simple-model",
        outcome="passed",
        value=low,
        limit=-margin,
        sentence=f"ridge is as good as {family} and ships in its place: {told}"
        if as_good
        else f"ridge is not shown to be as good as {family}: {told}",
    )


def lower_bound_of_mean(values: Losses, confidence: float, resamples: int, seed: int) -> float:
    """Return the one-sided lower bound of the mean's percentile bootstrap interval."""
    from scipy.stats import bootstrap

    result = bootstrap(
        (values,),
        np.mean,
        n_resamples=resamples,
        batch=max(1, _BATCH_CELLS // len(values)),
        confidence_level=confidence,
        alternative="greater",
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    return float(result.confidence_interval.low)
