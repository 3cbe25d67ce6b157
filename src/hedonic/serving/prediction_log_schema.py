"""The tables of the prediction log, and the connection to them: SQLite, or Postgres by URL."""

from __future__ import annotations

import importlib
import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import urlsplit, urlunsplit

from hedonic.errors import UserError

FORMAT_VERSION: Final = 1
MIGRATIONS: Final[dict[int, tuple[str, ...]]] = {}
"""What turns a store of a format into the next one, by the format it starts from."""

_TABLES = (
    "CREATE TABLE IF NOT EXISTS hedonic_log_format (version {integer} NOT NULL)",
    """CREATE TABLE IF NOT EXISTS hedonic_answered (seq {serial}, request_id TEXT NOT NULL,
    at_us {integer} NOT NULL, role TEXT NOT NULL, dataset TEXT NOT NULL, release TEXT NOT NULL,
    route TEXT NOT NULL, n_rows {integer} NOT NULL, latency_ms {real} NOT NULL,
    request {bytes} NOT NULL, response {bytes} NOT NULL)""",
    # An answer whose commit was in doubt is written again: the same answer is kept once.
    """CREATE UNIQUE INDEX IF NOT EXISTS hedonic_answered_once
    ON hedonic_answered (request_id, at_us, role)""",
    "CREATE INDEX IF NOT EXISTS hedonic_answered_at ON hedonic_answered (at_us, seq)",
    """CREATE TABLE IF NOT EXISTS hedonic_feedback (seq {serial}, request_id TEXT NOT NULL,
    row_number {integer} NOT NULL, price {real} NOT NULL, observed_us {integer} NOT NULL,
    received_us {integer} NOT NULL, UNIQUE (request_id, row_number, observed_us, price))""",
)
_SQLITE_ONLY = (
    """CREATE TRIGGER IF NOT EXISTS hedonic_answered_no_update BEFORE UPDATE ON hedonic_answered
    BEGIN SELECT RAISE(ABORT, 'the prediction log is append-only: no answer is ever changed'); END""",
    """CREATE TRIGGER IF NOT EXISTS hedonic_feedback_no_update BEFORE UPDATE ON hedonic_feedback
    BEGIN SELECT RAISE(ABORT, 'the prediction log is append-only: no price is ever changed'); END""",
    # For people and dashboards: a line a row. The library reads the JSON itself, where no digit is lost.
    """CREATE VIEW IF NOT EXISTS hedonic_answer_rows AS SELECT a.request_id, p.key AS row_number,
    strftime('%Y-%m-%dT%H:%M:%fZ', a.at_us / 1e6, 'unixepoch') AS at, a.role, a.dataset, a.release,
    a.route, a.latency_ms, json_extract(p.value, '$.estimate') AS estimate,
    json_extract(p.value, '$.interval_80[0]') AS low_80, json_extract(p.value, '$.interval_80[1]') AS high_80,
    json_extract(p.value, '$.interval_90[0]') AS low_90, json_extract(p.value, '$.interval_90[1]') AS high_90,
    json_extract(p.value, '$.confidence.grade') AS grade, json_extract(p.value, '$.warnings') AS warnings,
    json_extract(CAST(a.request AS TEXT), '$.instances[' || p.key || ']') AS inputs
    FROM hedonic_answered a, json_each(CAST(a.response AS TEXT), '$.predictions') p
    WHERE p.type = 'object'""",
)
_POSTGRES_ONLY = (
    """CREATE OR REPLACE FUNCTION hedonic_log_refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'the prediction log is append-only: nothing in it is ever changed'; END $$""",
    """CREATE OR REPLACE TRIGGER hedonic_answered_no_update BEFORE UPDATE ON hedonic_answered
    FOR EACH STATEMENT EXECUTE FUNCTION hedonic_log_refuse()""",
    """CREATE OR REPLACE TRIGGER hedonic_feedback_no_update BEFORE UPDATE ON hedonic_feedback
    FOR EACH STATEMENT EXECUTE FUNCTION hedonic_log_refuse()""",
)
_ADVISORY_LOCK = 0x4ED0_10C5
_STATEMENT_MS = 10_000
_SETTING = "HEDONIC_PREDICTION_LOG_URL"


class Cursor(Protocol):
    """What is used of a cursor of either driver."""

    @property
    def rowcount(self) -> int:
        """Return how many rows a statement changed."""

    @property
    def description(self) -> Any:
        """Return the columns found; None when the statement finds nothing."""

    def fetchall(self) -> list[Any]:
        """Return the rows found."""


class Connection(Protocol):
    """What is used of a connection of either driver."""

    def execute(self, sql: str, values: Sequence[Any] = (), /) -> Cursor:
        """Run a statement."""

    def close(self) -> None:
        """Close it."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """What differs between the two stores; statements are written with ``?`` for a value."""

    connect: Callable[[str, float], Connection]
    errors: tuple[type[Exception], ...]
    types: dict[str, str]
    mark: str
    own: tuple[str, ...]
    begin_install: tuple[str, ...]
    begin: tuple[str, ...]
    scrub: str

    def sql(self, statement: str) -> str:
        """Return the statement with this store's marks for values."""
        return statement.replace("?", self.mark) if self.mark != "?" else statement

    def tables(self) -> tuple[str, ...]:
        """Return the statements that make every table of the present format, the format's first."""
        return (*(table.format_map(self.types) for table in _TABLES), *self.own)


def dialect_of(url: str) -> Dialect:
    """Return how to speak to the store at ``url``: a path, sqlite:///path, postgresql://user@host/database.

    Raises:
        UserError: not such a URL, or its driver is not installed.
    """
    scheme, separator, rest = url.partition("://")
    backend = scheme.partition("+")[0]
    if backend in ("postgresql", "postgres") and separator:
        return postgres(_driver(url))
    path = url if not separator else rest.removeprefix("/") if backend == "sqlite" else ""
    if not path or path == ":memory:":
        raise UserError(
            f"{_SETTING}: {shown(url) or 'an empty text'} names no store that keeps predictions. Give a "
            "path, sqlite:///path, or postgresql://user@host/database."
        )
    return SQLITE


def postgres(driver: Any) -> Dialect:
    """Return how to speak to Postgres through ``driver``, which is psycopg."""

    def connect(url: str, busy_s: float) -> Connection:
        timeout_ms = max(1, round(busy_s * 1000))
        connection: Connection = driver.connect(
            f"postgresql://{url.partition('://')[2]}",
            autocommit=True,
            connect_timeout=5,
            options=f"-c lock_timeout={timeout_ms} -c statement_timeout={timeout_ms + _STATEMENT_MS}",
        )
        return connection

    return Dialect(
        connect=connect,
        errors=(OSError, driver.Error),
        types={
            "serial": "BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY",
            "integer": "BIGINT",
            "real": "DOUBLE PRECISION",
            "bytes": "BYTEA",
        },
        mark="%s",
        own=_POSTGRES_ONLY,
        begin_install=("BEGIN", f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})"),
        begin=("BEGIN",),
        scrub="VACUUM hedonic_answered, hedonic_feedback",
    )


def shown(url: str) -> str:
    """Return the URL without its password."""
    if "://" not in url:
        return url
    parts = urlsplit(url)
    name, _, host = parts.netloc.rpartition("@")
    user = name.partition(":")[0]
    return urlunsplit(parts._replace(netloc=f"{user}@{host}" if user else host, query=""))


def _sqlite(url: str, busy_s: float) -> Connection:
    path = Path(url.partition("://")[2].removeprefix("/") if "://" in url else url)
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, timeout=busy_s, isolation_level=None, check_same_thread=False)
    _write_ahead(connection, busy_s)
    for pragma in (
        "synchronous = FULL",  # a commit survives a power cut, not only a kill
        "secure_delete = ON",  # what is deleted is overwritten with zeros
        "journal_size_limit = 67108864",
    ):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def _write_ahead(connection: sqlite3.Connection, busy_s: float) -> None:
    """Switch to the write-ahead log, once in a store's life; SQLite does not wait by itself here."""
    deadline = time.monotonic() + busy_s
    while connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _driver(url: str) -> Any:
    try:
        return importlib.import_module("psycopg")
    except ModuleNotFoundError as err:
        raise UserError(
            f"{_SETTING}: {shown(url)} needs the driver psycopg, which is not installed. Install it where "
            "the service runs (`uv pip install 'psycopg[binary]>=3.2,<4'`), or unset it to use SQLite."
        ) from err


SQLITE: Final = Dialect(
    connect=_sqlite,
    errors=(OSError, sqlite3.Error),
    types={"serial": "INTEGER PRIMARY KEY", "integer": "INTEGER", "real": "REAL", "bytes": "BLOB"},
    mark="?",
    own=_SQLITE_ONLY,
    begin_install=("BEGIN IMMEDIATE",),
    begin=("BEGIN IMMEDIATE",),
    scrub="PRAGMA wal_checkpoint(TRUNCATE)",
)
