"""The one numpy form in which rows reach features, rules and models, from a frame or from JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hedonic.data.contract import Column, Contract

if TYPE_CHECKING:
    import pandas as pd

Columns = Mapping[str, npt.NDArray[Any]]
"""By column name, arrays of shape (n_rows,): numbers, booleans and dates as float64 (NaN where
missing; dates as days since 1970-01-01), categories and text as objects (None where missing)."""

_EPOCH = date(1970, 1, 1).toordinal()


def days(day: date) -> float:
    """Return ``day`` as days since 1970-01-01."""
    return float(day.toordinal() - _EPOCH)


def day(days_since_epoch: float) -> date:
    """Return the date that lies that many days after 1970-01-01."""
    return date.fromordinal(_EPOCH + int(days_since_epoch))


def n_rows(columns: Columns) -> int:
    """Return the number of rows."""
    return len(next(iter(columns.values())))


def take(columns: Columns, rows: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
    """Return the chosen rows (positions or a mask) of every column."""
    return {name: values[rows] for name, values in columns.items()}


def columns_from_frame(
    contract: Contract, frame: pd.DataFrame, names: Sequence[str] | None = None
) -> dict[str, npt.NDArray[Any]]:
    """Return the frame's columns, by default all that the contract knows and the frame has."""
    return {column.name: _from_series(column, frame) for column in _chosen(contract, names, frame.columns)}


def columns_from_records(
    contract: Contract, records: Sequence[Mapping[str, Any]], names: Sequence[str] | None = None
) -> dict[str, npt.NDArray[Any]]:
    """Return columns of the records (validated JSON values; a missing key is a missing value).

    By default the contract's inputs and, where it has one, its time column.
    """
    if names is None:
        names = [column.name for column in contract.inputs]
        names += [contract.time_column] if contract.time_column else []
    chosen = _chosen(contract, names, ())
    return {c.name: _from_values(c, [record.get(c.name) for record in records]) for c in chosen}


def _chosen(contract: Contract, names: Sequence[str] | None, present: Iterable[str]) -> list[Column]:
    if names is not None:
        return [contract.column(name) for name in names]
    there = set(present)
    return [column for column in contract.columns if column.name in there]


def _from_series(column: Column, frame: pd.DataFrame) -> npt.NDArray[Any]:
    series = frame[column.name]
    if column.type in ("category", "text"):
        values = series.astype(object).to_numpy(copy=True)
        values[series.isna().to_numpy()] = None
        return np.asarray(values, dtype=object)
    if column.type == "date":
        stamps = series.to_numpy(dtype="datetime64[D]")
        numbers = stamps.astype(np.int64).astype(np.float64)
        return np.where(np.isnat(stamps), np.nan, numbers)
    if column.role == "id":
        return series.to_numpy(dtype=np.int64)
    return series.to_numpy(dtype=np.float64, na_value=np.nan)


def _from_values(column: Column, values: list[Any]) -> npt.NDArray[Any]:
    if column.type in ("category", "text"):
        array = np.empty(len(values), dtype=object)
        array[:] = values
        return array
    if column.type == "date":
        numbers = [np.nan if v is None else days(_as_date(v)) for v in values]
        return np.array(numbers, dtype=np.float64)
    return np.array([np.nan if v is None else float(v) for v in values], dtype=np.float64)


def _as_date(value: Any) -> date:
    return value if isinstance(value, date) else date.fromisoformat(value)
