"""SQLite files: the switch to the write-ahead log, where readers and a writer do not wait for each other."""

from __future__ import annotations

import sqlite3
import time

_RETRY_S = 0.01


def write_ahead(connection: sqlite3.Connection, busy_s: float) -> None:
    """Switch to the write-ahead log, once in a file's life; SQLite does not wait by itself here.

    Args:
        connection: outside a transaction; a database in memory stays as it is.
        busy_s: how long to wait for other connections.

    Raises:
        sqlite3.OperationalError: another connection was in the way for longer.
    """
    deadline = time.monotonic() + busy_s
    while connection.execute("PRAGMA journal_mode").fetchone()[0] not in ("wal", "memory"):
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_RETRY_S)
