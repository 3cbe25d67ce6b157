"""The history: every verdict and promotion, append-only and hash-chained; it says who is champion."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Column, Connection, Integer, MetaData, Row, String, Table, Text, create_engine, select
from sqlalchemy.engine import Engine, make_url
from sqlalchemy.exc import SQLAlchemyError

from hedonic.errors import HedonicError, UserError
from hedonic.promotion.history_schema import install, lock_for_writing, open_sqlite
from hedonic.promotion.record import CROWNING, FORMAT_VERSION, GENESIS, JUDGED, Entry, Record, parse_record
from hedonic.promotion.reign import Reign, reign_at
from hedonic.promotion.standing import ALLOWED, Standing, require_allowed, standings
from hedonic.settings import DEFAULT_ENVIRONMENT, Environment, Settings

__all__ = ["ANYONE", "Entry", "History", "Record", "StaleChampion", "WrongEnvironment", "open_history"]

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


# One row, written with the first record. A history that was begun before there were environments
# has none, and belongs to the default one.
_environment = Table(
    "hedonic_history_environment",
    _metadata,
    Column("only", Integer, primary_key=True, autoincrement=False),
    Column("environment", String(16), nullable=False),
)


class StaleChampion(HedonicError):
    """The champion is no longer the one that the candidate was judged against."""


class WrongEnvironment(UserError):
    """The history belongs to another environment than this process."""


class Anyone(Enum):
    """Says that an entry does not depend on who is champion."""

    ANYONE = "anyone"


ANYONE: Final = Anyone.ANYONE


class History:
    """An append-only, hash-chained table in one store: SQLite by default, Postgres by URL."""

    def __init__(self, url: str, environment: Environment = DEFAULT_ENVIRONMENT) -> None:
        """Open the store, which is made where there is none.

        Args:
            url: SQLAlchemy's, of the store.
            environment: of this process, which writes to the history of its own environment alone.
        """
        self.url = url
        self._environment = environment
        self._engine = _engine(url)
        with self._transaction(write=True) as connection:
            install(connection, _metadata)

    def append(self, entry: Entry, *, expected_champion: str | Anyone | None = ANYONE) -> Record:
        """Return the record made of ``entry``, committed in one transaction.

        A flow run has one verdict: where it was recorded already, that record is returned and nothing is
        written.

        Args:
            entry: what happened.
            expected_champion: the release that was champion when the entry was decided, None for
                none. An entry that changes the champion must say it.

        Raises:
            StaleChampion: the champion is another one by now; nothing was written.
            IllegalTransition: the entry does not fit the standing of its release; nothing was written.
            WrongEnvironment: the history is not of this process's environment; nothing was written.
            ValueError: the entry changes the champion, and lacks a release or an expectation.
        """
        if entry.kind in CROWNING and (entry.release is None or isinstance(expected_champion, Anyone)):
            raise ValueError(f"a record of kind {entry.kind} needs a release and expected_champion")
        with self._transaction(write=True) as connection:
            last = _last(connection)
            self._require_environment(connection, last)
            if (known := _verdict(connection, entry)) is not None:
                return known
            champion = _champion(connection, entry.dataset)
            held = champion.release if champion else None
            if not isinstance(expected_champion, Anyone) and held != expected_champion:
                raise StaleChampion(
                    f"{entry.dataset}: the champion is {held or 'none'}, but the candidate was judged "
                    f"against {expected_champion or 'none'}. Nothing was changed; run again to judge it "
                    "against the new one."
                )
            if entry.kind in ALLOWED:
                require_allowed(entry, _records_of(connection, entry.dataset))
            content = entry.model_dump(mode="json") | {
                "format_version": FORMAT_VERSION,
                "seq": last.seq + 1 if last else 1,
                "at": _now(last),
                "incumbent": held,
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

    def champion_at(self, dataset: str, time: datetime) -> Reign | None:
        """Return the reign that a time (with its zone) falls into, None when there was no champion yet."""
        return reign_at(self.records(dataset), time)

    def standings(self, dataset: str) -> dict[str, Standing]:
        """Return the standing of every release and judged model of a data set, by digest."""
        return standings(self.records(dataset))

    def standing(self, dataset: str, digest: str) -> Standing:
        """Return the standing of a release or judged model; one that is not known is a candidate."""
        return self.standings(dataset).get(digest, "candidate")

    def parked(self, dataset: str) -> tuple[Record, ...]:
        """Return the verdicts that wait for a person, the latest last: one a release."""
        records = self.records(dataset)
        known = standings(records)
        waiting = {
            r.release: r for r in records if r.kind == "parked" and known.get(r.release or "") == "challenger"
        }
        return tuple(sorted(waiting.values(), key=lambda record: record.seq))

    def find_recipe(self, dataset: str, recipe: str) -> Record | None:
        """Return the last verdict on a candidate of the very same recipe that still holds, None for none.

        What was parked and not decided before the champion moved is to be judged again; so is what lost to a
        champion that was left by a roll-back since: it may be better than the one before.
        """
        of_dataset = select(_records).where(_records.c.dataset == dataset)
        query = of_dataset.where(_records.c.recipe == recipe, _records.c.kind.in_(JUDGED))
        with self._transaction() as connection:
            found = _first(connection, query)
            if found is not None and found.kind in ("kept", "refused"):
                since = of_dataset.where(_records.c.kind == "rolled_back", _records.c.seq > found.seq)
                return None if _first(connection, since) else found
        if found is not None and found.kind == "parked" and found.release is not None:
            return None if self.standing(dataset, found.release) == "candidate" else found
        return found

    def records(self, dataset: str | None = None) -> tuple[Record, ...]:
        """Return the records of a data set, or of all, oldest first."""
        with self._transaction() as connection:
            return _records_of(connection, dataset)

    def head(self) -> Record | None:
        """Return the last record of all: its hash vouches for every record before it."""
        with self._transaction() as connection:
            return _last(connection)

    def at(self, seq: int) -> Record | None:
        """Return the record of that number, None when there is none."""
        with self._transaction() as connection:
            return _first(connection, select(_records).where(_records.c.seq == seq))

    def environment(self) -> Environment | None:
        """Return the environment that the history is of; None before its first record."""
        with self._transaction() as connection:
            return self._owner(connection, _last(connection))

    def require_environment(self) -> None:
        """Refuse to go on where nothing could be written in the end.

        Raises:
            WrongEnvironment: the history is not of this process's environment.
        """
        with self._transaction() as connection:
            self._refuse_other(self._owner(connection, _last(connection)))

    def verify_chain(self) -> tuple[str, ...]:
        """Return what is wrong with the chain, a sentence a record; empty when it is whole."""
        with self._transaction() as connection:
            return tuple(problem for _, problems in _verified(connection) for problem in problems)

    def verified_records(self, dataset: str) -> tuple[tuple[Record, ...], tuple[str, ...]]:
        """Return the records of a data set, oldest first, and what is wrong with the chain of all.

        They are read in one pass; of a chain that is not whole none is returned.
        """
        bodies: list[str] = []
        problems: list[str] = []
        with self._transaction() as connection:
            for row, found in _verified(connection):
                problems += found
                if row.dataset == dataset:
                    bodies.append(row.body)
        return () if problems else tuple(map(parse_record, bodies)), tuple(problems)

    def close(self) -> None:
        """Close the store's connections."""
        self._engine.dispose()

    def _require_environment(self, connection: Connection, last: Record | None) -> None:
        """Refuse to write for another environment; the first record stamps the history with ours."""
        owner = self._owner(connection, last)
        self._refuse_other(owner)
        if owner is None:
            connection.execute(_environment.insert().values(only=1, environment=self._environment))

    def _owner(self, connection: Connection, last: Record | None) -> Environment | None:
        stamp: Environment | None = connection.execute(select(_environment.c.environment)).scalar()
        return stamp or (DEFAULT_ENVIRONMENT if last else None)

    def _refuse_other(self, owner: Environment | None) -> None:
        if owner not in (None, self._environment):
            raise WrongEnvironment(
                f"history {self._place()}: is that of {owner}, and this process is of {self._environment}. "
                f"Nothing was written. Set HEDONIC_HISTORY_URL (or HEDONIC_HOME) to the history of "
                f"{self._environment}, or HEDONIC_ENVIRONMENT={owner} where this is {owner}."
            )

    def _place(self) -> str:
        return make_url(self.url).render_as_string(hide_password=True)

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
            told = str(getattr(err, "orig", None) or err)
            raise HedonicError(
                f"history {self._place()}: {told}. Nothing was written. Check HEDONIC_HISTORY_URL, that the "
                "file can be written and that its disk is not full."
            ) from err


def is_begun(settings: Settings) -> bool:
    """Return whether there is a history; a store that is a server is taken to have one."""
    url = make_url(settings.history)
    is_file = url.get_backend_name() == "sqlite" and url.database
    return Path(str(url.database)).is_file() if is_file else True


def open_history(settings: Settings) -> History:
    """Return the history of a project, opened for the environment that the settings name."""
    return History(settings.history, settings.environment_name)


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


def _verdict(connection: Connection, entry: Entry) -> Record | None:
    """Return the record of the verdict of the entry's flow run, None when it has none."""
    if entry.kind not in JUDGED or entry.flow_run is None:
        return None
    query = select(_records).where(_records.c.dataset == entry.dataset, _records.c.kind.in_(JUDGED))
    query = query.where(_records.c.body.contains(json.dumps(entry.flow_run), autoescape=True))
    found = (parse_record(row.body) for row in connection.execute(query))
    return next((record for record in found if record.flow_run == entry.flow_run), None)


def _records_of(connection: Connection, dataset: str | None) -> tuple[Record, ...]:
    query = select(_records).order_by(_records.c.seq)
    if dataset is not None:
        query = query.where(_records.c.dataset == dataset)
    return tuple(parse_record(row.body) for row in connection.execute(query))


def _now(last: Record | None) -> str:
    """Return the time, never before the last record's: a clock that was set back does not reorder them."""
    now = datetime.now(UTC).isoformat(timespec="microseconds")
    return max(now, last.at) if last else now


def _last(connection: Connection) -> Record | None:
    return _first(connection, select(_records))


def _first(connection: Connection, query: Any) -> Record | None:
    row = connection.execute(query.order_by(_records.c.seq.desc()).limit(1)).first()
    return parse_record(row.body) if row else None


def _verified(connection: Connection) -> Iterator[tuple[Row[Any], list[str]]]:
    """Give each record with what is wrong with it, oldest first."""
    previous, seq = GENESIS, 0
    for row in connection.execute(select(_records).order_by(_records.c.seq)):
        yield row, [f"record {row.seq}: {what}" for what in _faults(row, seq + 1, previous)]
        seq, previous = row.seq, row.hash


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
