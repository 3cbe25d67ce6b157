"""How a model behaves: directions, invariances and golden rows that a contract declares."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date

import numpy as np
import numpy.typing as npt

from hedonic.data.behaviour_policy import Change, Direction, GoldenRow, Invariance
from hedonic.data.contract import Column, Contract
from hedonic.data.table import Columns, columns_from_records, days, n_rows, take
from hedonic.promotion.verdict import Finding

Vector = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Price = Callable[[Columns], Vector]
"""Estimates of rows given as canonical columns, shape (n_rows,), above 0."""

MOST_ROWS = 1000
FEWEST_ROWS = 30


def behaviour_findings(contract: Contract, columns: Columns, price: Price) -> list[Finding]:
    """Return a finding for each direction, invariance and golden row of the contract's gate.

    Args:
        contract: whose gate declares them.
        columns: rows that the model has not seen; at most 1,000 of them, evenly spread, are asked about.
        price: the model.
    """
    gate = contract.gate
    if not (gate.directions or gate.invariances or gate.golden):
        return []
    rows = take(columns, _spread(n_rows(columns)))
    found = [
        _direction_finding(check, *_responses(contract, check, rows, price)) for check in gate.directions
    ]
    found += [
        _invariance_finding(check, *_responses(contract, check, rows, price)) for check in gate.invariances
    ]
    return found + [_golden_finding(contract, golden, price) for golden in gate.golden]


def _spread(n: int) -> npt.NDArray[np.int64]:
    return np.unique(np.linspace(0, n - 1, min(n, MOST_ROWS)).astype(np.int64))


def _responses(
    contract: Contract, check: Direction | Invariance, rows: Columns, price: Price
) -> tuple[Vector, int]:
    """Return the log change of each estimate that the change can be made to, and of how many rows."""
    changed, possible = change_rows(contract, rows, check.changes)
    if not possible.any():
        return np.empty(0), len(possible)
    before, after = take(rows, possible), take(changed, possible)
    return np.log(price(after)) - np.log(price(before)), len(possible)


def change_rows(contract: Contract, rows: Columns, changes: Mapping[str, Change]) -> tuple[Columns, Mask]:
    """Return the rows with columns changed, and which of them the contract would still accept.

    A row is left out where a changed column has no value, or would leave its bounds or categories. Whole
    numbers stay whole.
    """
    changed = dict(rows)
    possible = np.ones(n_rows(rows), dtype=np.bool_)
    for name, change in changes.items():
        column, values = contract.column(name), rows[name]
        changed[name] = _changed(column, values, change)
        possible &= _acceptable(column, values, changed[name])
    return changed, possible


def _changed(column: Column, values: npt.NDArray[np.generic], change: Change) -> npt.NDArray[np.generic]:
    if change.to is not None:
        value = days(date.fromisoformat(str(change.to))) if column.type == "date" else change.to
        kind = object if column.type in ("category", "text") else np.float64
        return np.full(len(values), value, dtype=kind)
    numbers = values.astype(np.float64)
    moved = numbers * change.factor if change.factor is not None else numbers + (change.add or 0.0)
    return np.round(moved) if column.type in ("integer", "date") else moved


def _acceptable(column: Column, before: npt.NDArray[np.generic], after: npt.NDArray[np.generic]) -> Mask:
    if column.type in ("category", "text"):
        known = column.categories
        pairs = zip(before.tolist(), after.tolist(), strict=True)
        return np.array([was is not None and (known is None or now in known) for was, now in pairs])
    numbers = after.astype(np.float64)
    inside = ~np.isnan(before.astype(np.float64))
    if column.minimum is not None:
        inside &= numbers >= column.minimum
    if column.maximum is not None:
        inside &= numbers <= column.maximum
    return inside


def _direction_finding(check: Direction, change: Vector, n_asked: int) -> Finding:
    name = f"direction:{check.name}"
    if len(change) < FEWEST_ROWS:
        return _too_few(name, len(change), n_asked)
    mean = float(change.mean())
    rises = check.effect == "not_lower"
    # Written so that a mean of NaN fires.
    right = mean >= 0 if rises else mean <= 0
    return Finding(
        check=name,
        outcome="passed" if right else "issue",
        value=mean if np.isfinite(mean) else None,
        limit=0.0,
        sentence=(
            f"{_told(check)} changes the estimate by {100 * np.expm1(mean):+.2f} % on average of "
            f"{len(change):,} rows; it must {'not lower' if rises else 'not raise'} it"
        ),
    )


def _invariance_finding(check: Invariance, change: Vector, n_asked: int) -> Finding:
    name = f"invariance:{check.name}"
    if len(change) < FEWEST_ROWS:
        return _too_few(name, len(change), n_asked)
    beyond = float(np.mean(~(np.abs(change) <= check.tolerance)))
    return Finding(
        check=name,
        outcome="passed" if beyond <= check.share else "issue",
        value=beyond,
        limit=check.share,
        sentence=(
            f"{_told(check)} changes {100 * beyond:.2f} % of {len(change):,} estimates by more than "
            f"{100 * check.tolerance:g} %; {100 * check.share:g} % may"
        ),
    )


def _golden_finding(contract: Contract, golden: GoldenRow, price: Price) -> Finding:
    record = dict(golden.row)
    if contract.time_column and "valuation_date" in record:
        record[contract.time_column] = record.pop("valuation_date")
    estimate = float(price(columns_from_records(contract, [record]))[0])
    inside = golden.minimum <= estimate <= golden.maximum
    return Finding(
        check=f"golden:{golden.name}",
        outcome="passed" if inside else "issue",
        value=estimate if np.isfinite(estimate) else None,
        limit=golden.maximum if estimate > golden.maximum else golden.minimum,
        sentence=(
            f"golden row {golden.name} is estimated at {estimate:,.0f} {contract.target.unit}, "
            f"{'within' if inside else 'outside'} {golden.minimum:,.0f} to {golden.maximum:,.0f}"
        ),
    )


def _too_few(check: str, n_changed: int, n_asked: int) -> Finding:
    return Finding(
        check=check,
        outcome="issue",
        value=n_changed,
        limit=FEWEST_ROWS,
        sentence=(
            f"the change can be made to {n_changed} of {n_asked} rows, fewer than {FEWEST_ROWS}: nothing is "
            "shown. Make it smaller, or take it out of the contract."
        ),
    )


def _told(check: Direction | Invariance) -> str:
    """Return the changes in words: ``sqft_living * 1.1, date + 7``."""
    spoken = []
    for name, change in check.changes.items():
        if change.to is not None:
            spoken.append(f"{name} = {change.to}")
        else:
            spoken.append(
                f"{name} * {change.factor:g}" if change.factor is not None else f"{name} + {change.add:g}"
            )
    return ", ".join(spoken)
