"""What leaves the prediction log: answers past their retention, a request, a person's rows."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from hedonic.errors import UserError
from hedonic.serving.prediction_log_entry import Answered, entries, matches, microseconds, without
from hedonic.serving.prediction_log_store import COLUMNS, Execute, PredictionLogStore

_STEP = 500
"""Requests deleted in one transaction: a service that logs meanwhile waits milliseconds, not minutes."""


@dataclass(frozen=True, slots=True)
class Erased:
    """What was deleted: predictions, and sale prices that were reported for them."""

    n_rows: int = 0
    n_prices: int = 0

    def __add__(self, other: Erased) -> Erased:
        return Erased(self.n_rows + other.n_rows, self.n_prices + other.n_prices)


def purge(store: PredictionLogStore, older_than_days: float, now: datetime | None = None) -> Erased:
    """Return what was deleted: everything older than the retention, with its prices.

    Prices that never found their answer go by the day they were received.

    Raises:
        UserError: the retention is not a number of days above zero; nothing was deleted.
    """
    if not (math.isfinite(older_than_days) and older_than_days > 0):
        raise UserError(
            f"HEDONIC_LOG_RETENTION_DAYS: must be a number of days above 0; got {older_than_days}. "
            "Nothing was deleted."
        )
    limit = microseconds((now or datetime.now(UTC)) - timedelta(days=older_than_days))
    erased, query = Erased(), f"SELECT seq FROM hedonic_answered WHERE at_us < ? LIMIT {_STEP}"  # noqa: S608
    while seqs := [row[0] for row in store.read(query, (limit,))]:
        with store.transaction() as execute:
            erased += _delete(execute, seqs)
    with store.transaction() as execute:
        orphans = execute(
            "DELETE FROM hedonic_feedback WHERE received_us < ? AND NOT EXISTS "
            "(SELECT 1 FROM hedonic_answered a WHERE a.request_id = hedonic_feedback.request_id)",
            (limit,),
        )
    store.scrub()
    return erased + Erased(n_prices=orphans.rowcount)


def forget_request(store: PredictionLogStore, request_id: str) -> Erased:
    """Return what was deleted: every answer to the request, and its prices."""
    with store.transaction() as execute:
        found = execute("SELECT seq FROM hedonic_answered WHERE request_id = ?", (request_id,)).fetchall()
        erased = _delete(execute, [row[0] for row in found])
        prices = execute("DELETE FROM hedonic_feedback WHERE request_id = ?", (request_id,))
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
    if not wanted:
        raise UserError(f"{dataset}: say which rows to forget, by one input or more. Nothing was deleted.")
    known: set[str] = set()
    found: list[tuple[int, frozenset[int]]] = []
    for seq, answered in store.answered(dataset=dataset):
        rows = set()
        for entry in entries(answered):
            known |= entry.inputs.keys()
            if matches(entry.inputs, wanted):
                rows.add(entry.row)
        if rows:
            found.append((seq, frozenset(rows)))
    if known:
        _refuse_unknown(dataset, wanted, known)
    erased = Erased()
    for start in range(0, len(found), _STEP):
        with store.transaction() as execute:
            for seq, of_person in found[start : start + _STEP]:
                erased += _blank(execute, seq, of_person)
    store.scrub()
    return erased


def _delete(execute: Execute, seqs: Sequence[int]) -> Erased:
    """Delete answered requests whole."""
    if not seqs:
        return Erased()
    marks = ", ".join("?" * len(seqs))
    total = execute(f"SELECT SUM(n_rows) FROM hedonic_answered WHERE seq IN ({marks})", seqs).fetchall()  # noqa: S608
    of_them = f"SELECT request_id FROM hedonic_answered WHERE seq IN ({marks})"  # noqa: S608
    prices = execute(f"DELETE FROM hedonic_feedback WHERE request_id IN ({of_them})", seqs)  # noqa: S608
    execute(f"DELETE FROM hedonic_answered WHERE seq IN ({marks})", seqs)  # noqa: S608
    return Erased(int(total[0][0] or 0), prices.rowcount)


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
