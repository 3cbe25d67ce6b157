"""Feedback: what a row was sold for after all, by the request that asked for its estimate."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Literal

from hedonic.serving.fields import show
from hedonic.serving.prediction_log_entry import Answered, Entry, Role, entries, microseconds, moment
from hedonic.serving.prediction_log_store import PAGE, PredictionLogStore
from hedonic.serving.problems import Problem, RequestRefused, refused
from hedonic.serving.table_parts import PART_ROWS, part_id, row_in_part
from hedonic.serving.unique_json import parse

_REQUEST_ID = re.compile(r"[0-9A-Za-z_.:-]{1,128}")
_LAST_ROW = 2**31 - 1
_AHEAD = timedelta(days=1)  # clocks and time zones differ by hours; a price of next week is a mistake
_FIELDS = ("request_id", "row", "price", "observed_at")


@dataclass(frozen=True, slots=True)
class Report:
    """A sale price as somebody reports it.

    Attributes:
        request_id: from the response that held the estimate.
        price: what was paid, in the target's unit.
        row: of the request, from 0.
        observed_at: the day or moment the price is from; None for now. The latest one counts.
    """

    request_id: str
    price: float
    row: int = 0
    observed_at: datetime | None = None

    @classmethod
    def parse(cls, body: bytes) -> Report:
        """Return the report in a request's body.

        Raises:
            RequestRefused: it is not one; with every problem.
        """
        try:
            content = parse(body)
        except RequestRefused:
            raise
        except (ValueError, RecursionError) as err:
            raise RequestRefused("invalid_json", f"the body is not JSON: {err}") from err
        if type(content) is not dict:
            raise refused([Problem("", f"must be an object; got {show(content)}")])
        problems = [
            Problem(name[:64], f"unknown field; known are {', '.join(_FIELDS)}")
            for name in content
            if name not in _FIELDS
        ]
        problems += [Problem(name, "missing") for name in ("request_id", "price") if name not in content]
        observed_at = content.get("observed_at")
        if observed_at is not None:
            observed_at = _moment(observed_at)
            if observed_at is None:
                told = 'must be a date ("2015-05-27") or a time with its zone ("2015-05-27T10:00:00Z")'
                problems.append(Problem("observed_at", f"{told}; got {show(content['observed_at'])}"))
        report = cls(
            request_id=content.get("request_id", "-"),
            price=content.get("price", 1.0),
            row=_whole(content.get("row", 0)),
            observed_at=observed_at,
        )
        if problems := problems + report.problems():
            raise refused(problems)
        return report

    def problems(self) -> list[Problem]:
        """Return what is wrong with the report; empty when nothing is."""
        found = []
        if type(self.request_id) is not str or not _REQUEST_ID.fullmatch(self.request_id):
            found.append(Problem("request_id", f"must be the id of a request; got {show(self.request_id)}"))
        if type(self.price) not in (int, float) or not 0 < self.price < math.inf:
            found.append(Problem("price", f"must be a finite number above 0; got {show(self.price)}"))
        elif self.price > 1e300:
            found.append(Problem("price", f"must be a price; got {show(self.price)}"))
        if type(self.row) is not int or not 0 <= self.row <= _LAST_ROW:
            found.append(Problem("row", f"must be a row number of the request, from 0; got {show(self.row)}"))
        if self.observed_at is not None:
            if self.observed_at.tzinfo is None:
                found.append(Problem("observed_at", "must have a time zone"))
            elif self.observed_at > datetime.now(UTC) + _AHEAD:
                found.append(Problem("observed_at", f"is in the future; got {self.observed_at.isoformat()}"))
        return found


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a report.

    Attributes:
        outcome: written down, or a repeat that says nothing new.
        known: whether the log holds the request already; if not, the price waits for it.
        price: the price that counts now.
    """

    outcome: Literal["recorded", "repeated"]
    known: bool
    price: float


@dataclass(frozen=True, slots=True)
class Labelled:
    """A logged estimate with the price that was paid."""

    entry: Entry
    price: float
    observed_at: datetime


class Feedback:
    """The reported sale prices in the store of the prediction log."""

    def __init__(self, store: PredictionLogStore) -> None:
        """Keep prices in ``store``, which may be in use by other threads."""
        self._store = store

    def record(self, report: Report) -> Receipt:
        """Return what became of the report; late, early and repeated ones are welcome.

        The price with the latest ``observed_at`` counts, of equal ones the latest received; all are kept.
        Without ``observed_at`` a repeat of the price that counts is not written again.

        Raises:
            RequestRefused: something is wrong with it, or the logged request has no such row.
            StoreUnavailable: it could not be written; report it again.
        """
        if problems := report.problems():
            raise refused(problems)
        rows = self._rows(report.request_id)
        if report.row >= PART_ROWS and report.row not in rows:  # of a table, which is logged in parts
            part = part_id(report.request_id, report.row)
            if (of_part := self._rows(part)) or not rows:
                rows, report = of_part, replace(report, request_id=part, row=row_in_part(report.row))
        if rows and report.row not in rows:
            raise refused([Problem("row", f"the log holds no row {report.row} of this request")])
        now = microseconds(datetime.now(UTC))
        observed = now if report.observed_at is None else microseconds(report.observed_at)
        price, key = float(report.price), (report.request_id, report.row)
        with self._store.transaction() as execute:
            found = execute(f"{_WINNER} LIMIT 1", key).fetchall()
            if found and report.observed_at is None and found[0][0] == price:
                return Receipt("repeated", bool(rows), price)
            written = execute(_INSERT, (*key, price, observed, now)).rowcount
            winner = execute(f"{_WINNER} LIMIT 1", key).fetchall()[0][0]
        return Receipt("recorded" if written == 1 else "repeated", bool(rows), winner)

    def _rows(self, request_id: str) -> set[int]:
        return {entry.row for entry in self._store.rows(request_id)}

    def prices(self, request_id: str, row: int = 0) -> tuple[float, ...]:
        """Return every price reported for a row, the one that counts first."""
        return tuple(found[0] for found in self._store.read(_WINNER, (request_id, row)))

    def orphans(self) -> int:
        """Return how many rows have a price and no answer in the log."""
        found = self._store.read(
            "SELECT COUNT(*) FROM (SELECT DISTINCT request_id, row_number FROM hedonic_feedback f WHERE NOT "
            "EXISTS (SELECT 1 FROM hedonic_answered a WHERE a.request_id = f.request_id)) o"
        )
        return int(found[0][0])

    def labelled(
        self,
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        dataset: str | None = None,
        role: Role = "served",
    ) -> Iterator[Labelled]:
        """Yield the rows answered from ``start`` until before ``end`` whose price is known, oldest first."""
        sold = "request_id IN (SELECT request_id FROM hedonic_feedback)"
        page: list[Answered] = []
        for _, answered in self._store.answered(start, end, dataset=dataset, role=role, where=sold):
            page.append(answered)
            if len(page) == PAGE:
                yield from self._join(page)
                page = []
        yield from self._join(page)

    def _join(self, page: list[Answered]) -> Iterator[Labelled]:
        if not page:
            return
        marks = ", ".join("?" * len(page))
        query = f"{_PRICES} WHERE request_id IN ({marks}) ORDER BY observed_us, seq"
        prices: dict[tuple[str, int], tuple[float, int]] = {}
        for request_id, row, price, observed in self._store.read(query, [one.request_id for one in page]):
            prices[request_id, row] = (price, observed)  # the latest comes last and stays
        for answered in page:
            for entry in entries(answered):
                if (entry.request_id, entry.row) in prices:
                    price, observed = prices[entry.request_id, entry.row]
                    yield Labelled(entry, price, moment(observed))


_PRICES = "SELECT request_id, row_number, price, observed_us FROM hedonic_feedback"
_WINNER = (
    "SELECT price FROM hedonic_feedback WHERE request_id = ? AND row_number = ? "
    "ORDER BY observed_us DESC, seq DESC"
)
_INSERT = (
    "INSERT INTO hedonic_feedback (request_id, row_number, price, observed_us, received_us) "
    "VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
)


def _whole(value: Any) -> Any:
    """Return 3 for 3.0, which is the same number in JSON (see ``NumberField``), and all else as it is."""
    return int(value) if type(value) is float and value.is_integer() else value


def _moment(text: Any) -> datetime | None:
    """Return a date or a time with its zone as a moment; a date is its first one in UTC."""
    if type(text) is not str:
        return None
    try:
        if len(text) == len("2015-05-27"):
            return datetime.combine(date.fromisoformat(text), time(), UTC)
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else None
