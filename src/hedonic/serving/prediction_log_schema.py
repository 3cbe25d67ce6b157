"""The tables of the prediction log, and the connection to them: SQLite, or Postgres by URL."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, cast
from urllib.parse import urlsplit, urlunsplit

from hedonic.errors import UserError
from hedonic.sqlite_file import write_ahead

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
    """CREATE OR REPLACE VIEW hedonic_answer_rows AS SELECT a.request_id, p.number - 1 AS row_number,
    to_char(to_timestamp(a.at_us / 1e6) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS at, a.role,
    a.dataset, a.release, a.route, a.latency_ms, (p.value ->> 'estimate')::float8 AS estimate,
    (p.value #>> '{interval_80,0}')::float8 AS low_80, (p.value #>> '{interval_80,1}')::float8 AS high_80,
    (p.value #>> '{interval_90,0}')::float8 AS low_90, (p.value #>> '{interval_90,1}')::float8 AS high_90,
    p.value #>> '{confidence,grade}' AS grade, p.value ->> 'warnings' AS warnings,
    (convert_from(a.request, 'UTF8')::json -> 'instances' -> (p.number - 1)::int)::text AS inputs
    FROM hedonic_answered a, json_array_elements(convert_from(a.response, 'UTF8')::json -> 'predictions')
    WITH ORDINALITY AS p (value, number) WHERE json_typeof(p.value) = 'object'""",
)
_ADVISORY_LOCK = 0x4ED0_10C5
_STATEMENT_MS = 10_000
_CONNECT_S = 5
_COMMIT_TO_DISK = (
    "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
)
_VERSION = "SELECT version FROM hedonic_log_format"
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


Execute = Callable[..., Cursor]
"""What runs one statement of a transaction."""


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
    scrub: tuple[str, ...]

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
        return _postgres()
    path = url if not separator else rest.removeprefix("/") if backend == "sqlite" else ""
    if not path or path == ":memory:":
        raise UserError(
            f"{_SETTING}: {shown(url) or 'an empty text'} names no store that keeps predictions. Give a "
            "path, sqlite:///path, or postgresql://user@host/database."
        )
    return SQLITE


def _postgres() -> Dialect:
    import psycopg  # not at the top: a service that logs to SQLite needs neither its time nor its memory

    return Dialect(
        connect=_connect_postgres,
        errors=(OSError, psycopg.Error),
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
        scrub=(
            "SET statement_timeout = 0",
            "VACUUM hedonic_answered, hedonic_feedback",
            "RESET statement_timeout",
        ),
    )


def _connect_postgres(url: str, busy_s: float) -> Connection:
    import psycopg

    timeout_ms = max(1, round(busy_s * 1000))
    connection = psycopg.connect(
        f"postgresql://{url.partition('://')[2]}",
        autocommit=True,
        connect_timeout=_CONNECT_S,
        tcp_user_timeout=timeout_ms + _STATEMENT_MS,  # a host that vanished is noticed, not waited for
        fallback_application_name="hedonic prediction log",
        options=f"-c lock_timeout={timeout_ms} -c statement_timeout={timeout_ms + _STATEMENT_MS}",
    )
    connection.execute(_COMMIT_TO_DISK)
    return cast("Connection", connection)


def is_current(connection: Connection, dialect: Dialect) -> bool:
    """Return whether the tables are there in the present format: then opening needs no write lock."""
    try:
        return [tuple(row) for row in connection.execute(_VERSION).fetchall()] == [(FORMAT_VERSION,)]
    except dialect.errors:
        return False


def install(execute: Execute, dialect: Dialect, where: str) -> None:
    """Make the tables, or bring those of an older format to the present one."""
    tables = dialect.tables()
    execute(tables[0])
    found = execute(_VERSION).fetchall()
    version = found[0][0] if found else FORMAT_VERSION
    if version > FORMAT_VERSION:
        raise UserError(
            f"prediction log {where}: has format_version {version}, this Hedonic knows up to "
            f"{FORMAT_VERSION}. Upgrade Hedonic, or name another store in HEDONIC_PREDICTION_LOG_URL."
        )
    for older in range(version, FORMAT_VERSION):
        for statement in MIGRATIONS[older]:
            execute(statement)
    for statement in tables[1:]:
        execute(statement)
    if not found or version < FORMAT_VERSION:
        execute("DELETE FROM hedonic_log_format")
        execute("INSERT INTO hedonic_log_format VALUES (?)", (FORMAT_VERSION,))


def shown(url: str) -> str:
    """Return the URL without its password."""
    if "://" not in url:
        return url
    parts = urlsplit(url)
    name, _, host = parts.netloc.rpartition("@")
    user = name.partition(":")[0]
    return urlunsplit(parts._replace(netloc=f"{user}@{host}" if user else host, query=""))


def file_of(url: str) -> Path:
    """Return the file of an SQLite store."""
    return Path(url.partition("://")[2].removeprefix("/") if "://" in url else url)


def _sqlite(url: str, busy_s: float) -> Connection:
    path = file_of(url)
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, timeout=busy_s, isolation_level=None, check_same_thread=False)
    write_ahead(connection, busy_s)
    for pragma in (
        "synchronous = FULL",  # a commit survives a power cut, not only a kill
        "secure_delete = ON",  # what is deleted is overwritten with zeros
        "journal_size_limit = 67108864",
    ):
        connection.execute(f"PRAGMA {pragma}")
    return connection


SQLITE: Final = Dialect(
    connect=_sqlite,
    errors=(OSError, sqlite3.Error),
    types={"serial": "INTEGER PRIMARY KEY", "integer": "INTEGER", "real": "REAL", "bytes": "BLOB"},
    mark="?",
    own=_SQLITE_ONLY,
    begin_install=("BEGIN IMMEDIATE",),
    begin=("BEGIN IMMEDIATE",),
    scrub=("PRAGMA wal_checkpoint(TRUNCATE)",),
)
