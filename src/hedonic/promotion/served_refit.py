"""The refit that is served: it agrees with the judged model, and is what the gate asks a model to be."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hedonic.data.table import take
from hedonic.data.training_data import TrainingData
from hedonic.errors import HedonicError
from hedonic.model.artifact import PortableModel
from hedonic.promotion.behaviour import behaviour_findings
from hedonic.promotion.latency import latency_ms
from hedonic.promotion.own_limits import budget_findings
from hedonic.promotion.verdict import Finding

BYTES_PER_MB = 1e6

REFIT_AGREES = "refit-agrees"
"""Check: whether the refitted model is near the judged one."""


class RefitDisagrees(HedonicError):
    """The refitted model is not the one that was judged.

    Attributes:
        findings: which refuse it.
    """

    def __init__(self, findings: tuple[Finding, ...]) -> None:
        """Say what the findings say."""
        super().__init__("; ".join(finding.sentence for finding in findings))
        self.findings = findings


def require_fit_to_serve(data: TrainingData, served: PortableModel, judged: PortableModel) -> None:
    """Refuse a refit that is not near the judged model, or not what the gate asks of a model by itself.

    Limits on figures are not asked again: the refit has seen the holdout, on which they are too good.

    Args:
        data: rows and split.
        served: the refitted model.
        judged: the model that the gate promoted.

    Raises:
        RefitDisagrees: with every finding that is an issue.
    """
    issues = tuple(one for one in _findings(data, served, judged) if one.outcome == "issue")
    if issues:
        raise RefitDisagrees(issues)


def size_mb(folder: Path) -> float:
    """Return the size of every file below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / BYTES_PER_MB


def _findings(data: TrainingData, served: PortableModel, judged: PortableModel) -> Iterator[Finding]:
    rows = take(data.columns, data.split.holdout)
    yield _agreement(data, served, judged)
    asked = [
        *budget_findings(
            data.contract.gate,
            n_trees=served.n_trees,
            max_leaves=served.max_leaves,
            latency_ms=latency_ms(served, data),
            size_mb=_saved_mb(served) if data.contract.gate.max_size_mb else None,
        ),
        *behaviour_findings(data.contract, rows, lambda asked: served.estimate(asked).estimate),
    ]
    for one in asked:
        told = f"the refitted model: {one.sentence}"
        yield one.model_copy(update={"check": f"refit-{one.check}", "sentence": told})


def _agreement(data: TrainingData, served: PortableModel, judged: PortableModel) -> Finding:
    """Return whether the refit prices the holdout as the judged model does, within the contract's band."""
    holdout = take(data.columns, data.split.holdout)
    theirs, ours = judged.estimate(holdout).estimate, served.estimate(holdout).estimate
    apart_pct = 100 * float(np.median(np.abs(ours / theirs - 1)))
    band_pct = data.contract.refit.agreement_mdape_pct
    return Finding(
        check=REFIT_AGREES,
        outcome="passed" if apart_pct <= band_pct else "issue",
        value=apart_pct if math.isfinite(apart_pct) else None,
        limit=band_pct,
        sentence=(
            f"the refitted model differs from the judged one by a median of {apart_pct:.2f} % on the "
            f"holdout; refit.agreement_mdape_pct is {band_pct:g}. What did the latest rows change?"
        ),
    )


def _saved_mb(model: PortableModel) -> float:
    with tempfile.TemporaryDirectory(prefix="hedonic-refit-") as scratch:
        model.save(Path(scratch) / "model")
        return size_mb(Path(scratch))
