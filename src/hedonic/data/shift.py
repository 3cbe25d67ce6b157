"""The shift of one column: how far its values moved between two sets of rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from hedonic.data.contract import ColumnType, Frozen

if TYPE_CHECKING:
    import pandas as pd

_MOST_NAMED = 8


class Shift(Frozen):
    """How far the values of one column moved: 0 not at all, 1 entirely.

    Attributes:
        statistic: of numbers and dates the two-sample Kolmogorov-Smirnov statistic; of categories
            the total variation distance, the share of rows that are in another category.
        before, after: the median of numbers (dates as dates); None where there is none.
        missing_before, missing_after: the share of rows without a value.
        appeared, vanished: categories that only one of the two has, at most eight.
    """

    column: str
    kind: Literal["number", "date", "category"]
    statistic: float
    before: float | str | None = None
    after: float | str | None = None
    missing_before: float
    missing_after: float
    appeared: tuple[str, ...] = ()
    vanished: tuple[str, ...] = ()


def measure_shift(name: str, kind: ColumnType, before: pd.Series[Any], after: pd.Series[Any]) -> Shift:
    """Return how far the values of a column moved.

    Args:
        name: the column's.
        kind: its type in the contract.
        before: values of the earlier rows, of shape (n_before,).
        after: of the later rows, of shape (n_after,).
    """
    missing = {"missing_before": float(before.isna().mean()), "missing_after": float(after.isna().mean())}
    before, after = before.dropna(), after.dropna()
    if kind in ("category", "boolean"):
        old, new = (values.astype(str).value_counts(normalize=True) for values in (before, after))
        moved = old.sub(new, fill_value=0).abs().sum() / 2 if len(old) and len(new) else len(old) != len(new)
        return Shift(
            column=name,
            kind="category",
            statistic=round(float(moved), 6),
            appeared=tuple(sorted(set(new.index) - set(old.index))[:_MOST_NAMED]),
            vanished=tuple(sorted(set(old.index) - set(new.index))[:_MOST_NAMED]),
            **missing,
        )
    return Shift(
        column=name,
        kind="date" if kind == "date" else "number",
        statistic=_kolmogorov_smirnov(_numbers(before), _numbers(after)),
        before=_median(before),
        after=_median(after),
        **missing,
    )


def _kolmogorov_smirnov(before: npt.NDArray[np.float64], after: npt.NDArray[np.float64]) -> float:
    from scipy.stats import ks_2samp

    if not len(before) or not len(after):
        return float(len(before) != len(after))
    with np.errstate(divide="ignore", invalid="ignore"):  # its p-value, of very few rows
        return round(float(ks_2samp(before, after, method="asymp").statistic), 6)


def _numbers(values: pd.Series[Any]) -> npt.NDArray[np.float64]:
    if values.dtype.kind == "M":
        return values.to_numpy(dtype="datetime64[D]").astype(np.float64)
    return values.to_numpy(dtype=np.float64)


def _median(values: pd.Series[Any]) -> float | str | None:
    if values.empty:
        return None
    middle = np.median(_numbers(values))
    return str(np.datetime64(int(middle), "D")) if values.dtype.kind == "M" else float(middle)
