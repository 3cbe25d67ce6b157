"""The comparison of a candidate with the champion, on rows that neither has seen."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hedonic.data.table import take
from hedonic.data.training_data import TrainingData
from hedonic.model.artifact import PortableModel, folder_digest
from hedonic.model.manifest import JUDGED, MODEL, SEEN_ROWS, verify_release
from hedonic.model.plain_files import read_array
from hedonic.promotion.evaluation import Comparison, compare, paired_losses, slice_labels
from hedonic.promotion.gate import PairedScores


@dataclass(frozen=True, slots=True)
class Contest:
    """What the gate needs to know of the champion; without one, all but ``n_leaked`` is None."""

    champion: str | None
    scores: PairedScores | None
    n_leaked: int
    comparison: Comparison | None


NO_CHAMPION = Contest(champion=None, scores=None, n_leaked=0, comparison=None)


def contest(
    data: TrainingData, candidate: PortableModel, candidate_digest: str, champion: Path | None
) -> Contest:
    """Return candidate and champion scored on the same holdout rows.

    The champion is its judged model: a refitted one has seen the rows that it was judged on.

    Args:
        data: rows and split; the holdout decides.
        candidate: the model to be judged.
        candidate_digest: of its files.
        champion: the champion's release folder; None when there is no champion.

    Raises:
        ReleaseRefused: the champion's release is not what its manifest says.
    """
    if champion is None:
        return NO_CHAMPION
    verify_release(champion)
    judged = champion / (JUDGED if (champion / JUDGED).is_dir() else MODEL)
    digest = folder_digest(judged)
    rows = take(data.columns, data.split.holdout)
    actual = rows[data.contract.target.column]
    ours = candidate.estimate(rows).estimate
    theirs = PortableModel.load(judged).estimate(rows).estimate
    seen = read_array(champion / SEEN_ROWS)
    return Contest(
        champion=digest,
        scores=PairedScores(
            candidate=paired_losses(actual, ours),
            champion=paired_losses(actual, theirs),
            slices=slice_labels(data.contract, rows, actual),
        ),
        n_leaked=int(np.isin(data.hashes[data.split.holdout], seen).sum()),
        comparison=compare(
            data.contract,
            rows,
            actual,
            ours,
            theirs,
            candidate_digest=candidate_digest,
            champion_digest=digest,
        ),
    )
