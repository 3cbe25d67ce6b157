"""Training data: validated rows as canonical columns, with their split."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from hedonic.data.contract import Contract
from hedonic.data.snapshot import SnapshotStore
from hedonic.data.split import Split, row_hashes, split_rows
from hedonic.data.table import Columns, columns_from_frame
from hedonic.data.validated import ValidatedSnapshot, open_validated
from hedonic.settings import Settings


@dataclass(frozen=True, slots=True)
class TrainingData:
    """Rows that validation let pass; ``split`` holds positions in ``frame`` and in ``columns``."""

    contract: Contract
    frame: pd.DataFrame
    columns: Columns
    split: Split

    @property
    def hashes(self) -> npt.NDArray[np.uint64]:
        """Return a hash of what each row is known by, shape (n_rows,)."""
        return row_hashes(self.contract, self.frame)

    @property
    def holdout_digest(self) -> str:
        """Return the sha256 of which rows the holdout holds, whatever their order and other columns."""
        return hashlib.sha256(np.sort(self.hashes[self.split.holdout]).tobytes()).hexdigest()

    @property
    def seen(self) -> npt.NDArray[np.uint64]:
        """Return the hashes of the rows that a model fitted by this split has seen."""
        rows = np.concatenate([self.split.train, self.split.calibration])
        return np.unique(self.hashes[rows])


def open_training_data(settings: Settings, contract: Contract, validated: ValidatedSnapshot) -> TrainingData:
    """Return the rows of a validated snapshot and their split; there is no other way to them.

    Raises:
        HedonicError: validation does not vouch for the rows, or its report is gone.
        UserError: the split leaves too few rows.
    """
    store = SnapshotStore(settings.snapshots)
    frame = open_validated(validated, store, contract, settings.validations)
    columns = columns_from_frame(contract, frame)
    return TrainingData(contract, frame, columns, split_rows(contract, frame))
