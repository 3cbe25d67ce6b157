"""The split of rows into train, calibration and holdout."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from hedonic.data.contract import Contract
from hedonic.data.table import columns_from_frame
from hedonic.errors import UserError

Rows = npt.NDArray[np.int64]

MINIMUM_ROWS = 20


@dataclass(frozen=True, slots=True)
class Split:
    """Positions in a frame, each in ascending order; a row is in at most one part.

    With a time column, the earlier sales of an id that is in the holdout are in no part.
    """

    train: Rows
    calibration: Rows
    holdout: Rows

    @property
    def digest(self) -> str:
        """Return the sha256 of the three lists."""
        content = b"".join(hashlib.sha256(part.tobytes()).digest() for part in self.parts)
        return hashlib.sha256(content).hexdigest()

    @property
    def parts(self) -> tuple[Rows, Rows, Rows]:
        """Return train, calibration and holdout."""
        return self.train, self.calibration, self.holdout


def split_rows(contract: Contract, frame: pd.DataFrame) -> Split:
    """Return the split that the contract's policy makes of the frame.

    Raises:
        UserError: a part would have fewer than 20 rows.
    """
    makers = {"time": _by_time, "hash": _by_hash, "random": _at_random}
    split = makers[contract.split.method](contract, frame)
    for name, part in zip(("train", "calibration", "holdout"), split.parts, strict=True):
        if len(part) < MINIMUM_ROWS:
            raise UserError(
                f"{contract.name}: the split leaves {len(part)} of {len(frame)} rows for {name}; "
                f"{MINIMUM_ROWS} are needed. Give more rows, or change split in the contract."
            )
    return split


def _by_time(contract: Contract, frame: pd.DataFrame) -> Split:
    """Return the latest rows as holdout, the latest of the rest as calibration; days stay whole."""
    dates = frame[contract.time_column].to_numpy(dtype="datetime64[D]").astype(np.int64)
    holdout = dates >= _cut(dates, contract.split.holdout)
    calibration = ~holdout & (dates >= _cut(dates[~holdout], contract.split.calibration))
    train = ~holdout & ~calibration
    if contract.id_column:
        ids = frame[contract.id_column].to_numpy()
        calibration &= ~np.isin(ids, ids[holdout])
        train &= ~np.isin(ids, ids[holdout | calibration])
    return Split(*(np.flatnonzero(part) for part in (train, calibration, holdout)))


def _cut(dates: npt.NDArray[np.int64], fraction: float) -> np.int64:
    """Return the first day of the latest ``fraction`` of the rows."""
    n_late = max(1, round(len(dates) * fraction))
    return np.int64(np.sort(dates)[len(dates) - n_late])


def _by_hash(contract: Contract, frame: pd.DataFrame) -> Split:
    """Return parts by a hash of the id, so that a row never moves when rows are added."""
    policy = contract.split
    salt = f"{policy.seed}:".encode()
    ids = frame[contract.id_column].astype(str)
    unit = np.array([_unit_interval(salt + value.encode()) for value in ids])
    holdout = unit < policy.holdout
    calibration = ~holdout & (unit < policy.holdout + (1 - policy.holdout) * policy.calibration)
    parts = (~holdout & ~calibration, calibration, holdout)
    return Split(*(np.flatnonzero(part) for part in parts))


def _unit_interval(key: bytes) -> float:
    return int.from_bytes(hashlib.sha256(key).digest()[:8], "big") / 2**64


def _at_random(contract: Contract, frame: pd.DataFrame) -> Split:
    """Return scikit-learn's ``train_test_split`` by the policy's seed, the literature's protocol."""
    from sklearn.model_selection import train_test_split

    policy = contract.split
    rest, holdout = train_test_split(
        np.arange(len(frame)), test_size=policy.holdout, random_state=policy.seed
    )
    train, calibration = train_test_split(rest, test_size=policy.calibration, random_state=policy.seed)
    return Split(*(np.sort(part).astype(np.int64) for part in (train, calibration, holdout)))


def identity_columns(contract: Contract) -> tuple[str, ...]:
    """Return the columns by which a row is known again: its id, with its time where it has one.

    A value that is corrected later, or a column that is added, leaves it the same row. Without an id a row
    is known by its whole content.
    """
    if contract.id_column is None:
        return tuple(column.name for column in contract.columns)
    return (contract.id_column, *([contract.time_column] if contract.time_column else []))


def row_hashes(
    contract: Contract, frame: pd.DataFrame, names: Sequence[str] | None = None
) -> npt.NDArray[np.uint64]:
    """Return a 64-bit hash of what each row is known by, by which a release proves what it has seen.

    It is the row's alone: nulls elsewhere in a column do not change the type in which it is hashed.

    Args:
        contract: of the rows.
        frame: which holds the columns.
        names: of the columns; by default ``identity_columns``.
    """
    columns = columns_from_frame(contract, frame, names or identity_columns(contract))
    hashes = pd.util.hash_pandas_object(pd.DataFrame(columns), index=False)
    return np.asarray(hashes, dtype=np.uint64)
