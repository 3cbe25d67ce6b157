"""What leaves the prediction log: answers past their retention, a request, a person's rows."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Any

from hedonic.errors import UserError
from hedonic.serving.prediction_log_entry import Answered, entries, matches, microseconds, without
from hedonic.serving.prediction_log_schema import Execute
from hedonic.serving.prediction_log_store import COLUMNS, PredictionLogStore

_STEP = 500
_STEP_BYTES = 2**20
"""What is deleted in one transaction: a service that logs meanwhile waits milliseconds, not minutes."""


@dataclass(frozen=True, slots=True)
class Erased:
    """What was deleted: predictions, and sale prices that were reported for them."""

    n_rows: int = 0
    n_prices: int = 0

    def __add__(self, other: Erased) -> Erased:
        return Erased(self.n_rows + other.n_rows, self.n_prices + other.n_prices)


@dataclass(frozen=True, slots=True)
class Match:
    """Rows of one answered request that were looked for, and when it was answered."""

    seq: int
    request_id: str
    at_us: int
    rows: frozenset[int]


@dataclass(frozen=True, slots=True)
class Held:
    """What the log holds of a request: its data set, predictions, and prices reported for them."""

    datasets: frozenset[str]
    n_rows: int
    n_prices: int


def purge(store: PredictionLogStore, older_than_days: float, now: datetime | None = None) -> Erased:
    """Return what was deleted: everything older than the retention, with its prices.

    Prices that never found their answer go by the day they were received.

    Raises:
        UserError: the retention is not a number of days above zero; nothing was deleted.
    """
    erased = sum(purge_steps(store, check_retention(older_than_days), now), Erased())
    store.scrub()
    return erased


def purge_steps(
    store: PredictionLogStore, older_than_days: float, now: datetime | None = None
) -> Iterator[Erased]:
    """Yield what was deleted, a small transaction at a time; whoever asks may rest between them."""
    limit = microseconds((now or datetime.now(UTC)) - timedelta(days=older_than_days))
    while seqs := _oldest(store, limit):
        with store.transaction() as execute:
            erased = _delete(execute, seqs)
        yield erased
    last = -1
    while found := store.read(f"{_ORPHANS} AND seq > ? ORDER BY seq LIMIT {_STEP}", (limit, last)):
        last = found[-1][0]
        marks = ", ".join("?" * len(found))
        with store.transaction() as execute:
            orphans = execute(
                f"DELETE FROM hedonic_feedback WHERE seq IN ({marks}) AND {_UNKNOWN}",  # noqa: S608
                [row[0] for row in found],
            )
        yield Erased(n_prices=orphans.rowcount)


def check_retention(days: float) -> float:
    """Return the number of days.

    Raises:
        UserError: it is not one above zero; nothing was deleted.
    """
    if not (math.isfinite(days) and days > 0):
        raise UserError(
            f"HEDONIC_LOG_RETENTION_DAYS: must be a number of days above 0; got {days}. Nothing was deleted."
        )
    return days


def find_request(store: PredictionLogStore, request_id: str) -> Held:
    """Return what the log holds of a request; of a table's, of all its parts."""
    of_it, values = of_request(request_id)
    found = store.read(
        f"SELECT dataset, SUM(n_rows) FROM hedonic_answered WHERE {of_it} GROUP BY dataset",  # noqa: S608
        values,
    )
    prices = store.read(f"SELECT COUNT(*) FROM hedonic_feedback WHERE {of_it}", values)  # noqa: S608
    return Held(
        frozenset(dataset for dataset, _ in found), sum(int(n_rows) for _, n_rows in found), int(prices[0][0])
    )


def forget_request(store: PredictionLogStore, request_id: str) -> Erased:
    """Return what was deleted: every answer to the request, and its prices; of a table's, all its parts."""
    of_it, values = of_request(request_id)
    found = store.read(f"SELECT seq FROM hedonic_answered WHERE {of_it}", values)  # noqa: S608
    erased = Erased()
    for start in range(0, len(found), _STEP):
        with store.transaction() as execute:
            erased += _delete(execute, [seq for (seq,) in found[start : start + _STEP]])
    with store.transaction() as execute:
        prices = execute(f"DELETE FROM hedonic_feedback WHERE {of_it}", values)  # noqa: S608
    store.scrub()
    return erased + Erased(n_prices=prices.rowcount)


def forget_rows(store: PredictionLogStore, dataset: str, wanted: Mapping[str, Any]) -> Erased:
    """Return what was deleted: the rows of a data set whose inputs have all these values.

    Other rows of the same request stay, under their numbers.

    Args:
        store: the log.
        dataset: whose rows.
        wanted: values by the name of the input, as a request gives them; text in any case.

    Raises:
        UserError: no value is given, or no logged row has such an input; nothing was deleted.
    """
    return forget_matches(store, find_rows(store, dataset, wanted))


def find_rows(store: PredictionLogStore, dataset: str, wanted: Mapping[str, Any]) -> tuple[Match, ...]:
    """Return the answered requests of a data set with a row whose inputs have all these values.

    Raises:
        UserError: no value is given, or no logged row has such an input.
    """
    if not wanted:
        raise UserError(f"{dataset}: say which rows to forget, by one input or more. Nothing was deleted.")
    known: set[str] = set()
    found: list[Match] = []
    for seq, answered in store.answered(dataset=dataset):
        rows = set()
        for entry in entries(answered):
            known |= entry.inputs.keys()
            if matches(entry.inputs, wanted):
                rows.add(entry.row)
        if rows:
            found.append(Match(seq, answered.request_id, answered.at_us, frozenset(rows)))
    if known:
        _refuse_unknown(dataset, wanted, known)
    return tuple(found)


def forget_matches(store: PredictionLogStore, found: Sequence[Match]) -> Erased:
    """Return what was deleted: the rows that were found, with their prices."""
    erased = Erased()
    for start in range(0, len(found), _STEP):
        with store.transaction() as execute:
            for match in found[start : start + _STEP]:
                erased += _blank(execute, match.seq, match.rows)
    store.scrub()
    return erased


_UNKNOWN = "NOT EXISTS (SELECT 1 FROM hedonic_answered a WHERE a.request_id = hedonic_feedback.request_id)"
_ORPHANS = f"SELECT seq FROM hedonic_feedback WHERE received_us < ? AND {_UNKNOWN}"  # noqa: S608


def of_request(request_id: str) -> tuple[str, tuple[Any, ...]]:
    """Return the condition for a request's id and those of its parts (``table_parts``), with its values."""
    part = f"{request_id}."
    return "(request_id = ? OR substr(request_id, 1, ?) = ?)", (request_id, len(part), part)


def _oldest(store: PredictionLogStore, limit_us: int) -> list[int]:
    """Return the numbers of the oldest answered requests before the limit: a step's worth."""
    found = store.read(
        "SELECT seq, length(request) + length(response) FROM hedonic_answered WHERE at_us < ? "  # noqa: S608
        f"ORDER BY at_us, seq LIMIT {_STEP}",
        (limit_us,),
    )
    sizes = accumulate(size for _, size in found)
    return [
        seq
        for n, ((seq, _), size) in enumerate(zip(found, sizes, strict=True))
        if not n or size <= _STEP_BYTES
    ]


def _delete(execute: Execute, seqs: Sequence[int]) -> Erased:
    """Delete answered requests whole."""
    if not seqs:
        return Erased()
    marks = ", ".join("?" * len(seqs))
    of_them = f"SELECT request_id FROM hedonic_answered WHERE seq IN ({marks})"  # noqa: S608
    prices = execute(f"DELETE FROM hedonic_feedback WHERE request_id IN ({of_them})", seqs)  # noqa: S608
    gone = execute(f"DELETE FROM hedonic_answered WHERE seq IN ({marks}) RETURNING n_rows", seqs).fetchall()  # noqa: S608
    return Erased(sum(n_rows for (n_rows,) in gone), prices.rowcount)


def _blank(execute: Execute, seq: int, rows: frozenset[int]) -> Erased:
    """Delete rows of one answered request; what remains of it is written in its place."""
    found = execute(f"SELECT {COLUMNS} FROM hedonic_answered WHERE seq = ?", (seq,)).fetchall()  # noqa: S608
    if not found:  # another command was faster
        return Erased()
    answered = Answered(*found[0])
    prices = 0
    for row in sorted(rows):
        values = (answered.request_id, row)
        prices += execute(
            "DELETE FROM hedonic_feedback WHERE request_id = ? AND row_number = ?", values
        ).rowcount
    execute("DELETE FROM hedonic_answered WHERE seq = ?", (seq,))
    rest = without(answered, rows)
    if rest is not None:
        marks = ", ".join("?" * (1 + len(rest)))
        execute(f"INSERT INTO hedonic_answered (seq, {COLUMNS}) VALUES ({marks})", (seq, *rest))  # noqa: S608
    return Erased(answered.n_rows - (rest.n_rows if rest is not None else 0), prices)


def _refuse_unknown(dataset: str, wanted: Mapping[str, Any], known: set[str]) -> None:
    problems = []
    for name in wanted.keys() - known:
        near = difflib.get_close_matches(name, known, n=1)
        problems.append(f"{name}{f' (did you mean {near[0]}?)' if near else ''}")
    if problems:
        raise UserError(
            f"{dataset}: no logged row has the input {', '.join(sorted(problems))}. Nothing was deleted."
        )
