"""The store of the prediction log: batches of answers in, rows out; nothing in it is ever changed."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Any

from hedonic.errors import HedonicError
from hedonic.serving.prediction_log_entry import Answered, Entry, Role, entries, microseconds
from hedonic.serving.prediction_log_schema import (
    SQLITE,
    Connection,
    Cursor,
    Execute,
    dialect_of,
    file_of,
    install,
    is_current,
    shown,
)

COLUMNS = ", ".join(Answered._fields)

PAGE = 200
"""Answers read at a time: no reader holds a transaction open while its caller works."""

# One statement for many rows: each statement hands the interpreter's lock over and back, and a thread
# that answers requests waits for it.
_CHUNK = 64
_SCRUB_S = 10.0


class StoreUnavailable(HedonicError):
    """The store did not take or give what was asked, now; it may a moment later."""


class PredictionLogStore:
    """The tables of the log in one store, for any thread; a reader, a command, or the writing thread."""

    def __init__(self, url: str, busy_s: float = 10.0, *, at_once: bool = True) -> None:
        """Open the store, making or migrating its tables.

        Args:
            url: a path, ``sqlite:///path``, or ``postgresql://user@host/database``.
            busy_s: how long one statement waits for another writer.
            at_once: connect now; otherwise at the first use, and a store that is away now is no error yet.

        Raises:
            UserError: the URL names no store, or one of a newer format.
            StoreUnavailable: it cannot be opened.
        """
        self.url = url
        self._busy_s = busy_s
        self._lock = threading.RLock()
        self._dialect = dialect_of(url)
        self._connection: Connection | None = None
        if at_once:
            with self._lock, self._guarded():
                self._connected()

    @property
    def is_file(self) -> bool:
        """Return whether the store is a file of this machine, and not a server that may be away."""
        return self._dialect is SQLITE

    @property
    def file(self) -> Path:
        """Return the file, of a store that is one."""
        return file_of(self.url)

    def append(self, batch: Sequence[Answered]) -> None:
        """Write the answers in one transaction; when this returns they survive a kill and a power cut."""
        with self.transaction() as execute:
            for start in range(0, len(batch) - len(batch) % _CHUNK, _CHUNK):
                execute(_INSERT_CHUNK, tuple(chain.from_iterable(batch[start : start + _CHUNK])))
            for answered in batch[len(batch) - len(batch) % _CHUNK :]:
                execute(_INSERT, answered)

    def rows(self, request_id: str) -> tuple[Entry, ...]:
        """Return the rows of a request, the served ones first; empty when it is not known."""
        found = self.read(
            f"SELECT {COLUMNS} FROM hedonic_answered WHERE request_id = ? ORDER BY role, seq",  # noqa: S608
            (request_id,),
        )
        return tuple(entry for row in found for entry in entries(Answered(*row)))

    def between(
        self,
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        dataset: str | None = None,
        role: Role | None = "served",
    ) -> Iterator[Entry]:
        """Yield the rows answered from ``start`` until before ``end``, oldest first."""
        for _, answered in self.answered(start, end, dataset=dataset, role=role):
            yield from entries(answered)

    def answered(
        self,
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        dataset: str | None = None,
        role: Role | None = None,
        where: str = "",
    ) -> Iterator[tuple[int, Answered]]:
        """Yield answered requests with their sequence numbers, oldest first.

        Args:
            start: from this time on.
            end: until before this time.
            dataset: of this data set alone.
            role: of this role alone.
            where: one more condition, in SQL, without values.
        """
        wanted = {"dataset": dataset, "role": role}
        given = {name: value for name, value in wanted.items() if value is not None}
        conditions = [f"{name} = ?" for name in given] + ([where] if where else [])
        query = (
            f"SELECT seq, {COLUMNS} FROM hedonic_answered WHERE (at_us, seq) > (?, ?) AND at_us < ? "  # noqa: S608
            f"{''.join(f'AND {condition} ' for condition in conditions)}ORDER BY at_us, seq LIMIT {PAGE}"
        )
        after = (microseconds(start) - 1 if start else -1, 2**62)
        until = microseconds(end) if end else 2**62
        while page := self.read(query, (*after, until, *given.values())):
            for seq, *values in page:
                yield seq, Answered(*values)
            after = (page[-1][2], page[-1][0])

    def read(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        """Return what a query finds."""
        with self._lock, self._guarded():
            cursor = self._connected().execute(self._dialect.sql(sql), values)
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def transaction(self) -> Iterator[Execute]:
        """Yield a function that runs statements of one write transaction, committed at the end.

        Raises:
            StoreUnavailable: the store refused; nothing was written.
        """
        begin = self._dialect.begin
        with self._lock, self._guarded(), self._transaction(self._connected(), begin) as execute:
            yield execute

    def scrub(self, patience_s: float = _SCRUB_S) -> None:
        """Make what was deleted unreadable: in SQLite's files at once, in Postgres free to be overwritten.

        Postgres keeps old bytes in pages that VACUUM frees, in its own write-ahead log and in backups,
        until they are overwritten or expire: no statement can promise more.

        Args:
            patience_s: how long to wait for readers.

        Raises:
            StoreUnavailable: readers keep the write-ahead log in use; the deletion itself stands.
        """
        deadline = time.monotonic() + patience_s
        for statement in self._dialect.scrub:
            while any(row[0] for row in self.read(statement)):
                if time.monotonic() > deadline:
                    raise StoreUnavailable(
                        f"prediction log {shown(self.url)}: the rows are deleted, but another process keeps "
                        "the write-ahead log in use, so their bytes are still in it. Run the command again."
                    )
                time.sleep(0.02)

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._disconnect()

    def _connected(self) -> Connection:
        if self._connection is None:
            connection = self._dialect.connect(self.url, self._busy_s)
            try:
                if not is_current(connection, self._dialect):
                    with self._transaction(connection, self._dialect.begin_install) as execute:
                        install(execute, self._dialect, shown(self.url))
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    @contextmanager
    def _transaction(self, connection: Connection, begin: Sequence[str]) -> Iterator[Execute]:
        def execute(sql: str, values: Sequence[Any] = ()) -> Cursor:
            return connection.execute(self._dialect.sql(sql), values)

        for statement in begin:
            execute(statement)
        try:
            yield execute
            execute("COMMIT")
        except BaseException:
            with contextlib.suppress(*self._dialect.errors):
                execute("ROLLBACK")
            raise

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Turn a driver's error into ours; a connection that was lost is made again next time."""
        try:
            yield
        except self._dialect.errors as err:
            if self._dialect is not SQLITE:
                self._disconnect()
            told = " ".join(str(err).split()).rstrip(".")
            raise StoreUnavailable(
                f"prediction log {shown(self.url)}: {told}. Check HEDONIC_PREDICTION_LOG_URL, "
                "that the store can be written, that nothing holds it locked and that its disk is not full."
            ) from err

    def _disconnect(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(*self._dialect.errors):
                self._connection.close()
            self._connection = None


def _insert(n_rows: int) -> str:
    marks = f"({', '.join('?' * len(Answered._fields))})"
    rows = ", ".join([marks] * n_rows)
    return f"INSERT INTO hedonic_answered ({COLUMNS}) VALUES {rows} ON CONFLICT DO NOTHING"  # noqa: S608


_INSERT, _INSERT_CHUNK = _insert(1), _insert(_CHUNK)
