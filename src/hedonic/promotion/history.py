"""The history: every verdict and promotion, append-only and hash-chained; it says who is champion."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Final

from sqlalchemy import Column, Connection, Integer, MetaData, Row, String, Table, Text, create_engine, select
from sqlalchemy.engine import Engine, make_url
from sqlalchemy.exc import SQLAlchemyError

from hedonic.errors import HedonicError, UserError
from hedonic.promotion.history_schema import install, lock_for_writing, open_sqlite
from hedonic.promotion.record import CROWNING, FORMAT_VERSION, GENESIS, JUDGED, Entry, Record, parse_record

__all__ = ["ANYONE", "Entry", "History", "Record", "StaleChampion"]

_metadata = MetaData()
# ``body`` is the record's canonical JSON and the only thing read back; the columns beside it are
# there to be queried, and verify_chain() compares them with it.
_records = Table(
    "hedonic_history",
    _metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("dataset", String(63), nullable=False, index=True),
    Column("kind", String(16), nullable=False),
    Column("recipe", String(64), nullable=True, index=True),
    Column("body", Text, nullable=False),
    Column("previous", String(64), nullable=False, unique=True),
    Column("hash", String(64), nullable=False, unique=True),
)


class StaleChampion(HedonicError):
    """The champion is no longer the one that the candidate was judged against."""


class Anyone(Enum):
    """Says that an entry does not depend on who is champion."""

    ANYONE = "anyone"


ANYONE: Final = Anyone.ANYONE


class History:
    """An append-only, hash-chained table in one store: SQLite by default, Postgres by URL."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._engine = _engine(url)
        with self._transaction(write=True) as connection:
            install(connection, _metadata)

    def append(self, entry: Entry, *, expected_champion: str | Anyone | None = ANYONE) -> Record:
        """Return the record made of ``entry``, committed in one transaction.

        Args:
            entry: what happened.
            expected_champion: the release that was champion when the entry was decided, None for
                none. An entry that changes the champion must say it.

        Raises:
            StaleChampion: the champion is another one by now; nothing was written.
            ValueError: the entry changes the champion, and lacks a release or an expectation.
        """
        if entry.kind in CROWNING and (entry.release is None or isinstance(expected_champion, Anyone)):
            raise ValueError(f"a record of kind {entry.kind} needs a release and expected_champion")
        with self._transaction(write=True) as connection:
            champion = _champion(connection, entry.dataset)
            held = champion.release if champion else None
            if not isinstance(expected_champion, Anyone) and held != expected_champion:
                raise StaleChampion(
                    f"{entry.dataset}: the champion is {held or 'none'}, but the candidate was judged "
                    f"against {expected_champion or 'none'}. Nothing was changed; run again to judge it "
                    "against the new one."
                )
            last = _last(connection)
            content = entry.model_dump(mode="json") | {
                "format_version": FORMAT_VERSION,
                "seq": last.seq + 1 if last else 1,
                "at": datetime.now(UTC).isoformat(timespec="microseconds"),
                "previous": last.hash if last else GENESIS,
            }
            body = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
            record = parse_record(body)
            connection.execute(
                _records.insert().values(
                    body=body,
                    **record.model_dump(include={"seq", "dataset", "kind", "recipe", "previous", "hash"}),
                )
            )
        return record

    def champion(self, dataset: str) -> Record | None:
        """Return the record that made the present champion, None when there was none yet."""
        with self._transaction() as connection:
            return _champion(connection, dataset)

    def find_recipe(self, dataset: str, recipe: str) -> Record | None:
        """Return the last verdict on a candidate of the very same recipe, None when it is new."""
        query = select(_records).where(_records.c.recipe == recipe, _records.c.kind.in_(JUDGED))
        with self._transaction() as connection:
            return _first(connection, query.where(_records.c.dataset == dataset))

    def records(self, dataset: str | None = None) -> tuple[Record, ...]:
        """Return the records of a data set, or of all, oldest first."""
        query = select(_records).order_by(_records.c.seq)
        if dataset is not None:
            query = query.where(_records.c.dataset == dataset)
        with self._transaction() as connection:
            return tuple(parse_record(row.body) for row in connection.execute(query))

    def head(self) -> Record | None:
        """Return the last record of all: its hash vouches for every record before it."""
        with self._transaction() as connection:
            return _last(connection)

    def verify_chain(self) -> tuple[str, ...]:
        """Return what is wrong with the chain, a sentence a record; empty when it is whole."""
        problems: list[str] = []
        previous, seq = GENESIS, 0
        with self._transaction() as connection:
            for row in connection.execute(select(_records).order_by(_records.c.seq)):
                seq += 1
                problems += [f"record {row.seq}: {what}" for what in _faults(row, seq, previous)]
                seq, previous = row.seq, row.hash
        return tuple(problems)

    def close(self) -> None:
        """Close the store's connections."""
        self._engine.dispose()

    @contextmanager
    def _transaction(self, *, write: bool = False) -> Iterator[Connection]:
        try:
            with (
                self._engine.connect().execution_options(hedonic_write=write) as connection,
                connection.begin(),
            ):
                if write:
                    lock_for_writing(connection)
                yield connection
        except SQLAlchemyError as err:
            where = make_url(self.url).render_as_string(hide_password=True)
            told = str(getattr(err, "orig", None) or err)
            raise HedonicError(
                f"history {where}: {told}. Nothing was written. Check HEDONIC_HISTORY_URL, that the file can "
                "be written and that its disk is not full."
            ) from err


def _engine(url: str) -> Engine:
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() == "sqlite":
            return open_sqlite(parsed)
        return create_engine(parsed, pool_pre_ping=True)
    except (SQLAlchemyError, ModuleNotFoundError) as err:
        raise UserError(
            f"HEDONIC_HISTORY_URL: cannot open a store with this URL: {err}. Give sqlite:///path or "
            "postgresql+<driver>://user@host/database, with the driver installed."
        ) from err


def _champion(connection: Connection, dataset: str) -> Record | None:
    query = select(_records).where(_records.c.dataset == dataset, _records.c.kind.in_(CROWNING))
    return _first(connection, query)


def _last(connection: Connection) -> Record | None:
    return _first(connection, select(_records))


def _first(connection: Connection, query: Any) -> Record | None:
    row = connection.execute(query.order_by(_records.c.seq.desc()).limit(1)).first()
    return parse_record(row.body) if row else None


def _faults(row: Row[Any], seq: int, previous: str) -> Iterator[str]:
    if row.seq != seq:
        yield f"expected record {seq}: {row.seq - seq} missing before it"
    if hashlib.sha256(row.body.encode()).hexdigest() != row.hash:
        yield "its content was changed: the hash does not match"
    if row.previous != previous:
        yield "does not continue the record before it"
    try:
        content = json.loads(row.body)
    except ValueError:
        yield "its content is not JSON"
        return
    for name in ("seq", "dataset", "kind", "recipe", "previous"):
        if content.get(name) != getattr(row, name):
            yield f"its column {name} says {getattr(row, name)!r}, its content {content.get(name)!r}"
