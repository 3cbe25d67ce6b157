"""What differs between two snapshots of one data set: rows, columns, and how values are distributed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hedonic.data.contract import Contract, Frozen
from hedonic.data.shift import Shift, measure_shift
from hedonic.data.snapshot import Snapshot, SnapshotStore

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

SAMPLE_ROWS = 50_000
NOTABLE_SHIFT = 0.05


class Difference(Frozen):
    """What differs between two snapshots; of columns that both have, unless it says otherwise.

    Attributes:
        added, removed, changed: rows. Of two rows with the same id and other values one is changed;
            without an id column a changed row is one removed and one added, and ``changed`` is None.
        columns_retyped: such as ``("floors: integer -> number",)``.
        shifts: of every column but ids and free text, the farthest first; measured on at most 50,000
            rows of each snapshot, evenly spaced.
    """

    dataset: str
    before: str
    after: str
    n_rows_before: int
    n_rows_after: int
    added: int
    removed: int
    changed: int | None
    columns_added: tuple[str, ...]
    columns_removed: tuple[str, ...]
    columns_retyped: tuple[str, ...]
    shifts: tuple[Shift, ...]

    @property
    def summary(self) -> str:
        """Return one sentence without an end, such as ``+12 rows, 3 changed``."""
        parts = [f"+{self.added:,} rows"] if self.added else []
        parts += [f"-{self.removed:,} rows"] if self.removed else []
        parts += [f"{self.changed:,} changed"] if self.changed else []
        for what, names in (
            ("new column", self.columns_added),
            ("column gone:", self.columns_removed),
            ("column retyped:", self.columns_retyped),
        ):
            parts += [f"{what} {', '.join(names)}"] if names else []
        if not parts:
            return "the same rows in another order"
        if self.shifts and self.shifts[0].statistic >= NOTABLE_SHIFT:
            parts.append(f"{self.shifts[0].column} moved most ({self.shifts[0].statistic:.2f})")
        return ", ".join(parts)

    @property
    def markdown(self) -> str:
        """Return the page that a run shows."""
        return "\n".join(_page(self)) + "\n"


def open_snapshot(store: SnapshotStore, dataset: str, digest: str) -> Snapshot | None:
    """Return the snapshot of that digest, None when the store does not hold it."""
    try:
        content = (store.root / dataset / digest / "snapshot.json").read_bytes()
    except FileNotFoundError:
        return None
    return Snapshot.model_validate_json(content)


def compare(contract: Contract, store: SnapshotStore, before: Snapshot, after: Snapshot) -> Difference:
    """Return what differs from ``before`` to ``after``, in bounded memory and in one pass over each.

    Args:
        contract: says which column is the id, and which hold categories or text.
        store: holds both snapshots.
        before: the earlier snapshot; its columns may be those of an earlier contract.
        after: the later one.
    """
    import pyarrow.parquet as pq

    old, new = (pq.read_schema(store.file(snapshot)) for snapshot in (before, after))
    common = [field.name for field in new if field.name in old.names]
    retyped = [name for name in common if old.field(name).type != new.field(name).type]
    same = [name for name in common if name not in retyped]
    identity = contract.id_column if contract.id_column in same else None
    left, right = (_digest_rows(store, snapshot, same, identity) for snapshot in (before, after))
    added, removed, changed = _count(left, right)
    known = {column.name: column for column in contract.columns}
    shifts = [
        measure_shift(name, known[name].type, left.sample[name], right.sample[name])
        for name in same
        if name in known and known[name].role != "id" and known[name].type != "text"
    ]
    return Difference(
        dataset=after.dataset,
        before=before.digest,
        after=after.digest,
        n_rows_before=before.n_rows,
        n_rows_after=after.n_rows,
        added=added,
        removed=removed,
        changed=changed,
        columns_added=tuple(name for name in new.names if name not in old.names),
        columns_removed=tuple(name for name in old.names if name not in new.names),
        columns_retyped=tuple(
            f"{name}: {old.field(name).type} -> {new.field(name).type}" for name in retyped
        ),
        shifts=tuple(sorted(shifts, key=lambda shift: (-shift.statistic, shift.column))),
    )


@dataclass(frozen=True, slots=True)
class _Rows:
    """The rows of a snapshot by hash, and a sample of them.

    Attributes:
        rows: of shape (n_rows,), a hash of each row's values.
        ids: of shape (n_rows,), a hash of each row's id; None without an id column.
        sample: rows evenly spaced.
    """

    rows: npt.NDArray[np.uint64]
    ids: npt.NDArray[np.uint64] | None
    sample: pd.DataFrame


def _digest_rows(store: SnapshotStore, snapshot: Snapshot, names: list[str], identity: str | None) -> _Rows:
    import pandas as pd

    rows, ids, samples = [], [], []
    every, first = math.ceil(snapshot.n_rows / SAMPLE_ROWS), 0
    for frame in _frames(store.batches(snapshot, names)):
        rows.append(pd.util.hash_pandas_object(frame, index=False).to_numpy())
        if identity is not None:
            ids.append(pd.util.hash_pandas_object(frame[identity], index=False).to_numpy())
        samples.append(frame.iloc[-first % every :: every])
        first += len(frame)
    return _Rows(np.concatenate(rows), np.concatenate(ids) if ids else None, pd.concat(samples))


def _frames(batches: Iterator[pa.RecordBatch]) -> Iterator[pd.DataFrame]:
    """Yield frames whose types, and so hashes, do not depend on whether a batch has a null."""
    import pandas as pd
    import pyarrow as pa

    nullable: dict[Any, Any] = {pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}
    for batch in batches:
        yield batch.to_pandas(date_as_object=False, types_mapper=nullable.get)


def _count(before: _Rows, after: _Rows) -> tuple[int, int, int | None]:
    """Return how many rows were added, removed and changed; equal rows count as often as they occur."""
    gone, new = _surplus(before.rows, after.rows), _surplus(after.rows, before.rows)
    n_gone, n_new = int(gone.sum()), int(new.sum())
    if before.ids is None or after.ids is None:
        return n_new, n_gone, None
    gone_ids, n_by_gone = np.unique(before.ids[gone], return_counts=True)
    new_ids, n_by_new = np.unique(after.ids[new], return_counts=True)
    _, in_gone, in_new = np.intersect1d(gone_ids, new_ids, assume_unique=True, return_indices=True)
    changed = int(np.minimum(n_by_gone[in_gone], n_by_new[in_new]).sum())
    return n_new - changed, n_gone - changed, changed


def _surplus(rows: npt.NDArray[np.uint64], others: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    """Return of shape (n_rows,) whether a row occurs more often up to here than among the others."""
    import pandas as pd

    series = pd.Series(rows)
    elsewhere = series.map(pd.Series(others).value_counts()).fillna(0).to_numpy()
    return np.asarray(series.groupby(series).cumcount().to_numpy() >= elsewhere)


def _page(difference: Difference) -> Iterator[str]:
    yield f"## {difference.dataset}: {difference.summary}"
    yield f"\nFrom snapshot `{difference.before[:12]}` to `{difference.after[:12]}`.\n"
    yield "| rows | |\n|---|---:|"
    yield f"| before | {difference.n_rows_before:,} |"
    yield f"| added | {difference.added:,} |"
    yield f"| removed | {difference.removed:,} |"
    if difference.changed is not None:
        yield f"| changed (same id, other values) | {difference.changed:,} |"
    yield f"| after | {difference.n_rows_after:,} |"
    for what, names in (
        ("New columns", difference.columns_added),
        ("Columns that are gone", difference.columns_removed),
        ("Columns of another type", difference.columns_retyped),
    ):
        if names:
            yield f"\n{what}: {', '.join(f'`{name}`' for name in names)}."
    if difference.shifts:
        yield "\n| column | moved | before | after | missing before | after | categories |"
        yield "|---|---:|---:|---:|---:|---:|---|"
        yield from (_row(shift) for shift in difference.shifts)
        yield "\n*moved*: Kolmogorov-Smirnov statistic of numbers and dates (before, after: their medians),"
        yield "share of rows that changed category; 0 is not at all, 1 entirely."


def _row(shift: Shift) -> str:
    told = [f"new: {', '.join(shift.appeared)}"] if shift.appeared else []
    told += [f"gone: {', '.join(shift.vanished)}"] if shift.vanished else []
    before, after = (f"{value:,.6g}" if isinstance(value, float) else value or "" for value in
                     (shift.before, shift.after))  # fmt: skip
    return (
        f"| {shift.column} | {shift.statistic:.3f} | {before} | {after} | {shift.missing_before:.1%} "
        f"| {shift.missing_after:.1%} | {'; '.join(told).replace('|', chr(92) + '|')} |"
    )
