"""The comparison of a candidate with the champion, on rows that neither has seen."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hedonic.data.contract import Contract
from hedonic.data.split import row_hashes
from hedonic.data.table import Columns, take
from hedonic.data.training_data import TrainingData
from hedonic.errors import HedonicError
from hedonic.model.artifact import PortableModel, folder_digest
from hedonic.model.derivation import Sources
from hedonic.model.manifest import JUDGED, MODEL, SEEN_ROWS, Manifest, verify_release
from hedonic.model.plain_files import read_array
from hedonic.promotion.evaluation import Comparison, compare, is_price, priced_losses, slice_labels
from hedonic.promotion.gate import PairedScores
from hedonic.promotion.record import JUDGED as JUDGED_KINDS
from hedonic.promotion.record import Record

Vector = npt.NDArray[np.float64]

KNOWN_BY = "rows_known_by"
"""In a manifest's configuration: the columns whose values ``seen_rows.npy`` holds the hashes of."""


@dataclass(frozen=True, slots=True)
class Contest:
    """What the gate needs to know of the champion.

    Attributes:
        champion: digest of its judged model; None when there is no champion.
        scores: None when there is no champion, or when it could not be scored.
        comparison: None then too, and where the candidate gives a row no price above 0.
        n_leaked: of the compared rows, how many the champion has seen; None when it cannot be told.
        n_own_leaked: how many the candidate has seen; None where rows have no id.
        unscored: why the champion could not be scored.
    """

    champion: str | None
    scores: PairedScores | None
    n_leaked: int | None
    n_own_leaked: int | None
    comparison: Comparison | None
    unscored: str = ""


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
    own = _own_leaked(data)
    if champion is None:
        return Contest(champion=None, scores=None, n_leaked=0, n_own_leaked=own, comparison=None)
    manifest = verify_release(champion)
    judged = champion / (JUDGED if (champion / JUDGED).is_dir() else MODEL)
    digest, rival = folder_digest(judged), PortableModel.load(judged)
    leaked = _leaked(data, rival.contract, manifest, read_array(champion / SEEN_ROWS))
    rows = take(data.columns, data.split.holdout)
    try:
        theirs = _estimate(data.contract, rival, rows)
    except UnscoredChampion as err:
        return Contest(digest, None, leaked, own, None, unscored=str(err))
    actual, ours = rows[data.contract.target.column], candidate.estimate(rows).estimate
    scores = PairedScores(
        candidate=priced_losses(actual, ours),
        champion=priced_losses(actual, theirs),
        slices=slice_labels(data.contract, rows, actual),
    )
    if not is_price(ours).all():
        return Contest(digest, scores, leaked, own, None)
    return Contest(
        champion=digest,
        scores=scores,
        n_leaked=leaked,
        n_own_leaked=own,
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


def count_looks(records: Iterable[Record], holdout: str, candidate: str) -> int:
    """Return how many other candidates were judged on the same holdout rows, by the history."""
    judged = {
        record.candidate
        for record in records
        if record.kind in JUDGED_KINDS and record.verdict is not None and record.verdict.holdout == holdout
    }
    return len(judged - {candidate, None})


class UnscoredChampion(HedonicError):
    """The champion cannot be scored on these rows, for the reason that the message states."""


def _estimate(contract: Contract, champion: PortableModel, rows: Columns) -> Vector:
    """Return the champion's estimates.

    Raises:
        UnscoredChampion: it prices something else, needs what the rows no longer have, or fails on them.
    """
    theirs = champion.contract
    problems = []
    if (theirs.target.column, theirs.target.unit) != (contract.target.column, contract.target.unit):
        problems.append(f"it estimates {theirs.target.column} in {theirs.target.unit}")
    read = Sources.of(theirs, n_centres=0)
    for name in (*read.numeric, *read.coded, *([theirs.time_column] if theirs.time_column else [])):
        problems += _faults(contract, theirs, name)
    if problems:
        raise UnscoredChampion("; ".join(problems))
    try:
        estimate = champion.estimate(rows).estimate
    except HedonicError as err:
        raise UnscoredChampion(str(err)) from err
    unpriced = np.flatnonzero(~is_price(estimate))
    if len(unpriced):
        raise UnscoredChampion(
            f"it gives {len(unpriced):,} of {len(estimate):,} rows no price above 0 "
            f"(first row {unpriced[0]}: {estimate[unpriced[0]]:g})"
        )
    return estimate


def _faults(contract: Contract, champion: Contract, name: str) -> list[str]:
    """Return why a column of the champion's is not what it was."""
    now = next((column for column in contract.columns if column.name == name), None)
    was = champion.column(name)
    if now is None:
        return [f"it needs the column {name!r}, which is gone"]
    if now.type != was.type:
        return [f"it needs the column {name!r} as {was.type}, which is {now.type} now"]
    # A unit that is stated for the first time says what the values were all along.
    if was.unit is not None and now.unit is not None and now.unit != was.unit:
        return [f"it needs the column {name!r} in {was.unit}, which is in {now.unit} now"]
    return []


def _own_leaked(data: TrainingData) -> int | None:
    """Return how many holdout rows were in train, its folds or calibration as well; None without an id."""
    if data.contract.id_column is None:
        return None
    return int(np.isin(data.hashes[data.split.holdout], data.seen).sum())


def _leaked(
    data: TrainingData, champion: Contract, manifest: Manifest, seen: npt.NDArray[np.uint64]
) -> int | None:
    """Return how many holdout rows the champion has seen, known by what it knows its rows by."""
    # Releases from before rows were known by their id hold hashes of their whole content.
    names = manifest.configuration.get(KNOWN_BY) or [column.name for column in champion.columns]
    if any(_faults(data.contract, champion, name) for name in names):
        return None
    hashes = row_hashes(champion, data.frame.iloc[data.split.holdout], names)
    return int(np.isin(hashes, seen).sum())
