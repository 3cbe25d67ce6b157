"""The history's store: what SQLite and Postgres are told, so that a record is only ever added."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, MetaData, create_engine, event, text
from sqlalchemy.engine import URL, Engine

from hedonic.sqlite_file import write_ahead

if TYPE_CHECKING:
    import sqlite3

BUSY_TIMEOUT_S = 60.0
_ADVISORY_LOCK = 0x4ED0_41C5

_SQLITE = (
    """CREATE TRIGGER IF NOT EXISTS hedonic_history_no_update BEFORE UPDATE ON hedonic_history
    BEGIN SELECT RAISE(ABORT, 'the history is append-only: no record is ever changed'); END""",
    """CREATE TRIGGER IF NOT EXISTS hedonic_history_no_delete BEFORE DELETE ON hedonic_history
    BEGIN SELECT RAISE(ABORT, 'the history is append-only: no record is ever deleted'); END""",
    # INSERT OR REPLACE deletes without firing the trigger above, so a used number is refused here.
    """CREATE TRIGGER IF NOT EXISTS hedonic_history_next_only BEFORE INSERT ON hedonic_history
    WHEN NEW.seq <> (SELECT COALESCE(MAX(seq), 0) + 1 FROM hedonic_history)
    BEGIN SELECT RAISE(ABORT, 'the history is append-only: a record is added at its end'); END""",
    """CREATE TRIGGER IF NOT EXISTS hedonic_history_environment_no_update
    BEFORE UPDATE ON hedonic_history_environment
    BEGIN SELECT RAISE(ABORT, 'a history stays in the environment that began it'); END""",
    """CREATE TRIGGER IF NOT EXISTS hedonic_history_environment_no_delete
    BEFORE DELETE ON hedonic_history_environment
    BEGIN SELECT RAISE(ABORT, 'a history stays in the environment that began it'); END""",
)

_POSTGRES = (
    """CREATE OR REPLACE FUNCTION hedonic_history_refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'the history is append-only: no record is ever changed or deleted'; END $$""",
    """CREATE OR REPLACE TRIGGER hedonic_history_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON hedonic_history
    FOR EACH STATEMENT EXECUTE FUNCTION hedonic_history_refuse()""",
    """CREATE OR REPLACE FUNCTION hedonic_history_next() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN
        IF NEW.seq <> (SELECT COALESCE(MAX(seq), 0) + 1 FROM hedonic_history) THEN
            RAISE EXCEPTION 'the history is append-only: a record is added at its end';
        END IF;
        RETURN NEW;
    END $$""",
    """CREATE OR REPLACE TRIGGER hedonic_history_next_only BEFORE INSERT ON hedonic_history
    FOR EACH ROW EXECUTE FUNCTION hedonic_history_next()""",
    """CREATE OR REPLACE FUNCTION hedonic_history_environment_refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'a history stays in the environment that began it'; END $$""",
    """CREATE OR REPLACE TRIGGER hedonic_history_environment_stays
    BEFORE UPDATE OR DELETE OR TRUNCATE ON hedonic_history_environment
    FOR EACH STATEMENT EXECUTE FUNCTION hedonic_history_environment_refuse()""",
)


def install(connection: Connection, metadata: MetaData) -> None:
    """Create the tables and the triggers that refuse every change, where they are missing."""
    metadata.create_all(connection)
    for statement in _POSTGRES if connection.dialect.name == "postgresql" else _SQLITE:
        connection.execute(text(statement))


def lock_for_writing(connection: Connection) -> None:
    """Make this transaction the only writer until it ends (SQLite: BEGIN IMMEDIATE did)."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})


def open_sqlite(url: URL) -> Engine:
    """Return an engine on SQLite: write-ahead log, full sync, writers one at a time from BEGIN on."""
    if url.database and url.database != ":memory:":
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S})
    event.listen(engine, "connect", _on_connect)
    event.listen(engine, "begin", _on_begin)
    return engine


def _on_connect(connection: sqlite3.Connection, _: Any) -> None:
    connection.isolation_level = None  # sqlite3 begins nothing by itself; _on_begin does
    write_ahead(connection, BUSY_TIMEOUT_S)
    connection.execute("PRAGMA synchronous = FULL")


def _on_begin(connection: Connection) -> None:
    write = connection.get_execution_options().get("hedonic_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
